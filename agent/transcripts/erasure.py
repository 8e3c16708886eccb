"""
Erasing a session or a user: rows, search index, journals, streams, state, a user's presets; and a mark
against its return.

What this cannot reach: backups, PostgreSQL's write-ahead log and replicas, snapshots of disks and of Redis,
and the machines that are cut off (what those bring later is removed when it turns up, for 30 days).
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis as redis_client
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.append_file import is_being_written
from agent.transcripts.database import trouble, writing
from agent.transcripts.entries import Entry
from agent.transcripts.erased import is_erased, mark_session, mark_user
from agent.transcripts.filters import Everyone, Owner
from agent.transcripts.orphans import is_owned
from agent.transcripts.paths import journal_files, session_folder
from agent.transcripts.reading import read_journals, sessions_on_disk
from agent.transcripts.recorded import remove_record
from agent.transcripts.stream import read_stream, sessions_in_streams
from agent.transcripts.tables import transcripts
from config_store.tables import presets

logger = logging.getLogger(__name__)

_KEYS = ("journal", "config", "state", "commands")


@dataclass(frozen=True)
class Erasure:
    """What was removed."""

    sessions: tuple[str, ...] = ()
    """Sessions of which anything was found."""
    records: int = 0
    items: int = 0
    journals: int = 0
    redis_keys: int = 0
    live: tuple[str, ...] = ()
    """Sessions that go on: all that they leave is removed when they end."""
    compacted: bool = True
    """Whether the database's file was rewritten, so that no trace stays in its free space."""
    presets: int = 0

    def __add__(self, other: "Erasure") -> "Erasure":
        return Erasure(
            self.sessions + other.sessions,
            self.records + other.records,
            self.items + other.items,
            self.journals + other.journals,
            self.redis_keys + other.redis_keys,
            self.live + other.live,
            self.compacted and other.compacted,
            self.presets + other.presets,
        )


def erase_session(
    session_id: str, *, engine: Engine, journals: Path, redis: "redis_client.Redis | None" = None
) -> Erasure:
    """
    Remove everything that is kept of one session. Blocks: the file of SQLite is rewritten as a whole.

    Raises:
        DatabaseTroubleError: The database does not answer; nothing was removed.
        OSError, redis.RedisError: Journals or Redis could not be cleared; do it again, that is safe.
    """
    done = _erase(session_id, engine, journals, redis)
    return done + Erasure(compacted=compact(engine))


def erase_user(
    owner: Owner, *, engine: Engine, journals: Path, redis: "redis_client.Redis | None" = None
) -> Erasure:
    """
    Remove everything that is kept of one user: presets, and sessions, recorded or not; those that the user
    saves or starts from now on are new ones. Raises as `erase_session`, and ValueError for an owner without a
    user.
    """
    if not owner.user_id:
        raise ValueError("erase: a user is needed")
    everywhere = isinstance(owner.organization, Everyone)
    organization = None if isinstance(owner.organization, Everyone) else owner.organization
    of_user = [presets.c.user_id == owner.user_id]
    if not everywhere:
        of_user.append(presets.c.organization == (organization or ""))
    try:
        with writing(engine) as connection:
            mark_user(connection, organization, owner.user_id, everywhere=everywhere)
            recorded = list(
                connection.execute(select(transcripts.c.session_id).where(owner.condition())).scalars()
            )
            done = Erasure(presets=connection.execute(delete(presets).where(*of_user)).rowcount)
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    for session_id in dict.fromkeys([*recorded, *_unrecorded(owner, journals, redis)]):
        done += _erase(session_id, engine, journals, redis)
    return done + Erasure(compacted=compact(engine))


def is_marked(session_id: str, engine: Engine) -> bool:
    """Whether this session was erased in the last 30 days. Raises DatabaseTroubleError."""
    try:
        with engine.connect() as connection:
            return is_erased(connection, session_id, ())
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc


def is_of(
    session_id: str,
    owner: Owner,
    *,
    engine: Engine,
    journals: Path,
    redis: "redis_client.Redis | None" = None,
) -> bool:
    """
    Whether there is such a session of this owner, recorded or not.

    Raises:
        DatabaseTroubleError, OSError, redis.RedisError: It cannot be found out now.
    """
    query = select(transcripts.c.session_id).where(transcripts.c.session_id == session_id, owner.condition())
    try:
        with engine.connect() as connection:
            if connection.execute(query).first() is not None:
                return True
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    return _is_of(owner, _entries(session_id, journals, redis))


def compact(engine: Engine) -> bool:
    """
    Rewrite what deleted rows were in: SQLite's search index, file and write-ahead log; PostgreSQL's tables.

    Returns:
        False: it could not be done now (no space, somebody reads); the rows are gone all the same.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if engine.dialect.name == "postgresql":
            connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            cursor.execute("VACUUM items, journals, transcript_agents, transcripts, presets")
            connection.driver_connection.autocommit = False  # type: ignore[union-attr]
        else:
            # The index only notes what is deleted, and holds the words until its parts are merged.
            cursor.execute("INSERT INTO items_by_words(items_by_words) VALUES ('optimize')")
            cursor.execute("VACUUM")
            busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
    except engine.dialect.loaded_dbapi.Error as exc:
        logger.warning("database not compacted: %s", type(exc).__name__)
        return False
    finally:
        connection.close()
    return True


def _erase(session_id: str, engine: Engine, journals: Path, redis: "redis_client.Redis | None") -> Erasure:
    try:
        with writing(engine) as connection:
            mark_session(connection, session_id)
            of_session = transcripts.c.session_id == session_id
            records = connection.scalar(select(func.count()).select_from(transcripts).where(of_session)) or 0
            item_count = remove_record(connection, session_id)
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    elsewhere = redis is not None and is_owned(redis, session_id, _entries(session_id, journals, redis))
    files, is_live = _erase_journals(session_folder(journals, session_id))
    is_live = is_live or elsewhere  # a worker that has it needs its keys; when it ends, the mark removes them
    keys = 0
    if redis is not None and not is_live:
        keys = int(redis.delete(*(f"session:{session_id}:{key}" for key in _KEYS)))
    found = bool(records or files or keys or is_live)
    live = (session_id,) if is_live else ()
    return Erasure((session_id,) if found else (), records, item_count, files, keys, live)


def _entries(session_id: str, journals: Path, redis: "redis_client.Redis | None") -> list[Entry]:
    entries = read_journals(journals, session_id)
    if redis is not None:
        with suppress(redis_client.ResponseError):  # no stream: somebody else's value, which goes too
            entries += read_stream(redis, session_id)
    return entries


def _erase_journals(folder: Path) -> tuple[int, bool]:
    """Remove the journals of a session; (removed, is somebody writing one)."""
    removed, is_live = 0, False
    for path in journal_files(folder):
        with suppress(FileNotFoundError):
            if is_being_written(path):
                is_live = True  # it would bring itself back; when it ends, the mark has it removed
                continue
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.write(b"\0" * size)
            path.unlink()
            removed += 1
    with suppress(OSError):
        folder.rmdir()
    return removed, is_live


def _unrecorded(owner: Owner, journals: Path, redis: "redis_client.Redis | None") -> Iterator[str]:
    """Sessions of this user that are only in journals or streams so far."""
    for session_id in sessions_on_disk(journals):
        if _is_of(owner, read_journals(journals, session_id)):
            yield session_id
    if redis is not None:
        for session_id in sessions_in_streams(redis):
            if _is_of(owner, read_stream(redis, session_id)):
                yield session_id


def _is_of(owner: Owner, entries: list[Entry]) -> bool:
    for entry in entries:
        if entry.get("type") == "start" and owner.user_id in (None, entry.get("user_id")):
            if isinstance(owner.organization, Everyone):
                return True
            if (entry.get("organization") or "") == (owner.organization or ""):
                return True
    return False
