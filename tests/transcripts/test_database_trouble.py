"""A database that takes nothing: everything is kept, one line is said, the record is made later."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event, text

import agent.sweep
from agent.logs import SessionFields
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings
from agent.sweep import Records
from agent.transcripts.database import open_engine
from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import MOST_FAILURES, Outcome, RecordNotMadeError, finalize
from agent.transcripts.history import list_transcripts, load
from agent.transcripts.migrations import upgrade
from tests.transcripts.conftest import talk

Trouble = Callable[[str, Engine], AbstractContextManager[str]]


@contextmanager
def pragma(engine: Engine, statement: str, undone: str) -> Iterator[None]:
    """An SQLite file in trouble, as each connection sees it."""

    def set_up(connection: object, _record: object, _proxy: object) -> None:
        connection.execute(statement)  # type: ignore[attr-defined]

    def put_back(connection: object, _record: object) -> None:
        connection.execute(undone)  # type: ignore[attr-defined]

    event.listen(engine, "checkout", set_up)
    event.listen(engine, "checkin", put_back)
    yield
    event.remove(engine, "checkout", set_up)
    event.remove(engine, "checkin", put_back)


@contextmanager
def full(url: str, engine: Engine) -> Iterator[str]:
    """No space: SQLite may take no more pages; PostgreSQL says what it says of a full disk."""
    if url.startswith("sqlite"):
        with pragma(engine, "PRAGMA max_page_count=1", "PRAGMA max_page_count=1073741823"):
            yield "full"
        return
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION no_space() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION "
                "'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$ "
                "LANGUAGE plpgsql"
            )
        )
        connection.execute(
            text("CREATE TRIGGER no_space BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION no_space()")
        )
    yield "No space left"
    with engine.begin() as connection:
        connection.execute(text("DROP FUNCTION no_space CASCADE"))


@contextmanager
def read_only(url: str, engine: Engine) -> Iterator[str]:
    """It can be read and not written."""
    if url.startswith("sqlite"):
        with pragma(engine, "PRAGMA query_only=ON", "PRAGMA query_only=OFF"):
            yield "readonly"
        return
    name = engine.url.database
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    engine.dispose()  # connections keep what they began with
    yield "read-only"
    with engine.begin() as connection:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = off"))
    engine.dispose()


@contextmanager
def migrating(url: str, engine: Engine) -> Iterator[str]:
    """Somebody changes the schema in a transaction that is still open, and so holds its locks."""
    other = open_engine(url)
    with other.connect() as connection:
        if url.startswith("sqlite"):
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text("ALTER TABLE transcripts ADD COLUMN later TEXT"))
        yield "lock"
        connection.exec_driver_sql("ROLLBACK")
    other.dispose()


@contextmanager
def away(url: str, engine: Engine) -> Iterator[str]:
    """Nobody answers at its address; for SQLite, its folder is gone."""
    if url.startswith("sqlite"):
        path = Path(str(engine.url.database))
        engine.dispose()
        path.parent.rename(path.parent.with_name("away"))
        yield "unable to open"
        path.parent.with_name("away").rename(path.parent)
        return

    def connect(_dialect: object, _record: object, _given: object, named: dict[str, object]) -> None:
        named.clear()
        named.update(host="127.0.0.1", port=1, user="me", password="canary", connect_timeout=2)

    engine.dispose()
    event.listen(engine, "do_connect", connect)
    yield "OperationalError"
    event.remove(engine, "do_connect", connect)


@pytest.fixture
def empty_database_in_a_folder(tmp_path: Path) -> str:
    """SQLite in a folder of its own, which can be taken away."""
    (tmp_path / "data").mkdir()
    return f"sqlite:///{tmp_path / 'data' / 'agent.db'}"


@pytest.mark.parametrize("trouble", [full, read_only, migrating, away], ids=lambda each: each.__name__)
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_the_record_waits_until_the_database_is_back(
    trouble: Trouble,
    backend: str,
    request: pytest.FixtureRequest,
    empty_database_in_a_folder: str,
    journals: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the journal is removed, the error is one line, and the next run makes the whole record."""
    monkeypatch.setattr("agent.transcripts.database.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("agent.transcripts.finalize.LOCK_SECONDS", 0.05)
    url = empty_database_in_a_folder if backend == "sqlite" else _postgresql_database(request)
    upgrade(url)
    engine = open_engine(url)
    journal = talk(journals, "s-1", said=tuple(f"{number} " * 500 for number in range(20)))
    before = journal.path.read_bytes()
    with trouble(url, engine) as cause:
        for _ in range(2):
            with pytest.raises(RecordNotMadeError) as caught:
                finalize("s-1", engine=engine, journals=journals)
            assert cause in str(caught.value)
            assert "\n" not in str(caught.value)
            assert "canary" not in str(caught.value)
        assert journal.path.read_bytes() == before
    assert load(engine, "s-1", OPERATOR) is None
    assert finalize("s-1", engine=engine, journals=journals).item_count == 40
    assert not journal.path.exists()
    engine.dispose()


def _postgresql_database(request: pytest.FixtureRequest) -> str:
    from sqlalchemy import create_engine

    server = request.getfixturevalue("postgresql")
    name = f"trouble_{abs(hash(request.node.name))}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return str(server).replace("/postgres?", f"/{name}?")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sessions that the sweep tried to make a record of."""
    sessions: list[str] = []

    def counted(session_id: str, **named: object) -> Outcome:
        sessions.append(session_id)
        return finalize(session_id, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(agent.sweep, "finalize", counted)
    return sessions


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """A store of this test's own: a sweep also takes what other tests left to be swept."""
    with EmbeddedValkey(tmp_path / "store") as valkey:
        yield valkey.url


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
async def test_a_sweep_neither_hurries_nor_shouts(
    database: str,
    engine: Engine,
    journals: Path,
    tmp_path: Path,
    store_url: str,
    tried: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the database takes nothing a sweep tries few records once each, and it is said once."""
    caplog.set_level(logging.INFO)
    sessions = [f"waits-{number}" for number in range(6)]
    for session_id in sessions:
        talk(journals, session_id, said=tuple(f"{number} " * 500 for number in range(20)))
    records = Records(Settings(data=tmp_path, redis_url=SecretStr(store_url)), engine)
    with caplog.filtering(SessionFields()), read_only(database, engine):
        for _ in range(3):
            await records.sweep(())
        assert len(tried) == 3 * MOST_FAILURES
        assert set(tried) == set(sessions), "those that failed do not stand in the way of the others"
        said = [record for record in caplog.records if "a record waits" in record.message]
        assert len(said) == 1
        assert vars(said[0])["session"] in sessions
        assert records.waiting() == len(sessions)
    await records.sweep(())
    assert len(list_transcripts(engine, OPERATOR).transcripts) == len(sessions)
    assert (records.waiting(), records.problem) == (0, None)
    records.close()
