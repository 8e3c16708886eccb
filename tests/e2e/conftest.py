"""One worker for all end-to-end tests that do not harm it."""

from collections.abc import Iterator

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker


@pytest.fixture(scope="session")
def worker(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningWorker]:
    """A worker that serves the bundle `talk`."""
    running = RunningWorker(livekit_server, tmp_path_factory.mktemp("worker"))
    try:
        running.start()
        yield running
    finally:
        running.stop()
