"""A database that is there and does not answer: it costs no call anything, and no stop its time."""

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from agent.transcripts.migrations import upgrade
from tests.e2e.harness import RunningWorker, eventually
from tests.ops.test_cap import figure
from tests.transcripts.conftest import start_postgresql

pytestmark = pytest.mark.e2e


@contextlib.contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """The server whose data is in this folder, all of its processes, stands still."""
    parent = int((folder / "postmaster.pid").read_text().split()[0])
    children = (Path("/proc") / str(parent) / "task" / str(parent) / "children").read_text().split()
    pids = [parent, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server may enter, which runs as a user of its own where this is root."""
    with tempfile.TemporaryDirectory(prefix="hanging-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_a_database_that_hangs_delays_neither_a_call_nor_the_end(
    livekit_server: LiveKitServer, tmp_path: Path, folder: Path
) -> None:
    """
    While records wait for it the next call is served, and a worker that is told to stop is gone within the
    time that it named at its start, with status 0; the journals are there for the next one.
    """
    server = start_postgresql(folder / "data")
    try:
        url = server.get_uri()
        upgrade(url.replace("postgresql://", "postgresql+psycopg://"))
        environment = {"AGENT_NAME": "hanging", "AGENT_DRAIN_SECONDS": "1", "AGENT_LOG_FORMAT": "text"}
        worker = RunningWorker(
            livekit_server, tmp_path / "data", environment={**environment, "DATABASE_URL": url}
        )
        try:
            worker.start()
            named = re.search(r"a stop takes at most ([\d.]+) s", worker.log_text())
            assert named is not None
            first = await worker.session("hang-1", user_id="u1")
            async with worker.caller(first) as caller:
                await caller.wait_words("Welcome", within=15)
                with frozen(folder / "data"):
                    await caller.write("thank you goodbye")
                    await caller.wait_event("ended", within=15, reason="agent_ended")
                    await eventually(
                        lambda: figure(worker, "agent_records_waiting ") == 1.0, "a record that waits"
                    )
                    async with worker.caller(await worker.session("hang-2", user_id="u1")) as second:
                        await second.wait_words("Welcome", within=15)
                        worker.signal(signal.SIGTERM)
                        assert worker.process is not None
                        status = await asyncio.to_thread(worker.process.wait, float(named[1]))
            assert status == 0
            assert {path.name for path in (worker.data / "journals").iterdir()} >= {"hang-1", "hang-2"}
        finally:
            worker.stop()
    finally:
        server.cleanup()
