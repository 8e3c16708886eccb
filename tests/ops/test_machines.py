"""Two machines as far as software can tell: no common folder, one Redis, one PostgreSQL; one of them dies."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.services.livekit_server import LiveKitServer
from agent.services.valkey import EmbeddedValkey
from agent.transcripts.migrations import upgrade
from tests.e2e.harness import RunningWorker, said
from tests.e2e.road import Road
from tests.transcripts.conftest import start_postgresql

pytestmark = pytest.mark.e2e


@pytest.fixture
def postgresql() -> Iterator[str]:
    """URL of an empty PostgreSQL database, as people write it."""
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        Path(name).chmod(0o755)  # as root, the server runs as a user of its own
        server = start_postgresql(Path(name) / "data")
        yield server.get_uri()
        server.cleanup()


async def test_a_machine_that_dies_loses_no_call_and_no_word(
    livekit_server: LiveKitServer, tmp_path: Path, postgresql: str
) -> None:
    """
    The machine of a call is killed with all its processes: the other one, which shares no folder with it,
    takes the call up, and the one record in PostgreSQL has both attempts and the words from before.
    """
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        common = {"AGENT_NAME": "machines", "REDIS_URL": valkey.url, "DATABASE_URL": postgresql}
        stores = {"redis_url": SecretStr(valkey.url), "database_url": SecretStr(postgresql)}
        first, second = (
            RunningWorker(livekit_server, tmp_path / name, environment=common) for name in ("first", "second")
        )
        for worker in (first, second):
            worker.settings = worker.settings.model_copy(update=stores)
        migrated = await asyncio.to_thread(
            subprocess.run,
            first.command("db", "upgrade"),
            env=first.environment,
            capture_output=True,
            text=True,
        )
        assert migrated.returncode == 0, migrated.stderr
        try:
            first.start()
            started = await first.session("machine-1")
            second.start()
            async with first.caller(started) as caller:
                await caller.wait_words("Welcome", within=10)
                await caller.write("what are your opening hours")
                await caller.wait_words("nine to five", within=15)
                await caller.heard_all(after=caller.joined_at + 1)
                assert first.process is not None
                os.killpg(first.process.pid, signal.SIGKILL)
                await caller.wait_event("resumed", attempt=2, within=30)
                await caller.write("thank you goodbye")
                await caller.wait_event("ended", reason="agent_ended", within=20)
            record = await second.transcript("machine-1")
        finally:
            first.stop()
            assert second.stop() == 0
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1, 2]
    assert len({attempt["worker_id"] for attempt in record["attempts"]}) == 2
    assert said(record, "user") == ["what are your opening hours", "thank you goodbye"]
    assert said(record, "assistant")[:2] == ["Welcome to the shop.", "We are open from nine to five."]
    assert list((tmp_path / "first" / "journals").iterdir()), "its journal is on a disk that nobody reads"


async def test_a_worker_cut_off_from_redis_gives_its_call_away(
    livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """
    To the others it is dead: one of them takes the call up. The agent that was there leaves without a word,
    and when Redis is back there is one agent and one record, with the words of both.
    """
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        async with Road(valkey.url).built() as road:
            common = {"AGENT_NAME": "cut-off", "DATABASE_URL": f"sqlite:///{tmp_path}/agent.db"}
            upgrade(common["DATABASE_URL"])
            first, second = (
                RunningWorker(livekit_server, tmp_path / name, environment={**common, "REDIS_URL": url})
                for name, url in (("first", f"redis://127.0.0.1:{road.port}/0"), ("second", valkey.url))
            )
            for worker in (first, second):
                stores = {
                    "redis_url": SecretStr(valkey.url),
                    "database_url": SecretStr(common["DATABASE_URL"]),
                }
                worker.settings = worker.settings.model_copy(update=stores)
            try:
                await asyncio.to_thread(first.start)
                started = await first.session("cut-off-1")
                await asyncio.to_thread(second.start)
                async with first.caller(started) as caller:
                    await caller.wait_words("Welcome", within=10)
                    await caller.write("what are your opening hours")
                    await caller.wait_words("nine to five", within=15)
                    road.open.clear()
                    await caller.wait_event("resumed", attempt=2, within=30)
                    road.open.set()
                    await caller.write("thank you goodbye")
                    await caller.wait_event("ended", reason="agent_ended", within=20)
                    welcomes = sum("Welcome" in caption.text for caption in caller.captions)
                record = await second.transcript("cut-off-1")
            finally:
                road.open.set()
                await asyncio.to_thread(first.stop)
                await asyncio.to_thread(second.stop)
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1, 2]
    assert said(record, "user") == ["what are your opening hours", "thank you goodbye"]
    assert said(record, "assistant").count("Welcome to the shop.") == 1
    assert welcomes == 1, "nobody began anew meanwhile"
