"""`agent db`: the schema of the database that records and presets are in."""

from typing import Annotated

import typer

from agent.cli.output import FAILED, fail, print_json, want_json
from agent.settings import load
from agent.transcripts.database import DatabaseTroubleError, require_file
from agent.transcripts.migrations import SchemaState
from agent.transcripts.migrations import check as check_schema
from agent.transcripts.migrations import upgrade as upgrade_schema

app = typer.Typer(help="The schema of the database.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", callback=want_json, is_eager=True, help="Answer in JSON.")]


@app.command("upgrade")
def upgrade(json: Json = False) -> None:
    """
    Bring the schema to what this version needs. Several at once are safe: one works, the others wait.

    Example: agent db upgrade
    """
    try:
        before = upgrade_schema(load().database())
    except DatabaseTroubleError as exc:
        fail(str(exc), code="database", exit=FAILED)
    if json:
        print_json({"before": before.current, "revision": before.head})
    elif before.state == "current":
        typer.echo(f"nothing to do: the schema is at {before.head}")
    else:
        typer.echo(f"upgraded from {before.current or 'nothing'} to {before.head}")


@app.command("check")
def check(json: Json = False) -> None:
    """
    Say whether the schema is what this version needs; exit 1 if it is not. Changes nothing.

    Example: agent db check --json
    """
    try:
        require_file(load().database())
        state = check_schema(load().database())
    except DatabaseTroubleError as exc:
        fail(str(exc), code="database", exit=FAILED)
    _answer(state, json)


def _answer(state: SchemaState, json: bool) -> None:
    if state.problem is not None:
        fail(state.problem, code=f"schema_{state.state}", exit=FAILED)
    if json:
        print_json({"revision": state.current, "state": state.state})
    else:
        typer.echo(f"the schema is at {state.current}, as this version needs it")
