"""The journals of a session side by side: which started when, and what a replaced one wrote too late."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.transcripts.entries import Entry, EntryId, iso


@dataclass
class Run:
    """What one journal holds: one attempt, by one process. Its entries all have `at`, `w` and `type`."""

    attempt: int
    writer: str
    entries: list[Entry] = field(default_factory=list)
    start: Entry | None = None
    """Its start entries as one: what a later one says counts, unless it says null."""
    started_at: str = ""
    """`at` of the first start, else of the first entry."""
    lost: int = 0
    """Entries that it gave a number and that are not here."""


def runs_of(entries: Mapping[EntryId, Entry]) -> list[Run]:
    """The journals that the entries (a `union`) come from, in the order in which they started."""
    runs: dict[tuple[int, str], Run] = {}
    for (attempt, writer, _), entry in entries.items():
        if (run := runs.get((attempt, writer))) is None:
            run = runs[attempt, writer] = Run(attempt, writer)
        run.entries.append({**entry, "w": writer})
    for run in runs.values():
        _complete(run)
    return sorted(runs.values(), key=lambda run: (run.started_at, run.attempt, run.writer))


def surviving(runs: list[Run]) -> list[Entry]:
    """
    The entries that count, by time.

    A process that wakes up after it was replaced goes on writing for a while. What it wrote later than the
    start of an attempt that replaced it is left out. Only a start replaces: entries that a parent adds about
    an attempt do not, nor does an attempt that had started before.
    """
    kept = []
    for run in runs:
        replaced_at = min(
            (
                other.started_at
                for other in runs
                if other.start is not None
                and other.attempt > run.attempt
                and other.started_at > run.started_at
            ),
            default=None,
        )
        kept += [entry for entry in run.entries if replaced_at is None or entry["at"] <= replaced_at]
    return sorted(kept, key=lambda entry: (entry["at"], entry["attempt"], entry["w"], entry["n"]))


def _complete(run: Run) -> None:
    """Give each entry a time and a type, and the run its start and its losses."""
    latest = next((at for entry in run.entries if (at := iso(entry.get("at")))), "1970-01-01T00:00:00.000Z")
    starts: list[Entry] = []
    without_numbers = 0
    for entry in run.entries:
        latest = entry["at"] = iso(entry.get("at")) or latest
        kind = entry["type"] = entry["type"] if isinstance(entry.get("type"), str) else "?"
        if kind == "start":
            starts.append(entry)
        count = entry.get("count")
        if kind == "lost" and "numbers" not in entry and isinstance(count, int) and 0 < count < 10**9:
            without_numbers += count
    by_number: dict[str, Any] = {}
    for start in starts:
        by_number.update({key: value for key, value in start.items() if value is not None})
    if starts:
        run.start = {**by_number, "at": starts[0]["at"]}
    run.started_at = starts[0]["at"] if starts else run.entries[0]["at"]
    # Numbers are given without gaps, so a gap is a loss: on a full disk, in a queue, in a damaged line.
    run.lost = run.entries[-1]["n"] - len(run.entries) + without_numbers
