"""`agent transcripts`: the records of past sessions."""

from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from agent.cli import history
from agent.cli.erase import erase
from agent.cli.export import export
from agent.cli.output import FAILED, fail, print_json
from agent.cli.record_options import Json
from agent.cli.records import live_store, records
from agent.settings import load as load_settings
from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import MOST_FAILURES, Outcome, RecordNotMadeError, finalize
from agent.transcripts.history import load
from agent.transcripts.orphans import IDLE_SECONDS, is_over, orphans
from agent.transcripts.retention import expire

app = typer.Typer(help="The records of past sessions.", no_args_is_help=True)

app.command("list")(history.list_)
app.command("show")(history.show)
app.command("search")(history.search)
app.command("stats")(history.stats)
app.command("rename")(history.rename)
app.command("export")(export)
app.command("erase")(erase)


@app.command("finalize")
def finalize_(
    session_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this session.")] = None,
    idle: Annotated[
        float,
        typer.Option(min=0, help="Seconds of quiet after which a session without an end counts as over."),
    ] = IDLE_SECONDS,
    json: Json = False,
) -> None:
    """
    Make the records of sessions that are over and have none; for cron, beside or instead of a worker.

    Example: agent transcripts finalize --json
    """
    settings = load_settings()
    done: list[dict[str, Any]] = []
    problems: list[str] = []
    with live_store(settings) as redis, records(settings) as engine:
        try:
            if session_id is None:
                found = list(orphans(settings.journals, redis, idle_seconds=idle))
            elif is_over(session_id, settings.journals, redis, idle_seconds=idle):
                found = [session_id]
            elif is_over(session_id, settings.journals, redis, idle_seconds=0):
                fail(
                    f"session {session_id!r} has no end and was written less than {idle:g} s ago; nobody "
                    "serves it as far as this command sees: `--idle 0` takes it for over",
                    "live_session",
                )
            else:
                fail(
                    f"session {session_id!r} is not over; `agent session end {session_id}` ends it",
                    "live_session",
                )
        except OSError as exc:
            fail(f"journals: {exc.strerror or exc}; check AGENT_DATA", code="journals", exit=FAILED)
        for each in found:
            try:
                outcome = finalize(each, engine=engine, journals=settings.journals, redis=redis)
                done.append(_outcome(outcome))
                if session_id is not None and outcome.action == "nothing":
                    _known(engine, session_id)
            except RecordNotMadeError as exc:
                problems.append(str(exc))
                if len(problems) == MOST_FAILURES:
                    break  # each may have waited for a lock; the next run goes on
        expired = expire(engine)
    if json:
        print_json(done)
    else:
        for made in done:
            typer.echo(f"{made['session_id']}: {made['action']}")
        typer.echo(f"{len(done)} sessions finalized, {expired} records removed because their time is over")
    if problems:
        fail(f"{len(problems)} records not made, first: {problems[0]}", code="database", exit=FAILED)


def _known(engine: Engine, session_id: str) -> None:
    if load(engine, session_id, OPERATOR) is None:
        history.unknown(session_id)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "session_id": outcome.session_id,
        "action": outcome.action,
        "entries": outcome.entry_count,
        "items": outcome.item_count,
        "end_reason": outcome.end_reason,
    }
