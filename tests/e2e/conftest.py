"""One worker for all end-to-end tests that do not harm it."""

from collections.abc import Iterator

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker
from tests.e2e.shipped import Stage, stage


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


@pytest.fixture(scope="session")
def shipped(livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker for all talks with the shipped bundles, their providers on doubles."""
    with stage(livekit_server, tmp_path_factory.mktemp("shipped")) as made:
        yield made
