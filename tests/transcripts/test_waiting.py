"""What a worker says of the records it makes: how many wait, and what they count."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import Engine

from agent.services.ports import free_ports
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings
from agent.sweep import THREADS, Records
from agent.transcripts.entries import to_json
from agent.transcripts.erasure import erase_session
from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import MOST_FAILURES, RecordNotMadeError, finalize
from agent.transcripts.history import list_transcripts
from agent.transcripts.journal import Journal
from agent.transcripts.reading import read_journals
from agent.transcripts.stream import FIELD, stream_key
from config_store.state import SWEEP_KEY
from tests.transcripts.conftest import talk
from tests.transcripts.test_database_trouble import read_only

pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[redis.Redis]:
    """A store of this test's own: a sweep also takes what other tests left to be swept."""
    with EmbeddedValkey(tmp_path / "store") as valkey, redis.Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture
def records(tmp_path: Path, engine: Engine, store: redis.Redis) -> Iterator[Records]:
    """The records of a worker."""
    url = EmbeddedValkey(tmp_path / "store").url
    records = Records(Settings(data=tmp_path, redis_url=SecretStr(url)), engine)
    yield records
    records.close()


def streamed(store: redis.Redis, journals: Path, journal: Journal) -> None:
    """Its machine is gone: there is nothing of the session but its stream."""
    for entry in read_journals(journals, journal.session_id):
        store.xadd(stream_key(journal.session_id), {FIELD: to_json(entry)})
    journal.path.unlink()
    journal.path.parent.rmdir()


def made(session_id: str, engine: Engine, journals: Path, store: redis.Redis) -> None:
    """As `agent transcripts finalize` does, or another worker."""
    assert finalize(session_id, engine=engine, journals=journals, redis=store).action == "created"


def erased(session_id: str, engine: Engine, journals: Path, store: redis.Redis) -> None:
    """As `agent transcripts erase` does."""
    erase_session(session_id, engine=engine, journals=journals, redis=store)


@pytest.mark.parametrize("elsewhere", [made, erased])
async def test_what_others_made_or_erased_waits_no_more(
    database: str, engine: Engine, journals: Path, store: redis.Redis, records: Records,
    elsewhere: Callable[[str, Engine, Path, redis.Redis], None],
) -> None:  # fmt: skip
    """A record on this disk and one in Redis that wait, and that another process settles, are forgotten."""
    talk(journals, "on-disk")
    streamed(store, journals, talk(journals, "in-redis"))
    with read_only(database, engine):
        await records.sweep(())
    assert records.waiting() == 2
    assert records.problem is not None
    for session_id in ("on-disk", "in-redis"):
        elsewhere(session_id, engine, journals, store)
    await records.sweep(())
    assert (records.waiting(), records.waiting_seconds(), records.problem) == (0, 0.0, None)


async def test_what_another_worker_looks_for_goes_on_waiting(
    database: str, engine: Engine, journals: Path, store: redis.Redis, records: Records
) -> None:
    """In a period in which another worker looks through Redis, what is there still has no record."""
    streamed(store, journals, talk(journals, "in-redis"))
    with read_only(database, engine):
        await records.sweep(())
        store.set(SWEEP_KEY, "another", ex=60)
        await records.sweep(())
        assert records.waiting() == 1
        assert records.problem is not None


async def test_all_that_are_found_are_counted(
    database: str, engine: Engine, journals: Path, records: Records
) -> None:
    """A worker that starts while the database takes nothing tries a few records and says how many wait."""
    many = MOST_FAILURES + 7
    for number in range(many):
        talk(journals, f"waits-{number}")
    with read_only(database, engine):
        await records.sweep(())
        assert records.waiting() == many
    await records.sweep(())
    assert records.waiting() == 0


def figures() -> tuple[float, float]:
    """Sessions that ended idle, and first audios, counted so far."""
    ended = REGISTRY.get_sample_value("agent_sessions_ended_total", {"reason": "idle"})
    return ended or 0.0, REGISTRY.get_sample_value("agent_first_audio_seconds_count") or 0.0


async def test_a_record_made_from_redis_counts(
    engine: Engine, journals: Path, store: redis.Redis, records: Records
) -> None:
    """
    A session of a machine that is gone is counted by whoever makes its record, with the figures in its
    stream; when that machine comes back with its journal, nothing is counted again, and what only it had is.
    """
    ended, audios = figures()
    journal = talk(journals, "gone", first_audio=0.2)
    kept = journal.path.read_bytes()
    streamed(store, journals, journal)
    await records.sweep(())
    assert list_transcripts(engine, OPERATOR).transcripts
    assert figures() == (ended + 1, audios + 1)

    journal.path.parent.mkdir()
    journal.path.write_bytes(kept)
    talk(journals, "gone", attempt=2, first_audio=0.3)
    await records.make("gone")
    assert not journal.path.exists(), "it is in the record"
    assert figures() == (ended + 1, audios + 2)


async def test_a_worker_that_leaves_while_redis_is_away_records_what_has_ended(
    engine: Engine, journals: Path, tmp_path: Path
) -> None:
    """Its disk may go with it: what has an end there is recorded, what may go on elsewhere is not."""
    talk(journals, "over")
    talk(journals, "goes-on", end=None)
    away = SecretStr(f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    records = Records(Settings(data=tmp_path, redis_url=away), engine)
    await records.sweep(())
    assert list_transcripts(engine, OPERATOR).transcripts == ()
    await records.sweep_at_last()
    records.close()

    assert [one["session_id"] for one in list_transcripts(engine, OPERATOR).transcripts] == ["over"]


async def test_a_database_that_hangs_keeps_no_caller_waiting(
    engine: Engine, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All threads for records wait for it: whether a crashed call was erased is not asked for long."""
    hanging, over = threading.Barrier(THREADS + 1), threading.Event()

    def hang(*_: object, **__: object) -> None:
        hanging.wait(30)
        over.wait(30)
        raise RecordNotMadeError("the database came back as another one")

    monkeypatch.setattr("agent.sweep.finalize", hang)
    monkeypatch.setattr("agent.sweep.ERASED_SECONDS", 0.05)
    making = [asyncio.create_task(records.make(f"hangs-{number}")) for number in range(THREADS)]
    await asyncio.to_thread(hanging.wait, 30)
    assert records.waiting() == THREADS, "which `/readyz` says after a minute"
    assert await records.is_erased("hangs-0") is False
    over.set()
    await asyncio.gather(*making)
