"""A worker as a process of its own."""

import os
import re
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from agent.services.worker import Worker, WorkerError
from tests.services.test_tether import ended

pytestmark = pytest.mark.e2e

BUNDLE = """
models:
  stt: {provider: offline, options: {phrases: [hello]}}
  llm: {provider: offline}
  tts: {provider: offline}
agents:
  one: {instructions: Be brief.}
"""


def settings(server: LiveKitServer, folder: Path) -> dict[str, str]:
    bundles = folder / "bundles"
    bundles.mkdir()
    return {
        **server.environment,
        "AGENT_DATA": str(folder / "var"),
        "AGENT_BUNDLES": str(bundles),
        "AGENT_DRAIN_SECONDS": "0",
        "REDIS_URL": "",
        "DATABASE_URL": "",
    }


def test_a_worker_is_ready_when_start_returns(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """start returns once the worker takes calls; stop ends it and everything it had started."""
    chosen = settings(livekit_server, tmp_path)
    (tmp_path / "bundles" / "small.yaml").write_text(BUNDLE)
    worker = Worker(chosen, log=tmp_path / "worker.log", patience=30)
    worker.start()
    pid = worker.pid
    assert pid is not None
    assert worker.is_ready()
    group = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _group_of(int(entry.name)) == pid
    ]
    assert worker.stop() == 0
    assert [one for one in group if not ended(one)] == []
    assert not worker.is_ready()
    assert worker.pid is None


def test_a_worker_that_cannot_start_says_why(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """Without a bundle the error has the worker's exit status and the end of its log, and names the log."""
    chosen = settings(livekit_server, tmp_path)
    log = tmp_path / "worker.log"
    message = rf"did not start \(exit status 2\); see {re.escape(str(log))}\n(.*\n)*.*holds no bundle"
    with pytest.raises(WorkerError, match=message):
        Worker(chosen, log=log).start()


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
