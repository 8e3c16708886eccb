"""`agent transcripts`: the records of past sessions."""

from typing import Annotated, Any

import typer

from agent.cli import history
from agent.cli.erase import erase
from agent.cli.output import FAILED, fail, print_json
from agent.cli.record_options import (
    AgentName,
    Bundle,
    Json,
    Organization,
    Reason,
    SessionId,
    Silent,
    Since,
    Until,
    User,
)
from agent.cli.records import live_store, local_time, owner_of, records
from agent.settings import load as load_settings
from agent.transcripts.export import as_text
from agent.transcripts.finalize import Outcome, RecordNotMadeError, finalize
from agent.transcripts.history import Filters, list_transcripts, load
from agent.transcripts.orphans import IDLE_SECONDS, is_over, orphans
from agent.transcripts.retention import expire

app = typer.Typer(help="The records of past sessions.", no_args_is_help=True)

app.command("search")(history.search)
app.command("export")(history.export_)
app.command("stats")(history.stats)
app.command("rename")(history.rename)
app.command("erase")(erase)


@app.command("list")
def list_(
    user: User = None,
    organization: Organization = None,
    bundle: Bundle = None,
    reason: Reason = None,
    agent: AgentName = None,
    since: Since = None,
    until: Until = None,
    silent: Silent = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows.")] = 50,
    after: Annotated[
        str | None, typer.Option(help="The page after this one; the list before says it.")
    ] = None,
    json: Json = False,
) -> None:
    """List past sessions, newest first. Live sessions are not among them."""
    filters = Filters(bundle, reason, agent, since, until, silent)
    with records(load_settings()) as engine:
        try:
            page = list_transcripts(engine, owner_of(organization, user), filters, limit=limit, after=after)
        except ValueError as exc:
            fail(str(exc), code="usage")
    if json:
        print_json(list(page.transcripts))
        if page.next is not None:
            typer.echo(f"next page: --after {page.next}", err=True)
        return
    _print_table(page.transcripts)
    if page.next is not None:
        typer.echo(f"more: --after {page.next}")


@app.command("show")
def show(
    session_id: SessionId, user: User = None, organization: Organization = None, json: Json = False
) -> None:
    """Show one record; with --json as transcript/v1."""
    with records(load_settings()) as engine:
        transcript = load(engine, session_id, owner_of(organization, user))
    if transcript is None:
        fail(
            f"no record of session {session_id!r}; `agent transcripts list` shows which there are",
            "unknown_session",
        )
    if json:
        print_json(transcript)
    else:
        _print_transcript(transcript)


@app.command("finalize")
def finalize_(
    session_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this session.")] = None,
    idle: Annotated[
        float,
        typer.Option(min=0, help="Seconds of quiet after which a session without an end counts as over."),
    ] = IDLE_SECONDS,
    json: Json = False,
) -> None:
    """Make the records of sessions that are over and have none; for cron, beside or instead of a worker."""
    settings = load_settings()
    done: list[Outcome] = []
    problems: list[str] = []
    with live_store(settings) as redis, records(settings) as engine:
        if session_id is None:
            found = list(orphans(settings.journals, redis, idle_seconds=idle))
        elif is_over(session_id, settings.journals, redis, idle_seconds=idle):
            found = [session_id]
        else:
            fail(
                f"session {session_id!r} is not over; `agent session end {session_id}` ends it",
                "live_session",
            )
        for each in found:
            try:
                done.append(finalize(each, engine=engine, journals=settings.journals, redis=redis))
            except RecordNotMadeError as exc:
                problems.append(str(exc))
        expired = expire(engine)
    if json:
        print_json([_outcome(outcome) for outcome in done])
    else:
        for outcome in done:
            typer.echo(f"{outcome.session_id}: {outcome.action}")
        typer.echo(f"{len(done)} sessions finalized, {expired} records removed because their time is over")
    if problems:
        fail(f"{len(problems)} records not made, first: {problems[0]}", code="database", exit=FAILED)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "session_id": outcome.session_id,
        "action": outcome.action,
        "entries": outcome.entry_count,
        "items": outcome.item_count,
        "end_reason": outcome.end_reason,
    }


def _print_table(rows: tuple[dict[str, Any], ...]) -> None:
    if not rows:
        typer.echo("no records")
        return
    lines = [("started", "session", "bundle", "user", "reason", "seconds", "items", "title")]
    for row in rows:
        lines.append(
            (
                local_time(row["started_at"]),
                row["session_id"],
                row["bundle"] or "-",
                row["user_id"] or "-",
                row["end_reason"],
                f"{row['duration_seconds']:.1f}",
                str(row["items"]),
                row["title"] or "",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _print_transcript(transcript: dict[str, Any]) -> None:
    for line in as_text(transcript):
        typer.echo(line)
