"""What the database holds of one session: the record's rows, and the entries that they were folded from."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from agent.transcripts.database import as_json, trouble
from agent.transcripts.entries import Entry, iso_from_seconds, pack, seconds_of, unpack, utc_now
from agent.transcripts.tables import agents, items, journals, transcripts
from agent.transcripts.words import folded_words, owner_words

_MOST_PLACES = 16_383
"""PostgreSQL knows no later place of a word within a text."""

_MOST_AT = 255
"""PostgreSQL keeps no more places of one word."""

_ITEM_COLUMNS = "items (session_id, seq, type, item, words)"


def read_entries(connection: Connection, session_id: str) -> list[Entry] | None:
    """The entries that the record was folded from; None if there is no record."""
    packed = connection.execute(
        select(journals.c.entries).where(journals.c.session_id == session_id)
    ).scalar_one_or_none()
    return None if packed is None else unpack(packed)


def write_record(
    connection: Connection, transcript: dict[str, Any], entries: list[Entry], *, replaces: bool
) -> None:
    """
    Put the record in its place; a title that was given stays.

    Args:
        connection: A transaction that holds the session's lock.
        transcript: transcript/v1.
        entries: What it was folded from.
        replaces: Whether there is a record of this session, which goes.

    Raises:
        SQLAlchemyError, DatabaseTroubleError: The database does not take it.
    """
    session_id = transcript["session_id"]
    given_title = None
    if replaces:
        given_title = connection.execute(
            select(transcripts.c.given_title).where(transcripts.c.session_id == session_id)
        ).scalar_one_or_none()
        remove_record(connection, session_id)
    row = transcript_row(transcript, entries)
    connection.execute(insert(transcripts), {**row, "given_title": given_title})
    insert_items(connection, [transcript])
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


def insert_items(connection: Connection, of: list[dict[str, Any]]) -> None:
    """Insert the rows of `items` of these transcripts. Raises as `write_record`."""
    on_postgresql = connection.dialect.name == "postgresql"
    rows = [row for transcript in of for row in _item_rows(transcript, on_postgresql)]
    if not rows:
        return
    if not on_postgresql:
        connection.exec_driver_sql(f"INSERT INTO {_ITEM_COLUMNS} VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608
        return
    import psycopg  # not before it is needed: a worker on SQLite has no use for it

    # COPY takes half the time of one statement with all rows in it, within the same transaction.
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {_ITEM_COLUMNS} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as exc:
        raise trouble(exc) from exc


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


def _item_rows(transcript: dict[str, Any], on_postgresql: bool) -> Iterator[tuple[Any, ...]]:
    owners = owner_words(transcript["organization"], transcript["user_id"])
    session_id = transcript["session_id"]
    for item in transcript["items"]:
        words = folded_words(item["text"]) if item["type"] == "message" else []
        indexed = _indexed(words, owners, on_postgresql) if words else None
        yield session_id, item["seq"], item["type"], as_json(item), indexed


def _indexed(words: list[str], owners: list[str], on_postgresql: bool) -> str:
    """Words as the index of the database takes them: a tsvector as text, with places, or plain text."""
    if not on_postgresql:
        return " ".join([*words, *owners])
    # A lexeme holds at most 2046 bytes; words are cut to 200 characters before.
    lexemes: dict[str, str] = {}
    for place, word in enumerate(words[:_MOST_PLACES], 1):
        known = lexemes.get(word)
        if known is None:
            lexemes[word] = f"'{word}':{place}"
        elif place <= _MOST_AT or known.count(",") < _MOST_AT - 1:
            lexemes[word] = f"{known},{place}"
    return " ".join([*lexemes.values(), *(f"'{owner}'" for owner in owners)])


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
