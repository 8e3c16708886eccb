"""`agent bundles`: what the folder holds, whether it is right, and what a session would be."""

from __future__ import annotations

import asyncio
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.output import fail, print_json, want_json
from agent.explained import Explained, lines_of, nested, verdict_lines
from agent.plain_text import one_line
from agent.providers import registry
from agent.settings import Settings, environment, load
from config_store.bundle import Bundle
from config_store.direct import FolderBundles
from config_store.dispatch import NOT_GIVEN, ORGANIZATION, Dispatch
from config_store.errors import BundleNotFoundError, ConfigRefused, InvalidBundleError, Problem, report
from config_store.folder import BundleFolder
from config_store.json_schema import bundle_schema
from config_store.names import suggestion
from config_store.routes import load_routes

app = typer.Typer(help="Check, explain and list bundles.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", callback=want_json, is_eager=True, help="Answer in JSON.")]


def _bundles(settings: Settings) -> FolderBundles:
    if not settings.bundles.is_dir():
        fail(f"there is no folder {settings.bundles}; AGENT_BUNDLES names the bundles folder", "no_bundles")
    environ = environment()
    folder = BundleFolder(settings.bundles, label=_shown(settings.bundles))
    return FolderBundles(folder, environ, registry.catalog(settings, environ, to_check=True))


def _shown(folder: Path) -> str:
    """The folder as people would type it here, so that a place in a report can be clicked."""
    try:
        return folder.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(folder)


@app.command("list")
def list_bundles(json: Json = False) -> None:
    """
    List the bundles of the folder.

    Example: agent bundles list --json
    """
    bundles = _bundles(load())
    found = [bundles.load(name) for name in bundles.names()]
    rows = [
        {
            "name": bundle.name,
            "state": _state(bundle),
            "organization": _text(bundle, "organization"),
            "title": _text(bundle, "name"),
            "description": _text(bundle, "description"),
            "tags": _tags(bundle),
        }
        for bundle in found
    ]
    if json:
        print_json(rows)
        return
    width = max((len(bundle.name) for bundle in found), default=0)
    for row in rows:
        about = row["description"] or row["title"] or ""
        typer.echo(one_line(f"{row['name']:<{width}}  {row['state']:<9}  {about}".rstrip()))


def _text(bundle: Bundle, key: str) -> str | None:
    """A text of a bundle; one from the environment as it is written."""
    text = bundle.sourced.get(key, bundle.document.get(key))
    return text if isinstance(text, str) else None


def _tags(bundle: Bundle) -> list[str]:
    tags = bundle.document.get("tags")
    if not isinstance(tags, list):
        return []
    return [bundle.sourced.get(f"tags[{place}]", str(tag)) for place, tag in enumerate(tags)]


def _state(bundle: Bundle) -> str:
    if not bundle.is_usable:
        return "invalid"
    return "startable" if bundle.is_startable else "partial"


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Bundles; without any, the whole folder.")] = None,
    json: Json = False,
) -> None:
    """
    Report everything that is wrong, each with its place; exit 2 when anything is.

    Without names routes.yaml and AGENT_DEFAULT_BUNDLE are checked too.

    Example: agent bundles check interview support
    """
    settings = load()
    bundles = _bundles(settings)
    try:
        checked = [bundles.load(name) for name in names or bundles.names()]
    except BundleNotFoundError as exc:
        fail(str(exc), "unknown_bundle")
    routes: tuple[Problem, ...] = ()
    default: tuple[Problem, ...] = ()
    misnamed: dict[str, str] = {}
    if not names:
        misnamed = bundles.folder.misnamed(bundles.folder.listing())
        if not checked:
            fail(f"{bundles.folder.root} holds no bundle; a bundle is a file NAME.yaml", "no_bundles")
        states = {bundle.name: bundle.is_startable for bundle in checked}
        routes = load_routes(bundles.folder, environment(), states)[1]
        default = _default(settings.default_bundle, checked)
    wrong = [bundle for bundle in checked if not bundle.is_usable]
    if json:
        others = [*map(_problem, (*routes, *default)), *_nameless(misnamed)]
        print_json([*(_as_json(bundle) for bundle in checked), *others])
    else:
        _print(checked, routes, default, misnamed)
    if wrong or routes or default or misnamed:
        raise typer.Exit(2)


def _default(name: str | None, checked: list[Bundle]) -> tuple[Problem, ...]:
    """What is wrong with AGENT_DEFAULT_BUNDLE; a bundle that is not valid has a report of its own."""
    known = {bundle.name: bundle for bundle in checked}
    if name is None or (name in known and (known[name].is_startable or not known[name].is_usable)):
        return ()
    if name not in known:
        return (Problem(f"AGENT_DEFAULT_BUNDLE: no bundle '{name}'{suggestion(name, known)}"),)
    return (
        Problem(
            f"AGENT_DEFAULT_BUNDLE: '{name}' is partial: it has no agents; name a startable one, "
            "`agent bundles list` shows which are"
        ),
    )


def _nameless(misnamed: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "state": "invalid", "problems": [{"severity": "error", "message": message}]}
        for name, message in misnamed.items()
    ]


def _print(
    checked: list[Bundle],
    routes: tuple[Problem, ...],
    default: tuple[Problem, ...],
    misnamed: dict[str, str],
) -> None:
    reports = [*misnamed.values()]
    reports += [report(bundle.name, bundle.problems) for bundle in checked if bundle.problems]
    if routes:
        reports.append("\n".join(["routes.yaml is not valid", *(problem.render() for problem in routes)]))
    reports += [problem.render() for problem in default]
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
    """
    Print the JSON Schema of bundle files, for editors.

    Example: agent bundles schema > bundles/bundle.schema.json
    """
    typer.echo(dumps(bundle_schema(), ensure_ascii=False, indent=1))


@app.command("explain")
def explain(
    name: Annotated[str | None, typer.Argument(help="The bundle; left out: as for a call.")] = None,
    preset: Annotated[str | None, typer.Option(help="Id of a preset (p-…).")] = None,
    user: Annotated[str | None, typer.Option(help="The user, whose default preset counts.")] = None,
    organization: Annotated[str | None, typer.Option(help="The organization of the dispatch.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="path=value, as an override; the value is YAML.")
    ] = None,
    var: Annotated[list[str] | None, typer.Option("--var", help="name=value of a variable.")] = None,
    redis: Annotated[str | None, typer.Option(help="A session's id: read its override from Redis.")] = None,
    session: Annotated[str | None, typer.Option(help="A session's id: explain the one that ran.")] = None,
    all_layers: Annotated[bool, typer.Option("--all-layers", help="Show the values that lost too.")] = False,
    json: Json = False,
) -> None:
    """
    Print what a session would be: every value with its origin, and the verdicts.

    Example: agent bundles explain interview --set voice_tuning.pace=1.2 --all-layers
    """
    from agent.cli.explaining import that_ran, would_start

    settings = load()
    if session is not None:
        if name or preset or user or organization or set_ or var or redis or all_layers:
            fail("--session explains a session as it was frozen, and goes with no other option", "usage")
        _print_explained(asyncio.run(that_ran(session, settings)), json)
        return
    dispatch = Dispatch(
        session_id=redis,
        bundle=name,
        preset=NOT_GIVEN if preset is None else preset,
        user_id=user,
        organization=_organization(organization),
        overrides=_settings(set_ or []),
        variables=dict(_pair(text) for text in var or []),
    )
    try:
        found = asyncio.run(
            would_start(
                dispatch, _bundles(settings), settings, from_redis=redis is not None, all_layers=all_layers
            )
        )
    except BundleNotFoundError as exc:
        fail(str(exc), "unknown_bundle")
    except InvalidBundleError as exc:
        if json:
            fail(f"bundle '{exc.name}' is not valid; agent bundles check {exc.name}", "invalid_bundle")
        typer.echo(str(exc), err=True)
        raise typer.Exit(2) from None
    except ConfigRefused as exc:
        fail(f"a session would be refused: {exc.reason}", "config_refused")
    _print_explained(found, json)


def _print_explained(found: Explained | dict[str, Any], json: bool) -> None:
    if json:
        print_json(found.as_dict() if isinstance(found, Explained) else found)
    elif isinstance(found, Explained):
        for line in lines_of(found):
            typer.echo(one_line(line))
    else:
        preset = f", preset {found['preset']}" if found["preset"] else ""
        typer.echo(f"bundle {found['bundle']}{preset}  {found['digest']}")
        for path, origin in (found["origins"] or {}).items():
            typer.echo(one_line(f"  {path}  {origin}"))
        for line in verdict_lines(found["verdicts"] or []):
            typer.echo(one_line(line))


def _organization(name: str | None) -> str | None:
    if name and not ORGANIZATION.fullmatch(name):
        fail("--organization takes 1 to 128 of A-Z a-z 0-9 . _ -", "usage")
    return name or None


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
