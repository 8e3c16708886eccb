"""
Making the record: the fold of everything known of a session, put into the database once, whoever does it.

Several processes may do it at once, and again later when more entries turn up. Each run takes the session's
lock, adds what it found to the entries that the record was made from before, and only if that is more, folds
all of them anew. So nothing ever shrinks, and a second run changes nothing.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import redis as redis_client
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.append_file import is_being_written
from agent.transcripts.database import DatabaseTroubleError, trouble, writing
from agent.transcripts.entries import Entry, EntryId, union
from agent.transcripts.erased import is_erased
from agent.transcripts.fold import fold_union
from agent.transcripts.paths import session_folder
from agent.transcripts.reading import JournalRead, read_session
from agent.transcripts.recorded import read_entries, write_record
from agent.transcripts.stream import delete_stream, read_whole_stream

LOCK_SECONDS = 10.0
"""How long a statement on PostgreSQL waits for somebody's lock, such as a migration's."""

MOST_FAILURES = 3
"""
Records that cannot be made until a run over many leaves the rest to the next one: each may have waited
seconds for a lock.
"""

_LOCKED = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(:id, 7)) "
    "FROM (SELECT set_config('lock_timeout', :wait, true) OFFSET 0) AS first"
)
"""Wait for the session's lock, not for ever; `OFFSET 0` has the limit set before."""

logger = logging.getLogger(__name__)


class RecordNotMadeError(Exception):
    """The record could not be made now. One line; nothing was removed, so a later run can make it."""


@dataclass(frozen=True)
class Outcome:
    """What one run of `finalize` did."""

    session_id: str
    action: Literal["created", "grown", "unchanged", "erased", "nothing"]
    """`erased`: it was erased before; what was left of it is removed. `nothing`: no entries anywhere."""
    entry_count: int = 0
    item_count: int = 0
    end_reason: str | None = None
    journals_removed: int = 0
    journals_kept: int = 0
    """Files that stay: their writer is alive, or they have grown meanwhile."""
    added: Sequence[Entry] = field(default=(), repr=False)
    """The entries that this run brought into the record; each is brought by one run, whoever does it."""


AlsoWrite = Callable[[Connection, dict[str, Any]], None]
"""Something to write in the transaction that writes the record, such as a row of an outbox."""


def finalize(
    session_id: str,
    *,
    engine: Engine,
    journals: Path,
    redis: "redis_client.Redis | None" = None,
    also: AlsoWrite | None = None,
) -> Outcome:
    """
    Make or complete the record of one session, then remove the journals and the stream that are all in it.

    The caller decides that the session is over. If it was not, nothing is lost: a journal whose writer is
    alive stays, and what comes later completes the record. Blocks (disk, Redis, SQL); call it in a thread.

    Args:
        engine: The database, at the current schema.
        journals: The folder of all journals.
        redis: A client that is not asynchronous, to read the stream too; None: the journals here are all
            there is. If Redis does not answer, the record is made from the journals and the stream stays.
        also: Called in the same transaction with the new transcript, when there is one.

    Raises:
        RecordNotMadeError: The database or the disk does not let us; everything is left for later.
    """
    try:
        files = read_session(journals, session_id)
    except OSError as exc:
        raise RecordNotMadeError(f"session {session_id!r}: journal: {exc.strerror or exc}") from exc
    streamed, last = _from_stream(redis, session_id)
    found = union([*(entry for file in files for entry in file.entries), *streamed])
    try:
        with _uncollected():
            outcome = _record(session_id, found, engine, also)
    except SQLAlchemyError as exc:
        raise RecordNotMadeError(f"session {session_id!r}: {trouble(exc)}; journal kept") from exc
    except DatabaseTroubleError as exc:
        raise RecordNotMadeError(f"session {session_id!r}: {exc}; journal kept") from exc
    removed, kept = _remove_files(files, session_folder(journals, session_id))
    if redis is not None and last is not None:
        _remove_stream(redis, session_id, last)
    return replace(outcome, journals_removed=removed, journals_kept=kept)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Thousands of entries come and go, none of them in a cycle: walking all of the heap is for nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _record(
    session_id: str, found: Mapping[EntryId, Entry], engine: Engine, also: AlsoWrite | None
) -> Outcome:
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            # There may be no row to lock yet. SQLite needs nothing: one writer has the whole file.
            connection.execute(_LOCKED, {"wait": f"{int(LOCK_SECONDS * 1000)}ms", "id": session_id})
        if is_erased(connection, session_id, found.values()):
            return Outcome(session_id, "erased")
        recorded = read_entries(connection, session_id)
        known = union(recorded or ())
        everything = union([*known.values(), *found.values()]) if known else found
        if not everything:
            return Outcome(session_id, "nothing")
        if recorded is not None and len(everything) <= len(recorded):
            return Outcome(session_id, "unchanged", len(recorded))
        transcript = fold_union(everything)
        transcript["session_id"] = session_id
        write_record(connection, transcript, list(everything.values()), replaces=recorded is not None)
        if also is not None:
            also(connection, transcript)
        return Outcome(
            session_id,
            "created" if recorded is None else "grown",
            len(everything),
            len(transcript["items"]),
            transcript["end_reason"],
            added=[entry for identity, entry in everything.items() if identity not in known],
        )


def _from_stream(client: "redis_client.Redis | None", session_id: str) -> tuple[list[Entry], str | None]:
    if client is None:
        return [], None
    try:
        return read_whole_stream(client, session_id)
    except (redis_client.RedisError, OSError) as exc:
        logger.warning("journal stream not read: %s; using the journals on disk", type(exc).__name__)
        return [], None


def _remove_stream(client: redis_client.Redis, session_id: str, last: str) -> None:
    try:
        delete_stream(client, session_id, last)
    except (redis_client.RedisError, OSError) as exc:
        logger.warning("journal stream not removed: %s; it expires by itself", type(exc).__name__)


def _remove_files(files: list[JournalRead], folder: Path) -> tuple[int, int]:
    """Remove the journals that are in the record as a whole; (removed, kept)."""
    removed = 0
    for file in files:
        try:
            # Should a writer append between these two lines, it finds its file gone with the next entry and
            # makes it anew with everything in it.
            if not is_being_written(file.path) and file.path.stat().st_size == file.size:
                file.path.unlink()
                removed += 1
        except FileNotFoundError:
            removed += 1  # another run was faster
        except OSError as exc:
            logger.warning("journal not removed: %s", exc.strerror or exc)
    with suppress(OSError):  # there is still something in it, or it is gone
        folder.rmdir()
    return removed, len(files) - removed
