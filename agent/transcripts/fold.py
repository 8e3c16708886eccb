"""
The record of a session as a function of its journal: `fold(entries) -> transcript/v1`.

Pure and total. Any set of entries gives a valid record: a journal that was cut anywhere, entries that come
twice or in any order, attempts interleaved, fields missing or of the wrong type.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from agent.transcripts.entries import Entry, EntryId, iso, plain, seconds_of, union
from agent.transcripts.items import items_of
from agent.transcripts.runs import Run, runs_of, surviving

SCHEMA = "transcript/v1"
CRASHED = "crashed"
"""End reason of a session whose journal has no end."""

_LONGEST_TITLE = 80

try:
    _RUNTIME_VERSION = version("livekit-agent-runtime")
except PackageNotFoundError:  # a checkout that is not installed
    _RUNTIME_VERSION = "0"


def fold(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """
    The transcript of one session.

    Args:
        entries: Journal entries in any order, of any number of attempts; each counts once. What an attempt
            wrote after the next one had started is left out.

    Returns:
        `transcript/v1`, with every key present. Times are ISO 8601 in UTC with milliseconds or None;
        `duration_seconds` counts from `live_at` to `ended_at` and is 0.0 when nobody was there.
        `end_reason` is `crashed` when nothing after the last start says why it ended.
    """
    return fold_union(union(entries))


def fold_union(entries: Mapping[EntryId, Entry]) -> dict[str, Any]:
    """`fold` of entries that are a `union` already."""
    runs = runs_of(entries)
    kept = surviving(runs)
    about = _about(runs)
    end = end_of_kept(runs, kept)
    live_at = _first_time(entry["at"] for entry in kept if entry["type"] == "live")
    ended_at = end["at"] if end else max((entry["at"] for entry in kept), default=None)
    items = items_of(kept, open_answers_are_cut=True)
    starts = [run.start for run in runs if run.start is not None]
    initial_agent = about.get("initial_agent") if live_at is not None else None
    return {
        "schema": SCHEMA,
        "runtime_version": _text(about.get("runtime_version")) or _RUNTIME_VERSION,
        "session_id": _text(about.get("session_id")) or "",
        "title": _title(items),
        "room": _room(about.get("room")),
        "attempts": _attempts(runs),
        "organization": _text(about.get("organization")),
        "user_id": _text(about.get("user_id")),
        "bundle": _text(about.get("bundle")),
        "preset": _text(about.get("preset")),
        "digest": _text(about.get("digest")),
        "origins": _map(about.get("origins")),
        "verdicts": _verdicts(starts, kept),
        "started_at": _first_time(
            iso(start.get("started_at")) or start["at"] for start in starts
        ) or _first_time(entry["at"] for entry in kept),
        "live_at": live_at,
        "ended_at": ended_at,
        "duration_seconds": _seconds_between(live_at, ended_at),
        "end_reason": (_text(end.get("reason")) if end else None) or CRASHED,
        "end_detail": _text(end.get("detail")) if end else None,
        "lost_entries": sum(run.lost for run in runs),
        "participants": _participants(kept),
        "agents": _agents(kept, initial_agent),
        "usage": _usage(kept),
        "items": items,
        "metadata": _map(about.get("metadata")),
    }  # fmt: skip


def end_of(entries: Iterable[Mapping[str, Any]]) -> Entry | None:
    """The entry that ended the session; None while it lives, and when it crashed or went on after an end."""
    runs = runs_of(union(entries))
    return end_of_kept(runs, surviving(runs))


def end_of_kept(runs: list[Run], kept: list[Entry]) -> Entry | None:
    """The first end that no later attempt started after: the first cause wins."""
    last_start = max((run.started_at for run in runs if run.start is not None), default="")
    return next((entry for entry in kept if entry["type"] == "end" and entry["at"] >= last_start), None)


def _about(runs: list[Run]) -> dict[str, Any]:
    """What the start entries say of the session; of two that say something, the later one is right."""
    about: dict[str, Any] = {}
    for run in runs:
        if run.start is not None:
            about.update({key: value for key, value in run.start.items() if value is not None})
    return about


def _attempts(runs: list[Run]) -> list[dict[str, Any]]:
    known = {run.attempt for run in runs if run.start is not None}
    rows = []
    for run in sorted(runs, key=lambda run: (run.attempt, run.started_at, run.writer)):
        start = run.start
        if start is None and run.attempt in known:
            continue  # entries that somebody else wrote about this attempt
        known.add(run.attempt)
        rows.append(
            {
                "attempt": run.attempt,
                "job_id": _text(start.get("job_id")) if start else None,
                "worker_id": _text(start.get("worker_id")) if start else None,
                "started_at": (iso(start.get("started_at")) if start else None) or run.started_at,
            }
        )
    return rows


def _verdicts(starts: list[Entry], kept: list[Entry]) -> list[Any]:
    """Each verdict once, as a new attempt with the same frozen config says the same again."""
    said = [start.get("verdicts") for start in starts]
    said += [entry.get("verdicts") for entry in kept if entry["type"] in ("verdicts", "revision")]
    found: list[Any] = []
    for verdicts in said:
        for verdict in verdicts if isinstance(verdicts, list) else []:
            if isinstance(verdict, Mapping) and (cleaned := plain(verdict)) not in found:
                found.append(cleaned)
    return found


def _participants(kept: list[Entry]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    present: dict[str, dict[str, Any]] = {}
    for entry in kept:
        identity = _text(entry.get("identity"))
        if entry["type"] != "participant" or identity is None:
            continue
        if entry.get("change") == "left":
            if (row := present.pop(identity, None)) is not None:
                row["left_at"] = entry["at"]
        elif identity not in present:
            row = {
                "identity": identity,
                "kind": _text(entry.get("kind")),
                "joined_at": entry["at"],
                "left_at": None,
            }
            present[identity] = row
            rows.append(row)
    return rows


def _agents(kept: list[Entry], initial_agent: object) -> list[str]:
    """Who took part, in the order of their first appearance."""
    names: list[object] = [initial_agent]
    for entry in kept:
        if entry["type"] in ("agent", "tool_call"):
            names.append(entry.get("agent"))
        elif entry["type"] == "handoff":
            names += [entry.get("from"), entry.get("to")]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def _usage(kept: list[Entry]) -> list[dict[str, Any]]:
    """The last report of each journal, added up by kind, provider and model."""
    last: dict[tuple[int, str], Any] = {}
    for entry in kept:
        if entry["type"] == "usage":
            last[entry["attempt"], entry["w"]] = entry.get("models")
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    for models in last.values():
        for model in models if isinstance(models, list) else []:
            if not isinstance(model, Mapping):
                continue
            names = {key: _text(model.get(key)) for key in ("kind", "provider", "model")}
            row = sums.setdefault(tuple(value or "" for value in names.values()), dict(names))
            for key, value in plain(model).items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    before = row.get(key, 0)
                    row[key] = before + value if isinstance(before, (int, float)) else value
    return [plain(row) for row in sums.values()]


def _title(items: list[dict[str, Any]]) -> str | None:
    """The user's first words, cut at a word; None if the user said nothing."""
    for item in items:
        if item["type"] == "message" and item["role"] == "user" and (words := " ".join(item["text"].split())):
            if len(words) <= _LONGEST_TITLE:
                return words
            cut = words[: _LONGEST_TITLE - 1]
            return (cut.rpartition(" ")[0] or cut) + "…"
    return None


def _room(room: object) -> dict[str, str | None]:
    known = room if isinstance(room, Mapping) else {}
    return {"name": _text(known.get("name")), "sid": _text(known.get("sid"))}


def _map(value: object) -> dict[str, Any]:
    cleaned = plain(value) if isinstance(value, Mapping) else {}
    return cleaned if isinstance(cleaned, dict) else {}


def _text(value: object) -> str | None:
    return str(plain(value)) if isinstance(value, str) else None


def _first_time(times: Iterable[str]) -> str | None:
    return min(times, default=None)


def _seconds_between(begin: str | None, end: str | None) -> float:
    first, last = seconds_of(begin), seconds_of(end)
    return 0.0 if first is None or last is None else round(max(0.0, last - first), 3)
