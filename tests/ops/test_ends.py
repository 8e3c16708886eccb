"""How a worker ends that cannot start, or that loses LiveKit: one line, and a status that says what to do."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from agent.starting import NotStartedError
from tests.e2e.harness import RunningWorker, eventually
from tests.ops.test_cap import answers, figure

pytestmark = pytest.mark.e2e

PATIENCE = 40.0
ROOT = Path(__file__).parents[2]


def unstarted(server: LiveKitServer, data: Path, **environment: str) -> RunningWorker:
    """A worker that is expected to end by itself."""
    worker = RunningWorker(server, data, environment=environment)
    worker.start(wait=False)
    return worker


def test_a_wrong_key_is_the_users_mistake(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """A secret that LiveKit does not accept ends with status 2 and a line that names the variables."""
    worker = unstarted(livekit_server, tmp_path, LIVEKIT_API_SECRET="x" * 40)
    assert worker.process is not None
    assert worker.process.wait(PATIENCE) == 2
    assert "LIVEKIT_API_SECRET" in worker.log_text()
    assert "Traceback" not in worker.log_text()
    worker.stop()


def test_a_port_that_is_taken_is_named(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """Another program on the HTTP port ends the start with status 1 and the setting to change."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        worker = unstarted(livekit_server, tmp_path, AGENT_HTTP_PORT=str(taken.getsockname()[1]))
        assert worker.process is not None
        assert worker.process.wait(PATIENCE) == 1
    assert "AGENT_HTTP_PORT" in worker.log_text()
    assert "Traceback" not in worker.log_text()
    worker.stop()


async def test_what_makes_a_worker_unready_and_what_ends_it(tmp_path: Path) -> None:
    """
    A folder of journals that is lost: no new call where its words could not be written, alive all the same,
    ready when it is back. LiveKit gone: not ready, and after its retries it leaves with status 1; the record
    of a call that was on says that LiveKit was lost.
    """
    with LiveKitServer(tmp_path / "livekit") as server:
        worker = RunningWorker(server, tmp_path / "data", environment={"AGENT_LIVEKIT_RETRIES": "3"})
        try:
            worker.start()
            journals = worker.data / "journals"
            shutil.rmtree(journals)
            journals.write_text("in the way")
            status, text = worker.probe("/readyz")
            assert (status, "cannot be written" in text) == (503, True)
            assert worker.probe("/livez")[0] == 200
            journals.unlink()
            assert worker.probe("/readyz")[0] == 200

            started = await worker.session("lost", user_id="u1")
            caller = worker.caller(started)
            await caller.join()
            await caller.heard_all(after=caller.joined_at)
            server.kill()
            await eventually(
                lambda: "not registered" in worker.probe("/readyz")[1], "an answer that it is not ready"
            )
            assert worker.process is not None
            assert await asyncio.to_thread(worker.process.wait, PATIENCE) == 1
            assert "LiveKit is lost for good" in worker.log_text()
            assert (await worker.transcript("lost"))["end_reason"] == "livekit_lost"
        finally:
            worker.stop()


async def test_an_unready_worker_takes_no_call(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """
    Jobs come whatever `/readyz` says: while journals cannot be written none is taken and LiveKit is told of
    a full worker, and when they can be again, the next call is served.
    """
    worker = RunningWorker(livekit_server, tmp_path / "data", environment={"AGENT_NAME": "unready"})
    try:
        worker.start()
        journals = worker.data / "journals"
        shutil.rmtree(journals, ignore_errors=True)
        journals.write_text("in the way")
        with pytest.raises(NotStartedError) as refused:
            await worker.session("unready-1")
        assert (refused.value.code, answers(worker, "accepted")) == ("no_worker", 0)
        assert figure(worker, "lk_agents_worker_load{") == 1.0

        journals.unlink()
        await eventually(lambda: figure(worker, "lk_agents_worker_load{") == 0.0, "a load of no session")
        async with worker.caller(await worker.session("unready-2")) as caller:
            await caller.wait_words("Welcome", within=15)
        assert answers(worker, "accepted") == 1
    finally:
        worker.stop()


SLOW = """
import os, time
while os.getppid() != 1 and os.path.exists({marker!r}):  # loads for as long as the worker and the test live
    time.sleep(0.1)
"""


def test_a_stop_does_not_wait_for_what_never_came_up(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """A worker whose idle processes are still loading a slow module ends in good order within its budget."""
    marker = tmp_path / "loading"
    marker.touch()
    (tmp_path / "slow_to_load.py").write_text(SLOW.format(marker=str(marker)))
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    environment = {
        "AGENT_MODULES": "slow_to_load",
        "PYTHONPATH": path,
        "AGENT_BUNDLES": str(ROOT / "bundles"),
    }
    worker = RunningWorker(livekit_server, tmp_path / "data", environment=environment)
    try:
        worker.start()
        assert worker.process is not None
        worker.process.terminate()
        assert worker.process.wait(PATIENCE) == 0
    finally:
        marker.unlink()
        worker.stop()
    assert "did not close in time" in worker.log_text()
