"""`agent session`: start, end and list sessions."""

import asyncio
import json
from typing import Annotated, Any

import typer

from agent import settings as process_settings
from agent.cli.output import FAILED, WRONG_USE, fail, print_json, want_json
from agent.settings import Settings

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", callback=want_json, help="Answer as JSON.")]


@app.command()
def start(
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="The bundle; absent: by route.")
    ] = None,
    session_id: Annotated[str | None, typer.Option("--session-id", "-S", help="The session's id.")] = None,
    room: Annotated[
        str | None, typer.Option("--room", "-r", help="The room; absent: the session's id.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="The user's id and identity.")] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", "-o", help="Whose session it is.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="A saved preset's id.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value for this session only.")] = None,
    var: Annotated[list[str] | None, typer.Option("--var", help="name=value for templates.")] = None,
    as_json: Json = False,
) -> None:
    """
    Start a session: the agent is in the room before the user joins with the token that is printed.

    Example: agent session start --bundle interview --user u1 --set voice_tuning.pace=1.2 --json
    """
    from agent.starting import NotStartedError, Wanted, start_session

    wanted = Wanted(
        session_id=session_id,
        bundle=bundle,
        room=room,
        user_id=user,
        organization=organization,
        preset=preset,
        overrides=nested(_pairs(set_, "--set")),
        variables=_pairs(var, "--var", plain=True),
    )
    _check_id(session_id)
    try:
        started = asyncio.run(start_session(_settings(), wanted))
    except NotStartedError as exc:
        fail(str(exc), code=exc.code, exit=WRONG_USE if exc.code == "session_ended" else FAILED)
    if as_json:
        print_json(started.as_dict())
    else:
        typer.echo(f"session  {started.session_id}\nroom     {started.room}\nurl      {started.url}")
        typer.echo(f"token    {started.token}")


@app.command()
def end(
    session_id: Annotated[str, typer.Argument(help="The session's id.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when the record is there.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="The end reason that is recorded.")] = "operator",
    as_json: Json = False,
) -> None:
    """
    End a session, wherever it runs; also one that has not begun yet.

    Example: agent session end s-1 --wait
    """
    from agent.ending import REASONS
    from agent.running import NoSuchSessionError, RecordMissingError, end_session

    if reason not in REASONS:
        fail(f"--reason: no reason '{reason}'; there are {', '.join(sorted(REASONS))}", code="usage")
    try:
        outcome = asyncio.run(end_session(_settings(), session_id, reason=reason, wait=wait))
    except NoSuchSessionError as exc:
        fail(str(exc), code="unknown_session")
    except RecordMissingError as exc:
        fail(str(exc), code="record_missing", exit=FAILED)
    if as_json:
        print_json({"session_id": session_id, "outcome": outcome})
    else:
        typer.echo(f"{session_id}: {outcome}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the sessions that are live now."""
    from agent.running import live_sessions

    found = asyncio.run(live_sessions(_settings()))
    if as_json:
        print_json(found)
        return
    for session in found:
        typer.echo(
            "  ".join(str(session[name]) for name in ("session_id", "phase", "bundle", "room", "attempts"))
        )


def nested(pairs: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`, the shape of an override."""
    tree: dict[str, Any] = {}
    for path, value in pairs.items():
        *parents, leaf = path.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                fail(f"--set {path}: '{parent}' has a value already", code="usage")
        place[leaf] = value
    return tree


def _pairs(given: list[str] | None, option: str, *, plain: bool = False) -> dict[str, Any]:
    """`name=value` options; a value is JSON when it can be read as JSON, else text."""
    pairs: dict[str, Any] = {}
    for pair in given or ():
        name, sign, text = pair.partition("=")
        if not sign or not name:
            fail(f"{option} takes name=value, not '{pair}'", code="usage")
        pairs[name] = text if plain else _value(text)
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_id(session_id: str | None) -> None:
    from config_store.dispatch import SESSION_ID

    if session_id is not None and not SESSION_ID.fullmatch(session_id):
        fail("--session-id takes 1 to 128 of A-Z a-z 0-9 . _ -", code="usage")


def _settings() -> Settings:
    """The settings with a Redis to talk to: the named one, or the embedded one of a running worker."""
    from agent.services.valkey import ValkeyError, connect_only

    settings = process_settings.load()
    settings.require_livekit()
    if settings.redis_url is None:
        try:
            return Settings(**{**dict(settings), "redis_url": connect_only(settings.data)})
        except ValkeyError as exc:
            fail(str(exc), code="no_worker", exit=FAILED)
    return settings
