"""Opening the database: the same engine settings for everything that reads or writes it."""

import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import pydantic_core
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

_POSTGRESQL_WAITS = {
    "connect_timeout": "5", "tcp_user_timeout": "15000",
    "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "2",
}  # fmt: skip
"""How long a server that is gone without a word is waited for, about 20 s; libpq's names and units."""
BUSY_SECONDS = 5.0
"""How long a statement waits for another writer of an SQLite file."""

_NO_COLUMN = re.compile(r"no such column|has no column named")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class DatabaseTroubleError(Exception):
    """The database cannot be used now. One line: what is wrong, what to do; never a URL with its password."""


def open_engine(url: str) -> Engine:
    """
    An engine for `sqlite:///…` or `postgresql+psycopg://…`; connects when it is first used.

    An SQLite file is made owner-only, in WAL mode, and overwrites what is deleted (`secure_delete`). Every
    transaction of `writing(engine)` takes the write lock at once, so that two writers wait for each other
    instead of failing half way. Whoever opens it disposes of it.

    Raises:
        DatabaseTroubleError: The URL is none of ours, or the folder of an SQLite file cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseTroubleError(
            "DATABASE_URL: not a database URL; sqlite:///… or postgresql://…"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return _postgresql(parsed)
    if backend == "sqlite":
        return _sqlite(parsed)
    raise DatabaseTroubleError(f"DATABASE_URL: {backend} is not supported; sqlite:///… or postgresql://…")


def open_existing(url: str) -> Engine:
    """
    `open_engine` for who only reads: a database file that is not there is not made.

    Raises:
        DatabaseTroubleError: As `open_engine`; or the SQLite file does not exist.
    """
    require_file(url)
    return open_engine(url)


def require_file(url: str) -> None:
    """
    Nothing, when the SQLite file that a URL names is there, or it names another database.

    Raises:
        DatabaseTroubleError: The file does not exist.
    """
    if is_missing_file(url):
        raise DatabaseTroubleError(
            f"database: there is no file {make_url(url).database}; check DATABASE_URL and AGENT_DATA, or "
            "make it with `agent db upgrade`"
        )


def is_missing_file(url: str) -> bool:
    """Whether a URL names an SQLite file that is not there; opening it would make it."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    name = parsed.database
    if parsed.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return False
    return not Path(name).exists()


def writing(engine: Engine) -> Any:
    """A transaction that writes: commits when the block ends, rolls back when it raises."""
    return engine.execution_options(immediate=True).begin()


def trouble(exc: BaseException) -> DatabaseTroubleError:
    """The error of a driver as one clear line, without statement, parameters or address."""
    cause = getattr(exc, "orig", None) or exc
    text = " ".join(str(cause).split()) or type(cause).__name__
    if "no such table" in text or "UndefinedTable" in type(cause).__name__:
        text = "it has no tables yet; run `agent db upgrade`"
    elif "UndefinedColumn" in type(cause).__name__ or _NO_COLUMN.search(text):
        text = "its schema is not the one that this version knows; `agent db check` says which to update"
    elif not isinstance(cause, sqlite3.Error):
        text = f"{type(cause).__name__}: {text[:200]}"
    return DatabaseTroubleError(f"database: {text}")


def _postgresql(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    query = dict(url.query)
    for name, value in _POSTGRESQL_WAITS.items():
        query.setdefault(name, value)
    return create_engine(
        url.set(query=query),
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
        hide_parameters=True,
        json_serializer=as_json,
        # A prepared statement is planned without its values, and searches for rare and for common words need
        # different plans. It also keeps poolers between us and the server happy.
        connect_args={"prepare_threshold": None},
    )


def _sqlite(url: URL) -> Engine:
    name = url.database
    if name and name != ":memory:" and not name.startswith("file:"):
        _make_owner_only(Path(name))
    engine = create_engine(
        url, hide_parameters=True, json_serializer=as_json, connect_args={"timeout": BUSY_SECONDS}
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def as_json(value: object) -> str:
    """A value of a JSON column as text."""
    try:
        return pydantic_core.to_json(value).decode()  # a fifth of the time of `json`
    except pydantic_core.PydanticSerializationError:
        return _ENCODER.encode(value)


def _make_owner_only(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        # An existing file that is read-only can still be read.
        if not path.exists():
            raise DatabaseTroubleError(f"database: {path}: {exc.strerror}; check AGENT_DATA") from None


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    # SQLAlchemy begins the transactions (below), not the sqlite3 module, which would leave DDL outside.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        pass  # a read-only file keeps its mode; writing to it fails later, with its own error
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
