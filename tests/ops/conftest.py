"""Workers of a test's own: these tests signal, fill and stop them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker

StartWorker = Callable[..., RunningWorker]


@pytest.fixture
def start_worker(livekit_server: LiveKitServer, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers by name, each with an agent name of its own unless one is given; stops them all."""
    started: list[RunningWorker] = []

    def start(name: str, *, data: str | None = None, **environment: str) -> RunningWorker:
        worker = RunningWorker(
            livekit_server,
            tmp_path / (data or name),
            environment={"AGENT_NAME": f"{tmp_path.name}-{name}", **environment},
        )
        started.append(worker)
        worker.start()
        return worker

    yield start
    for worker in started:
        worker.stop()
