"""`agent preset`: the presets of a user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.exc import SQLAlchemyError

from agent.cli.output import FAILED, fail, print_json, want_json
from agent.cli.records import opened
from agent.explained import nested
from agent.plain_text import one_line
from agent.settings import Settings, load
from agent.transcripts.database import DatabaseTroubleError, trouble
from config_store.dispatch import ORGANIZATION
from config_store.fields import fields_of
from config_store.folder import BundleFolder
from config_store.layer import ALIASES, PROMPTS, merged
from config_store.names import is_bundle_name, suggestion
from config_store.preset import Preset
from config_store.presets import PresetNameTakenError, PresetNotFoundError, PresetStore
from config_store.schema import SessionConfig
from config_store.settings_yaml import read_settings, write_settings

app = typer.Typer(help="Presets that users saved.", no_args_is_help=True)

_T = TypeVar("_T")
_FILE_KEYS = ("name", "bundle", "is_default", "settings")
_LONGEST = 256
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
    """A user's preset by id, else by name; one may be named as another one's id is."""
    presets = store.list(user, organization)
    found = [each for each in presets if each.id == preset] or [
        each for each in presets if each.name == preset
    ]
    if not found:
        raise PresetNotFoundError(preset)
    return found[0]


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
        name = one_line(preset.name)
        typer.echo(f"{'*' if preset.is_default else ' '} {preset.id}  {name}  ({preset.bundle})")


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
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value; the value is YAML.")] = None,
    file: Annotated[Path | None, typer.Option(help="YAML as `show` prints it; - reads stdin.")] = None,
    default: Annotated[
        bool | None, typer.Option("--default/--no-default", help="Make it the user's default, or not.")
    ] = None,
    json: Json = False,
) -> None:
    """
    Save a preset; what --set names is laid over the settings of --file, maps deeply.

    Example: agent preset save --user u1 --name Slowly --bundle interview --set voice_tuning.pace=0.8
    """
    content = _content(file)
    try:
        settings = merged(content.get("settings", {}), nested(_pair(text) for text in set_ or []))
    except ValueError as exc:
        fail(str(exc), "usage")
    final_name, final_bundle = name or content.get("name"), bundle or content.get("bundle")
    if not isinstance(final_name, str) or not isinstance(final_bundle, str):
        fail("a preset needs a name and a bundle: --name and --bundle, or both in the file", "usage")
    is_default = content.get("is_default") if default is None else default
    process = load()
    _check_save(process, user, organization, final_name, final_bundle, settings)
    store = _store(process)
    saved = _done(
        lambda: store.save(
            user,
            final_name,
            settings,
            bundle=final_bundle,
            organization=organization,
            is_default=is_default,
        )
    )
    if json:
        print_json(saved.as_dict())
    else:
        typer.echo(f"saved {saved.id}  {one_line(saved.name)}{'  (default)' if saved.is_default else ''}")


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
    if unknown := [key for key in content if key not in _FILE_KEYS]:
        near = suggestion(str(unknown[0])[:100], _FILE_KEYS)
        fail(f"{file}: unknown key '{str(unknown[0])[:100]}'{near}; settings go below `settings`", "usage")
    if not isinstance(content.get("is_default"), bool | None):
        fail(f"{file}: is_default must be true or false", "usage")
    return content


def _check_save(
    process: Settings, user: str, organization: str | None, name: str, bundle: str, settings: dict[str, Any]
) -> None:
    """What could never be used, said while whoever saves it is there to hear it."""
    if not 1 <= len(user) <= _LONGEST or not 1 <= len(name) <= _LONGEST:
        fail(f"--user and --name take 1 to {_LONGEST} characters", "usage")
    if organization and not ORGANIZATION.fullmatch(organization):
        fail("--organization takes 1 to 128 of A-Z a-z 0-9 . _ -", "usage")
    if not is_bundle_name(bundle):
        fail("--bundle is not the name of a bundle, such as interview or acme/interview", "usage")
    folder = BundleFolder(process.bundles)
    if process.bundles.is_dir() and folder.bundle(bundle) is None:
        fail(
            f"no bundle '{bundle}'{suggestion(bundle, folder.bundles())} in {process.bundles}",
            "unknown_bundle",
        )
    known = {*ALIASES, *PROMPTS, "enable_rag", *fields_of(SessionConfig)}
    if unknown := [key for key in settings if key not in known]:
        fail(f"unknown setting '{unknown[0][:100]}'{suggestion(unknown[0][:100], known)}", "unknown_setting")
    if hidden := next(_keys(settings), None):
        fail(
            f"'{hidden}': a preset holds no keys; a bundle names their variable (api_key_env)",
            "unknown_setting",
        )


def _keys(settings: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if name in ("api_key", "apiKey"):
            yield f"{path}{name}"
        elif isinstance(value, Mapping) and name != "metadata":
            yield from _keys(value, f"{path}{name}.")


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
        typer.echo(f"default: {one_line(preset)}" if preset is not None else "no default")


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
        typer.echo(f"deleted {one_line(preset)}")
