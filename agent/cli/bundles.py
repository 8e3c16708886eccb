"""`agent bundles`: what the folder holds, whether it is right, and what a session would be."""

from __future__ import annotations

import asyncio
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.explained import Explained, lines_of, nested
from agent.cli.output import fail, print_json, want_json
from agent.providers import registry
from agent.settings import Settings, environment, load
from config_store.bundle import Bundle
from config_store.direct import FolderBundles
from config_store.dispatch import NOT_GIVEN, Dispatch
from config_store.errors import BundleNotFoundError, ConfigRefused, InvalidBundleError, Problem, report
from config_store.folder import BundleFolder
from config_store.json_schema import bundle_schema
from config_store.resolve import Call, resolve_session
from config_store.routes import load_routes

app = typer.Typer(help="Check, explain and list bundles.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", callback=want_json, is_eager=True, help="Answer in JSON.")]


def _bundles(settings: Settings) -> FolderBundles:
    if not settings.bundles.is_dir():
        fail(f"there is no folder {settings.bundles}; AGENT_BUNDLES names the bundles folder", "no_bundles")
    environ = environment()
    folder = BundleFolder(settings.bundles, label=_shown(settings.bundles))
    return FolderBundles(folder, environ, registry.catalog(settings, environ))


def _shown(folder: Path) -> str:
    """The folder as people would type it here, so that a place in a report can be clicked."""
    try:
        return folder.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(folder)


@app.command("list")
def list_bundles(json: Json = False) -> None:
    """List the bundles of the folder."""
    bundles = _bundles(load())
    found = [bundles.load(name) for name in bundles.names()]
    rows = [
        {
            "name": bundle.name,
            "state": _state(bundle),
            "organization": bundle.organization,
            "title": bundle.document.get("name"),
            "description": bundle.document.get("description"),
        }
        for bundle in found
    ]
    if json:
        print_json(rows)
        return
    width = max((len(bundle.name) for bundle in found), default=0)
    for row in rows:
        about = row["description"] or row["title"] or ""
        typer.echo(f"{row['name']:<{width}}  {row['state']:<9}  {about}".rstrip())


def _state(bundle: Bundle) -> str:
    if not bundle.is_usable:
        return "invalid"
    return "startable" if bundle.is_startable else "partial"


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Bundles; without any, the whole folder.")] = None,
    json: Json = False,
) -> None:
    """Report everything that is wrong, each with its place; exit 2 when anything is."""
    bundles = _bundles(load())
    try:
        checked = [bundles.load(name) for name in names or bundles.names()]
    except BundleNotFoundError as exc:
        fail(str(exc), "unknown_bundle")
    routes: tuple[Problem, ...] = ()
    if not names:
        if not checked:
            fail(f"{bundles.folder.root} holds no bundle; a bundle is a file NAME.yaml", "no_bundles")
        states = {bundle.name: bundle.is_startable for bundle in checked}
        routes = load_routes(bundles.folder, environment(), states)[1]
    wrong = [bundle for bundle in checked if not bundle.is_usable]
    if json:
        print_json([*(_as_json(bundle) for bundle in checked), *map(_problem, routes)])
    else:
        _print(checked, routes)
    if wrong or routes:
        raise typer.Exit(2)


def _print(checked: list[Bundle], routes: tuple[Problem, ...]) -> None:
    reports = [report(bundle.name, bundle.problems) for bundle in checked if bundle.problems]
    if routes:
        reports.append("\n".join(["routes.yaml is not valid", *(problem.render() for problem in routes)]))
    if reports:
        typer.echo("\n\n".join(reports), err=True)
    valid = sum(bundle.is_usable for bundle in checked)
    typer.echo(f"{valid} of {len(checked)} bundle{'' if len(checked) == 1 else 's'} valid")


def _as_json(bundle: Bundle) -> dict[str, Any]:
    problems = [_problem(problem) for problem in bundle.problems]
    return {"name": bundle.name, "state": _state(bundle), "problems": problems}


def _problem(problem: Problem) -> dict[str, Any]:
    span = problem.span
    place = {"file": span.file, "line": span.line, "column": span.column} if span is not None else {}
    kind = "warning" if problem.is_warning else "error"
    return {**place, "severity": kind, "message": problem.message, "included_by": list(problem.chain)}


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of bundle files, for editors."""
    typer.echo(dumps(bundle_schema(), ensure_ascii=False, indent=1))


@app.command("explain")
def explain(
    name: Annotated[str, typer.Argument(help="The bundle.")],
    preset: Annotated[str | None, typer.Option(help="Id of a preset.")] = None,
    user: Annotated[str | None, typer.Option(help="The user, whose default preset counts.")] = None,
    organization: Annotated[str | None, typer.Option(help="The organization of the dispatch.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="path=value, as an override.")] = None,
    var: Annotated[list[str] | None, typer.Option("--var", help="name=value of a variable.")] = None,
    json: Json = False,
) -> None:
    """Print what a session with a bundle would be: every value with its origin, and the verdicts."""
    settings = load()
    bundles = _bundles(settings)
    dispatch = Dispatch(
        bundle=name,
        preset=NOT_GIVEN if preset is None else preset,
        user_id=user,
        organization=organization,
        overrides=_settings(set_ or []),
        variables=dict(_pair(text) for text in var or []),
    )
    try:
        explained = asyncio.run(_explained(dispatch, bundles, settings))
    except BundleNotFoundError as exc:
        fail(str(exc), "unknown_bundle")
    except InvalidBundleError as exc:
        if json:
            fail(f"bundle '{name}' is not valid; agent bundles check {name} says why", "invalid_bundle")
        typer.echo(str(exc), err=True)
        raise typer.Exit(2) from None
    except ConfigRefused as exc:
        fail(f"a session would be refused: {exc.reason}", "config_refused")
    if json:
        print_json(explained.as_dict())
    else:
        for line in lines_of(explained):
            typer.echo(line)


def _settings(texts: list[str]) -> dict[str, Any]:
    try:
        return nested([_pair(text) for text in texts])
    except ValueError as exc:
        fail(str(exc), "usage")


def _pair(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        fail(f"'{text}' is not path=value", "usage")
    return path, value


async def _explained(dispatch: Dispatch, bundles: FolderBundles, settings: Settings) -> Explained:
    from agent.cli.preset import open_presets

    presets = None
    if dispatch.preset is not NOT_GIVEN or dispatch.user_id is not None:
        presets = open_presets(settings)
    resolved = await resolve_session(
        dispatch,
        call=Call(room_name=""),
        override_key="",
        compiled=bundles,
        overrides=None,
        presets=presets,
        catalog=registry.catalog(settings, environment()),
        default_bundle=settings.default_bundle,
        budget_seconds=settings.store_budget_seconds,
    )
    return Explained(resolved, bundles.load(resolved.bundle).sourced)
