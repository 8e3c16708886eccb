"""`agent session`: start, end and list sessions."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent import settings as process_settings
from agent.cli.output import FAILED, WRONG_USE, fail, print_json, want_json
from agent.explained import nested, verdict_lines
from agent.plain_text import one_line
from agent.settings import Settings

app = typer.Typer(no_args_is_help=True)

SET = "path=value for this session only; the value is YAML."
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
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="A saved preset's id (p-…).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help=SET)] = None,
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
        overrides=_overrides(set_),
        variables=_variables(var),
    )
    _check_id(session_id)
    process_settings.load().require_livekit()
    try:
        started = asyncio.run(start_session(_settings(), wanted))
    except NotStartedError as exc:
        fail(str(exc), code=exc.code, exit=WRONG_USE if exc.is_wrong_use else FAILED)
    if as_json:
        print_json(started.as_dict())
    else:
        typer.echo(f"session  {started.session_id}\nroom     {started.room}\nurl      {started.url}")
        typer.echo(f"token    {started.token}")


@app.command()
def override(
    session_id: Annotated[str, typer.Argument(help="The session's id.")],
    set_: Annotated[list[str], typer.Option("--set", help=SET)],
    live: Annotated[bool, typer.Option("--live", help="Change a session that runs.")] = False,
    as_json: Json = False,
) -> None:
    """
    Set values for one session: before it begins, or with --live while it runs.

    Example: agent session override s-1 --set voice_tuning.pace=1.3 --live
    """
    from agent.overriding import (
        NoAnswerError,
        UnusableOverrideError,
        WrongTimeError,
        change_session,
        write_override,
    )
    from agent.running import NoSuchSessionError

    _check_id(session_id)
    values = _overrides(set_)
    try:
        with _redis_answering():
            if not live:
                asyncio.run(write_override(_settings(), session_id, values))
                answer: dict[str, Any] = {"written": True}
            else:
                answer = asyncio.run(change_session(_settings(), session_id, values))
    except NoSuchSessionError as exc:
        fail(str(exc), code="unknown_session")
    except WrongTimeError as exc:
        fail(str(exc), code="wrong_time")
    except UnusableOverrideError as exc:
        fail(str(exc), code="unusable_override")
    except NoAnswerError as exc:
        fail(str(exc), code="no_answer", exit=FAILED)
    except ValueError:
        fail("--set: a number must be finite", code="usage")
    if as_json:
        print_json({"session_id": session_id, **answer})
    elif live:
        for line in verdict_lines(answer["verdicts"]):
            typer.echo(one_line(line))
    else:
        typer.echo(f"{session_id}: written; each value gets its verdict when the session begins")


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
    from agent.running import RecordMissingError, end_session

    _check_id(session_id, "a session's id")
    if reason not in REASONS:
        fail(f"--reason: no reason '{reason}'; there are {', '.join(sorted(REASONS))}", code="usage")
    try:
        with _redis_answering():
            outcome = asyncio.run(end_session(_settings(), session_id, reason=reason, wait=wait))
    except RecordMissingError as exc:
        fail(str(exc), code="record_missing", exit=FAILED)
    if as_json:
        print_json({"session_id": session_id, "outcome": outcome})
    else:
        typer.echo(f"{session_id}: {outcome}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """
    List the sessions that have begun and not ended, oldest first.

    `phase` is claimed, configured (the agent is there or on its way, the user is not yet), live, user_away
    (within the grace) or ending.

    Example: agent session list --json
    """
    from agent.running import live_sessions

    with _redis_answering():
        found = asyncio.run(live_sessions(_settings()))
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("no session", err=True)
        return
    columns = ("session_id", "phase", "started_at", "bundle", "room", "user_id", "attempts")
    rows = [columns, *(tuple(one_line(str(session[name] or "-")) for name in columns) for session in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _overrides(given: list[str] | None) -> dict[str, Any]:
    """`path=value` options in the shape of an override."""
    try:
        return nested((pair.partition("=")[0], pair.partition("=")[2]) for pair in _checked(given, "--set"))
    except ValueError as exc:
        fail(f"--set {exc}", code="usage")


def _variables(given: list[str] | None) -> dict[str, str]:
    """`name=value` options; values are text."""
    return {name: text for name, _, text in (pair.partition("=") for pair in _checked(given, "--var"))}


def _checked(given: list[str] | None, option: str) -> list[str]:
    for pair in given or ():
        name, sign, _ = pair.partition("=")
        if not sign or not name:
            fail(f"{option} takes name=value, not '{pair}'", code="usage")
    return given or []


def _check_id(session_id: str | None, what: str = "--session-id") -> None:
    from config_store.dispatch import SESSION_ID

    if session_id is not None and not SESSION_ID.fullmatch(session_id):
        fail(f"{what} takes 1 to 128 of A-Z a-z 0-9 . _ -", code="usage")


def _settings() -> Settings:
    """The settings with a Redis to talk to: the named one, or the embedded one of a running worker."""
    from agent.services.valkey import ValkeyError, connect_only

    settings = process_settings.load()
    if settings.redis_url is None:
        try:
            return Settings(**{**dict(settings), "redis_url": connect_only(settings.data)})
        except ValkeyError as exc:
            fail(str(exc), code="no_worker", exit=FAILED)
    return settings


@contextlib.contextmanager
def _redis_answering() -> Iterator[None]:
    """What happens here needs Redis; without an answer of it the command ends with one line."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as exc:
        from agent.unreachable import of_redis

        fail(of_redis(exc), code="redis", exit=FAILED)
