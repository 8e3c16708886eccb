"""`agent transcripts export`: records as files, one at a time from the database."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import Engine

from agent.cli.history import unknown
from agent.cli.output import FAILED, fail
from agent.cli.record_options import Chosen, choosing
from agent.cli.records import records
from agent.settings import load as load_settings
from agent.transcripts.export import Format, as_webvtt
from agent.transcripts.export import export as as_one
from agent.transcripts.filters import Owner
from agent.transcripts.history import count_transcripts, every_transcript, load
from agent.transcripts.paths import session_folder


class Form(StrEnum):
    """What a record can be exported as."""

    json = "json"
    text = "text"
    csv = "csv"
    vtt = "vtt"


@choosing
def export(
    chosen: Chosen,
    session_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="These sessions.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", "-f", help="As what.")] = Form.json,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; for vtt of many sessions a folder.")
    ] = None,
) -> None:
    """
    Export records: those with these ids, or all that the filters leave, silent sessions too.

    Example: agent transcripts export --from 2026-01-01 --format csv --output turns.csv
    """
    with records(load_settings()) as engine:
        filters = chosen.filters
        if filters.silent is None:  # what is kept of a person is all of it
            filters = dataclasses.replace(filters, silent=True)
        if session_ids:
            for session_id in session_ids:  # before anything is written
                if load(engine, session_id, chosen.owner) is None:
                    unknown(session_id)
            ids: Iterable[str] = session_ids
            total = len(session_ids)
        else:
            ids = (row["session_id"] for row in every_transcript(engine, chosen.owner, filters))
            total = count_transcripts(engine, chosen.owner, filters)
        found = _with_progress(_loaded(engine, ids, chosen.owner), total, output)
        try:
            if form is Form.vtt:
                _export_webvtt(found, output, is_one=bool(session_ids) and total == 1)
            else:
                _write(output, as_one(found, cast("Format", form.value)))
        except OSError as exc:
            if output is None:
                raise  # stdout is every command's
            fail(f"{output}: {exc.strerror or exc}", code="output", exit=FAILED)


def _loaded(engine: Engine, session_ids: Iterable[str], owner: Owner) -> Iterator[dict[str, Any]]:
    for session_id in session_ids:
        transcript = load(engine, session_id, owner)
        if transcript is None:
            unknown(session_id)
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
        fail("WebVTT holds one session per file: name one ID, or a folder with --output", code="usage")
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
