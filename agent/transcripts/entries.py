"""
What a journal is made of: entries, and the line that each of them is written as.

An entry is a JSON object with at least `v` (version of this shape), `attempt`, `w` (which journal wrote
it), `n` (1, 2, 3 … within that journal), `at` (ISO 8601, UTC, milliseconds) and `type`. The identity of an
entry is (attempt, w, n): `w` keeps two journals apart that both believe to be the same attempt, which happens
when the state store was lost and an application uses a session id again.

A line is `LLLLLLLL CCCCCCCC JSON\\n`: length of the JSON in bytes and its CRC-32, both as 8 hex digits. A
line that was cut by a crash or a full disk fails one of the two and is dropped by readers.
"""

import json
import math
import re
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pydantic_core

Entry = dict[str, Any]
"""One journal entry; unknown types and unknown keys are kept by everything that reads entries."""

EntryId = tuple[int, str, int]
"""(attempt, w, n): the identity of an entry within its session."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "start": (),
    "live": (),
    "participant": (),
    "user": ("text",),
    "agent": ("text",),
    "tool_call": ("arguments",),
    "tool_result": ("output",),
    "handoff": (),
    "event": ("detail",),
    "error": ("message",),
    "verdicts": (),
    "revision": (),
    "usage": (),
    "silence": (),
    "figure": (),
    "lost": (),
    "journal": (),
    "end": ("detail",),
}
"""The types of entries that are written, and which of their fields hold words that people or models said."""

VERSION = 1
"""Version of the shape of entries written by this code."""

MAX_ENTRY_BYTES = 64 * 1024
"""Longest JSON of one entry; longer texts inside it are cut, and the entry says so in `truncated`."""

_MAX_DEPTH = 12
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_OUR_TIME = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z")
_PREFIX_BYTES = 18
_CUTS = (16_384, 4_096, 1_024, 256, 64)


def utc_now() -> str:
    """The wall clock as ISO 8601 in UTC with milliseconds, `2026-01-01T00:00:00.000Z`."""
    return iso_from_seconds(time.time())


def iso_from_seconds(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds; clamped to the years 1970 to 9999."""
    moment = datetime.fromtimestamp(min(max(seconds, 0.0), 253_402_300_799.0), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(value: object) -> float | None:
    """
    A time as seconds since 1970, or None if `value` is no time.

    Takes ISO 8601 text (without an offset it counts as UTC) and numbers (seconds since 1970). Total: never
    raises, because it reads what another program or a damaged disk may have written.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        seconds = float(value) if abs(value) < 1e15 else math.nan
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    else:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= 253_402_300_799 else None


def iso(value: object) -> str | None:
    """A time that `seconds_of` takes, as ISO 8601 in UTC with milliseconds; None if it is none."""
    if value is None:
        return None
    if isinstance(value, str) and _OUR_TIME.fullmatch(value) and value >= "1970":
        return value  # as utc_now writes it: nearly every time there is
    seconds = seconds_of(value)
    return None if seconds is None else iso_from_seconds(seconds)


def plain(value: object, longest: int | None = None, depth: int = 0) -> Any:
    """
    `value` as what JSON can hold: an object that is none becomes the name of its type, never its `repr`,
    which might hold a secret. NUL characters are dropped (PostgreSQL takes none).

    Args:
        value: Anything.
        longest: Longest text in characters; longer ones are cut and end with how many are missing.
        depth: How deep `value` lies; below 12 levels containers become `…`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)[:64]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        text = value.replace("\x00", "")
        if not text.isascii():
            text = text.encode(errors="replace").decode()  # half of a surrogate pair is no text
        if longest is not None and len(text) > longest:
            return f"{text[:longest]}… [{len(text) - longest} characters more]"
        return text
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(plain(key, longest) if isinstance(key, str) else key): plain(item, longest, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, longest, depth + 1) for item in value]
    return f"<{type(value).__name__}>"


def to_json(entry: Mapping[str, Any]) -> bytes:
    """The entry as JSON in UTF-8, at most `MAX_ENTRY_BYTES` long."""
    text = _dump(plain(entry))
    if len(text) <= MAX_ENTRY_BYTES:
        return text
    size = len(text)
    for longest in _CUTS:
        text = _dump({**plain(entry, longest), "truncated": size})
        if len(text) <= MAX_ENTRY_BYTES:
            return text
    kept = {key: plain(entry.get(key), 64) for key in ("v", "attempt", "w", "n", "at", "type")}
    return _dump({**kept, "truncated": size})


def to_line(entry: Mapping[str, Any]) -> bytes:
    """The entry as one line of a journal."""
    text = to_json(entry)
    return b"%08x %08x %s\n" % (len(text), zlib.crc32(text), text)


def from_line(line: bytes) -> Entry | None:
    """The entry in one line (with or without its newline); None if the line is torn or damaged."""
    text = _whole(line.removesuffix(b"\n"))
    return None if text is None else from_json(text)


def from_lines(content: bytes) -> tuple[list[Entry], int]:
    """All entries in the text of a journal, and how many of its lines are torn or damaged."""
    lines = [line for line in content.split(b"\n") if line]
    texts = [text for line in lines if (text := _whole(line)) is not None]
    try:
        # One array is parsed several times faster than its parts, and the checksums say that they are whole.
        found = pydantic_core.from_json(b"[%s]" % b",".join(texts))
    except ValueError:
        found = [from_json(text) for text in texts]
    entries = [entry for entry in found if isinstance(entry, dict)]
    return entries, len(lines) - len(entries)


def _whole(line: bytes) -> bytes | None:
    """The JSON of a line whose length and checksum are right, else None."""
    text = line[_PREFIX_BYTES:]
    return text if line[:_PREFIX_BYTES] == b"%08x %08x " % (len(text), zlib.crc32(text)) else None


def pack(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Entries that were read from journals as one compressed text, in their order."""
    try:
        text = pydantic_core.to_json(list(entries))  # half the time of `json`
    except pydantic_core.PydanticSerializationError:  # half of a surrogate pair, which only damage brings
        text = _dump(list(entries))
    return zlib.compress(text, 1)


def unpack(packed: bytes) -> list[Entry]:
    """The entries in what `pack` made. Raises ValueError or zlib.error if it is something else."""
    return [entry for entry in pydantic_core.from_json(zlib.decompress(packed)) if isinstance(entry, dict)]


def from_json(text: bytes | str) -> Entry | None:
    """The entry in a JSON text; None if it is not one."""
    try:
        entry = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def entry_id(entry: Mapping[str, Any]) -> EntryId | None:
    """The identity of an entry; None if it has none and so is no entry of a session."""
    attempt, writer, number = entry.get("attempt"), entry.get("w", ""), entry.get("n")
    if type(attempt) is not int or type(number) is not int or number < 1:  # a bool is none
        return None
    return attempt, writer if isinstance(writer, str) else "", number


def union(entries: Iterable[Mapping[str, Any]]) -> dict[EntryId, Entry]:
    """
    The entries by identity, each once, in the order of their identities.

    The entries themselves, not copies. Of two different entries with one identity (which only damage makes)
    the same one is taken whatever the order they come in.
    """
    found: dict[EntryId, Entry] = {}
    for entry in entries:
        if not isinstance(entry, dict) or (identity := entry_id(entry)) is None:
            continue
        known = found.get(identity)
        if known is None or (known != entry and to_json(entry) < to_json(known)):
            found[identity] = entry
    return dict(sorted(found.items()))


def _dump(value: object) -> bytes:
    return _ENCODER.encode(value).encode(errors="replace")
