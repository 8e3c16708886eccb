"""What the database holds of one session: the record's rows, and the entries that they were folded from."""

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text

from agent.transcripts.entries import Entry, iso_from_seconds, pack, seconds_of, unpack, utc_now
from agent.transcripts.tables import agents, items, journals, transcripts
from agent.transcripts.words import folded_words, owner_words

_MOST_PLACES = 16_383
"""PostgreSQL knows no later place of a word within a text."""

_INSERT_ITEMS = text(
    "INSERT INTO items (session_id, seq, type, item, words) "
    "SELECT r->>'session_id', CAST(r->>'seq' AS integer), r->>'type', r->'item', "
    "CAST(r->>'words' AS tsvector) FROM json_array_elements(CAST(:rows AS json)) AS r"
)


def read_entries(connection: Connection, session_id: str) -> list[Entry] | None:
    """The entries that the record was folded from; None if there is no record."""
    packed = connection.execute(
        select(journals.c.entries).where(journals.c.session_id == session_id)
    ).scalar_one_or_none()
    return None if packed is None else unpack(packed)


def write_record(connection: Connection, transcript: dict[str, Any], entries: list[Entry]) -> None:
    """Put the record in the place of the one that is there, if there is one; a title that was given stays."""
    session_id = transcript["session_id"]
    given_title = connection.execute(
        select(transcripts.c.given_title).where(transcripts.c.session_id == session_id)
    ).scalar_one_or_none()
    remove_record(connection, session_id)
    row = transcript_row(transcript, entries)
    connection.execute(insert(transcripts), {**row, "given_title": given_title})
    if transcript["items"]:
        _insert_items(connection, transcript)
    if transcript["agents"]:
        connection.execute(
            insert(agents),
            [
                {"agent": name, "started_at": row["started_at"], "session_id": session_id}
                for name in transcript["agents"]
            ],
        )
    connection.execute(
        insert(journals),
        {"session_id": session_id, "entry_count": len(entries), "entries": pack(entries)},
    )


def remove_record(connection: Connection, session_id: str) -> int:
    """Delete every row of a session; returns how many items there were."""
    connection.execute(delete(journals).where(journals.c.session_id == session_id))
    connection.execute(delete(agents).where(agents.c.session_id == session_id))
    count = connection.execute(delete(items).where(items.c.session_id == session_id)).rowcount
    connection.execute(delete(transcripts).where(transcripts.c.session_id == session_id))
    return count


def _insert_items(connection: Connection, transcript: dict[str, Any]) -> None:
    if connection.dialect.name == "postgresql":
        # One statement with one value: half the time of a row at a time.
        rows = json.dumps(item_rows(transcript, True), ensure_ascii=False)
        connection.execute(_INSERT_ITEMS, {"rows": rows})
    else:
        connection.execute(insert(items), item_rows(transcript, False))


def transcript_row(transcript: dict[str, Any], entries: list[Entry]) -> dict[str, Any]:
    """The row of `transcripts` for a transcript."""
    started_at = transcript["started_at"] or utc_now()
    messages = [item for item in transcript["items"] if item["type"] == "message"]
    return {
        "session_id": transcript["session_id"],
        "organization": transcript["organization"] or "",
        "user_id": transcript["user_id"] or "",
        "bundle": transcript["bundle"],
        "end_reason": transcript["end_reason"],
        "started_at": started_at,
        "live_at": transcript["live_at"],
        "ended_at": transcript["ended_at"] or started_at,
        "duration_seconds": transcript["duration_seconds"],
        "title": transcript["title"],
        "user_turns": sum(item["role"] == "user" for item in messages),
        "item_count": len(transcript["items"]),
        "tokens": _used(transcript, "tokens"),
        "characters": _used(transcript, "characters"),
        "keep_until": _keep_until(transcript, entries),
        "record": {key: value for key, value in transcript.items() if key != "items"},
        "recorded_at": utc_now(),
    }


def item_rows(transcript: dict[str, Any], on_postgresql: bool) -> list[dict[str, Any]]:
    """The rows of `items` for a transcript."""
    owners = owner_words(transcript["organization"], transcript["user_id"])
    rows = []
    for item in transcript["items"]:
        words = folded_words(item["text"]) if item["type"] == "message" else []
        rows.append(
            {
                "session_id": transcript["session_id"],
                "seq": item["seq"],
                "type": item["type"],
                "item": item,
                "words": _indexed(words, owners, on_postgresql) if words else None,
            }
        )
    return rows


def _indexed(words: list[str], owners: list[str], on_postgresql: bool) -> str:
    """Words as the index of the database takes them: a tsvector as text, with places, or plain text."""
    if not on_postgresql:
        return " ".join([*words, *owners])
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words[:_MOST_PLACES], 1):
        places.setdefault(word, []).append(place)
    # A lexeme holds at most 255 places and 2046 bytes; words are cut to 200 characters before.
    vector = [f"'{word}':{','.join(map(str, at[:255]))}" for word, at in places.items()]
    return " ".join([*vector, *(f"'{owner}'" for owner in owners)])


def _used(transcript: dict[str, Any], what: str) -> int:
    """The sum of all counts whose name ends in `what`, such as input_tokens and output_tokens."""
    total = 0
    for model in transcript["usage"]:
        names = [name for name in model if name in (f"input_{what}", f"output_{what}")] or [
            name for name in model if name in (what, f"total_{what}", f"{what}_count")
        ]
        total += sum(int(model[name]) for name in names if isinstance(model[name], (int, float)))
    return min(max(total, 0), 2**62)


def _keep_until(transcript: dict[str, Any], entries: list[Entry]) -> str | None:
    """The end plus `keep_days` of the last start entry that says so; None: kept for ever."""
    days: float | None = None
    for entry in entries:
        said = entry.get("keep_days") if entry.get("type") == "start" else None
        if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said < 400_000:
            days = said
    ended = seconds_of(transcript["ended_at"] or transcript["started_at"])
    if days is None or ended is None:
        return None
    return iso_from_seconds(ended + timedelta(days=days).total_seconds())
