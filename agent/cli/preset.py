"""`agent preset`: the presets of a user."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.exc import SQLAlchemyError

from agent.cli.explained import nested
from agent.cli.output import FAILED, fail, print_json, want_json
from agent.cli.records import opened
from agent.settings import Settings, load
from agent.transcripts.database import DatabaseTroubleError, trouble
from config_store.preset import Preset
from config_store.presets import PresetNameTakenError, PresetNotFoundError, PresetStore
from config_store.settings_yaml import read_settings, write_settings

app = typer.Typer(help="Presets that users saved.", no_args_is_help=True)

_T = TypeVar("_T")
User = Annotated[str, typer.Option("--user", help="The user.")]
Organization = Annotated[str | None, typer.Option(help="The user's organization.")]
Json = Annotated[bool, typer.Option("--json", callback=want_json, is_eager=True, help="Answer in JSON.")]


def _store(settings: Settings) -> PresetStore:
    try:
        return PresetStore(opened(settings))
    except DatabaseTroubleError as exc:
        fail(str(exc), "database", exit=FAILED)


def _done(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except PresetNotFoundError as exc:
        fail(f"the user has no preset '{exc}'; agent preset list shows what there is", "unknown_preset")
    except PresetNameTakenError as exc:
        fail(f"the user has another preset named '{exc}'", "name_taken")
    except SQLAlchemyError as exc:
        fail(str(trouble(exc)), "database", exit=FAILED)


def _found(store: PresetStore, user: str, organization: str | None, preset: str) -> Preset:
    """A user's preset by id, else by name."""
    for found in store.list(user, organization):
        if preset in (found.id, found.name):
            return found
    raise PresetNotFoundError(preset)


@app.command("list")
def list_presets(user: User, organization: Organization = None, json: Json = False) -> None:
    """
    List a user's presets; the default has a star.

    Example: agent preset list --user u1
    """
    store = _store(load())
    found = _done(lambda: store.list(user, organization))
    if json:
        print_json([preset.as_dict() for preset in found])
        return
    for preset in found:
        typer.echo(f"{'*' if preset.is_default else ' '} {preset.id}  {preset.name}  ({preset.bundle})")


@app.command("show")
def show(
    preset: Annotated[str, typer.Argument(help="Id or name.")],
    user: User,
    organization: Organization = None,
    json: Json = False,
) -> None:
    """
    Print a preset, as YAML that `agent preset save --file` takes.

    Example: agent preset show p-1 --user u1
    """
    store = _store(load())
    found = _done(lambda: _found(store, user, organization, preset))
    if json:
        print_json(found.as_dict())
        return
    content = {
        "name": found.name,
        "bundle": found.bundle,
        "is_default": found.is_default,
        "settings": dict(found.settings),
    }
    typer.echo(write_settings(content), nl=False)


@app.command("save")
def save(
    user: User,
    name: Annotated[str | None, typer.Option(help="Its name; the preset of that name is replaced.")] = None,
    bundle: Annotated[str | None, typer.Option(help="The bundle it is for.")] = None,
    organization: Organization = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value.")] = None,
    file: Annotated[Path | None, typer.Option(help="YAML as `show` prints it; - reads stdin.")] = None,
    default: Annotated[
        bool | None, typer.Option("--default/--no-default", help="Make it the user's default, or not.")
    ] = None,
    json: Json = False,
) -> None:
    """
    Save a preset.

    Example: agent preset save --user u1 --name Slowly --bundle interview --set voice_tuning.pace=0.8
    """
    content = _content(file)
    try:
        settings = {**content.get("settings", {}), **nested(_pair(text) for text in set_ or [])}
    except ValueError as exc:
        fail(str(exc), "usage")
    final_name, final_bundle = name or content.get("name"), bundle or content.get("bundle")
    if not isinstance(final_name, str) or not isinstance(final_bundle, str):
        fail("a preset needs a name and a bundle: --name and --bundle, or both in the file", "usage")
    is_default = content.get("is_default") if default is None else default
    store = _store(load())
    saved = _done(
        lambda: store.save(
            user,
            final_name,
            settings,
            bundle=final_bundle,
            organization=organization,
            is_default=is_default if isinstance(is_default, bool) else None,
        )
    )
    if json:
        print_json(saved.as_dict())
    else:
        typer.echo(f"saved {saved.id}  {saved.name}{'  (default)' if saved.is_default else ''}")


def _content(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        content = read_settings(text, str(file))
    except (OSError, ValueError) as exc:
        fail(f"{file} cannot be read: {' '.join(str(exc).split())}", "usage")
    if not isinstance(content, dict) or not isinstance(content.get("settings", {}), dict):
        fail(f"{file} must be a map with name, bundle and settings", "usage")
    return content


def _pair(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ValueError(f"'{text}' is not path=value")
    return path, value


@app.command("default")
def default_preset(
    user: User,
    preset: Annotated[str | None, typer.Argument(help="Id or name; left out: no default.")] = None,
    organization: Organization = None,
    json: Json = False,
) -> None:
    """
    Make a preset the user's default, or leave the user without one.

    Example: agent preset default --user u1 p-1
    """
    store = _store(load())

    def work() -> str | None:
        chosen = _found(store, user, organization, preset).id if preset is not None else None
        store.set_default(user, chosen, organization)
        return chosen

    chosen = _done(work)
    if json:
        print_json({"default": chosen})
    else:
        typer.echo(f"default: {preset}" if preset is not None else "no default")


@app.command("delete")
def delete_preset(
    preset: Annotated[str, typer.Argument(help="Id or name.")],
    user: User,
    organization: Organization = None,
    json: Json = False,
) -> None:
    """
    Delete a preset.

    Example: agent preset delete p-1 --user u1
    """
    store = _store(load())
    found = _done(lambda: _found(store, user, organization, preset))
    _done(lambda: store.delete(user, found.id, organization))
    if json:
        print_json({"deleted": found.id})
    else:
        typer.echo(f"deleted {preset}")
