"""`agent transcripts search · export · stats · rename`."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import Engine

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
from agent.cli.records import local_time, owner_of, records
from agent.settings import load as load_settings
from agent.transcripts.export import Format, as_webvtt, export
from agent.transcripts.history import Filters, Owner, count_transcripts, every_transcript, load
from agent.transcripts.history import rename as rename_session
from agent.transcripts.paths import session_folder
from agent.transcripts.search import Hit
from agent.transcripts.search import search as search_records
from agent.transcripts.stats import statistics


class Form(StrEnum):
    """What a record can be exported as."""

    json = "json"
    text = "text"
    csv = "csv"
    vtt = "vtt"


class By(StrEnum):
    """What statistics are grouped by."""

    day = "day"
    bundle = "bundle"
    reason = "reason"


def search(
    query: Annotated[list[str], typer.Argument(help='Words; "words together"; begins of words: inter*')],
    user: User = None,
    organization: Organization = None,
    bundle: Bundle = None,
    reason: Reason = None,
    agent: AgentName = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most hits.")] = 20,
    json: Json = False,
) -> None:
    """Search what was said, in any script; best hits first, the found words marked."""
    asked = " ".join(f'"{part}"' if " " in part and '"' not in part else part for part in query)
    filters = Filters(bundle, reason, agent, since, until, silent=True)
    with records(load_settings()) as engine:
        try:
            hits = search_records(engine, owner_of(organization, user), asked, filters, limit=limit)
        except ValueError as exc:
            fail(str(exc), code="usage")
    if json:
        print_json([_hit(hit) for hit in hits])
        return
    before, after = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("**", "**")
    for hit in hits:
        typer.echo(f"{local_time(hit.started_at)}  {hit.session_id}  {hit.title or ''}".rstrip())
        typer.echo(f"  {hit.role}: {hit.snippet(before, after)}")
    if not hits:
        typer.echo("nothing found")


def export_(
    session_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="These sessions.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", "-f", help="As what.")] = Form.json,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; for vtt of many sessions a folder.")
    ] = None,
    user: User = None,
    organization: Organization = None,
    bundle: Bundle = None,
    reason: Reason = None,
    agent: AgentName = None,
    since: Since = None,
    until: Until = None,
    silent: Silent = None,
) -> None:
    """Export records, those with these ids or all that the filters leave, one at a time from the database."""
    filters = Filters(bundle, reason, agent, since, until, silent)
    owner = owner_of(organization, user)
    with records(load_settings()) as engine:
        try:
            total = len(session_ids) if session_ids else count_transcripts(engine, owner, filters)
            ids = session_ids or (row["session_id"] for row in every_transcript(engine, owner, filters))
            chosen = _with_progress(_loaded(engine, ids, owner), total, output)
            if form is Form.vtt:
                _export_webvtt(chosen, output, is_one=bool(session_ids) and total == 1)
            else:
                _write(output, export(chosen, cast("Format", form.value)))
        except ValueError as exc:
            fail(str(exc), code="usage")
        except OSError as exc:
            fail(f"{output or 'output'}: {exc.strerror or exc}", code="output", exit=FAILED)


def stats(
    by: Annotated[By, typer.Option(help="Grouped by what.")] = By.day,
    user: User = None,
    organization: Organization = None,
    bundle: Bundle = None,
    reason: Reason = None,
    agent: AgentName = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Count sessions, their duration, turns, tokens and characters, per day, bundle or end reason."""
    filters = Filters(bundle, reason, agent, since, until, silent=True)
    with records(load_settings()) as engine:
        try:
            rows = statistics(engine, owner_of(organization, user), filters, by=by.value)
        except ValueError as exc:
            fail(str(exc), code="usage")
    if json:
        print_json(rows)
        return
    typer.echo(f"{by.value:<24} sessions     hours     turns      tokens  characters")
    for row in rows:
        typer.echo(
            f"{row[by.value] or '-':<24} {row['sessions']:>8} {row['duration_seconds'] / 3600:>9.2f} "
            f"{row['turns']:>9} {row['tokens']:>11} {row['characters']:>11}"
        )


def rename(
    session_id: SessionId,
    title: Annotated[str, typer.Argument(help="The new title; '' for the user's first words again.")],
    user: User = None,
    organization: Organization = None,
) -> None:
    """Give a session a title."""
    with records(load_settings()) as engine:
        if not rename_session(engine, session_id, owner_of(organization, user), title.strip() or None):
            fail(f"no record of session {session_id!r}", "unknown_session")


def _loaded(engine: Engine, session_ids: Iterable[str], owner: Owner) -> Iterator[dict[str, Any]]:
    for session_id in session_ids:
        transcript = load(engine, session_id, owner)
        if transcript is None:
            raise ValueError(f"no record of session {session_id!r}; `agent transcripts list` shows them")
        yield transcript


def _with_progress(
    transcripts: Iterator[dict[str, Any]], total: int, output: Path | None
) -> Iterator[dict[str, Any]]:
    """The same, with a progress bar on stderr when a person watches and the export goes elsewhere."""
    console = Console(stderr=True)
    if total < 2 or not console.is_terminal or (output is None and sys.stdout.isatty()):
        yield from transcripts
        return
    with Progress(console=console, transient=True) as progress:
        yield from progress.track(transcripts, total=total, description="exporting")


def _export_webvtt(transcripts: Iterator[dict[str, Any]], output: Path | None, *, is_one: bool) -> None:
    if is_one:
        for transcript in transcripts:
            _write(output, as_webvtt(transcript))
        return
    if output is None:
        raise ValueError("WebVTT holds one session per file: name one ID, or a folder with --output")
    output.mkdir(parents=True, exist_ok=True)
    for transcript in transcripts:
        name = session_folder(output, transcript["session_id"]).name
        _write(output / f"{name}.vtt", as_webvtt(transcript))


def _write(output: Path | None, pieces: Iterable[str]) -> None:
    if output is None:
        _pour(sys.stdout, pieces)
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            _pour(file, pieces)


def _pour(file: TextIO, pieces: Iterable[str]) -> None:
    for piece in pieces:
        file.write(piece)
    file.flush()


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "session_id": hit.session_id,
        "started_at": hit.started_at,
        "user_id": hit.user_id,
        "bundle": hit.bundle,
        "title": hit.title,
        "seq": hit.seq,
        "role": hit.role,
        "text": hit.text,
        "marks": [list(mark) for mark in hit.marks],
        "score": hit.score,
    }
