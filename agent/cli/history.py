"""`agent transcripts list · show · search · stats · rename`."""

import dataclasses
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from agent.cli.output import fail, print_json
from agent.cli.record_options import Chosen, Json, Organization, SessionId, User, choosing
from agent.cli.records import local_time, owner_of, records
from agent.plain_text import one_line, plain
from agent.settings import load as load_settings
from agent.transcripts import history
from agent.transcripts.export import as_text
from agent.transcripts.search import Hit
from agent.transcripts.search import search as search_records
from agent.transcripts.stats import statistics


class By(StrEnum):
    """What statistics are grouped by."""

    day = "day"
    bundle = "bundle"
    reason = "reason"


@choosing
def list_(
    chosen: Chosen,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows.")] = 50,
    after: Annotated[
        str | None, typer.Option(help="The page after this one; the list before says it.")
    ] = None,
    json: Json = False,
) -> None:
    """
    List past sessions, newest first. Live sessions are not among them.

    Example: agent transcripts list --user u1 --from 2026-01-01 --json
    """
    with records(load_settings()) as engine:
        page = history.list_transcripts(engine, chosen.owner, chosen.filters, limit=limit, after=after)
        hidden = history.count_hidden(engine, chosen.owner, chosen.filters)
    if json:
        print_json(list(page.transcripts))
        if page.next is not None:
            typer.echo(f"next page: --after {page.next}", err=True)
    else:
        _print_table(page.transcripts)
        if page.next is not None:
            typer.echo(f"more: --after {page.next}")
    if hidden:
        sessions = "1 session is" if hidden == 1 else f"{hidden} sessions are"
        typer.echo(f"{sessions} hidden, because the user said nothing: --silent shows all", err=True)


def show(
    session_id: SessionId, user: User = None, organization: Organization = None, json: Json = False
) -> None:
    """
    Show one record; with --json as transcript/v1.

    Example: agent transcripts show s-1 --json
    """
    with records(load_settings()) as engine:
        transcript = history.load(engine, session_id, owner_of(organization, user))
    if transcript is None:
        unknown(session_id)
    if json:
        print_json(transcript)
        return
    for line in as_text(transcript):
        typer.echo(plain(line))


@choosing
def search(
    query: Annotated[list[str], typer.Argument(help='Words; "words together"; begins of words: inter*')],
    chosen: Chosen,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most hits.")] = 20,
    json: Json = False,
) -> None:
    """
    Search what was said, in any script; best hits first, the found words marked.

    Example: agent transcripts search refund --bundle support
    """
    asked = " ".join(f'"{part}"' if " " in part and '"' not in part else part for part in query)
    with records(load_settings()) as engine:
        hits = search_records(engine, chosen.owner, asked, chosen.filters, limit=limit)
    if json:
        print_json([_hit(hit) for hit in hits])
        return
    before, after = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("**", "**")
    for hit in hits:
        typer.echo(one_line(f"{local_time(hit.started_at)}  {hit.session_id}  {hit.title or ''}".rstrip()))
        snippet = plain(hit.snippet(*_MARKS))
        typer.echo(f"  {hit.role}: {snippet.replace(_MARKS[0], before).replace(_MARKS[1], after)}")
    if not hits:
        typer.echo("nothing found")


@choosing
def stats(
    chosen: Chosen,
    by: Annotated[By, typer.Option(help="Grouped by what.")] = By.day,
    json: Json = False,
) -> None:
    """
    Count sessions, their duration, turns, tokens and characters, per day, bundle or end reason.

    Example: agent transcripts stats --by bundle
    """
    with records(load_settings()) as engine:
        rows = statistics(engine, chosen.owner, chosen.filters, by=by.value)
    if json:
        print_json(rows)
        return
    typer.echo(f"{by.value:<24} sessions     hours     turns      tokens  characters")
    for row in rows:
        typer.echo(
            f"{one_line(row[by.value] or '-'):<24} {row['sessions']:>8} "
            f"{row['duration_seconds'] / 3600:>9.2f} "
            f"{row['turns']:>9} {row['tokens']:>11} {row['characters']:>11}"
        )


def rename(
    session_id: SessionId,
    title: Annotated[str, typer.Argument(help="The new title; '' for the user's first words again.")],
    user: User = None,
    organization: Organization = None,
) -> None:
    """
    Give a session a title.

    Example: agent transcripts rename s-1 "The lost parcel"
    """
    with records(load_settings()) as engine:
        if not history.rename(engine, session_id, owner_of(organization, user), title.strip() or None):
            unknown(session_id)


_MARKS = ("\ue000", "\ue001")
"""Of private use: they stand for the marks of a terminal, which nobody's words may set."""


def unknown(session_id: str) -> NoReturn:
    """End the command: there is no such record, or none that its owner may see."""
    fail(
        f"no record of session {session_id!r}; `agent transcripts list` shows which there are",
        "unknown_session",
    )


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
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
    if len(lines) == 1:
        typer.echo("no records")
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo(one_line("  ".join(cells).rstrip()))


def _hit(hit: Hit) -> dict[str, Any]:
    return {**dataclasses.asdict(hit), "marks": [list(mark) for mark in hit.marks]}
