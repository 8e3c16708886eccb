"""What every test may ask for: real servers on loopback, a loop with virtual time, a clean environment."""

import asyncio
import os
import selectors
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from agent.services.livekit_server import LiveKitServer

SCRUBBED_PREFIXES = ("LIVEKIT_", "REDIS_", "AGENT_")
SCRUBBED_NAMES = ("DATABASE_URL",)
SCRUBBED_SUFFIXES = ("_API_KEY", "_API_SECRET")

IN_CI = bool(os.environ.get("CI"))
"""In CI a missing part is a failure; on somebody's machine a skip that says what is missing."""


def _scrub() -> None:
    """Nothing that the developer has set, a key least of all, reaches a test."""
    for name in list(os.environ):
        if name.startswith(SCRUBBED_PREFIXES) or name in SCRUBBED_NAMES or name.endswith(SCRUBBED_SUFFIXES):
            del os.environ[name]


_scrub()  # at import: before any test module is imported and reads the environment


def missing(part: str, remedy: str) -> NoReturn:
    """End the test because a part is not there: a failure in CI, a skip elsewhere."""
    message = f"{part} is missing: {remedy}"
    if IN_CI:
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


# --- servers


@pytest.fixture(scope="session")
def livekit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["LiveKitServer"]:
    """A livekit-server of this test session; tests tell themselves apart by the names of their rooms."""
    from agent.services.livekit_binary import ServerUnavailableError
    from agent.services.livekit_server import LiveKitServer

    server = LiveKitServer(tmp_path_factory.mktemp("livekit"))
    try:
        server.start()
    except ServerUnavailableError as exc:
        missing("livekit-server", str(exc))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey of this test session; tests tell themselves apart by the ids of their sessions."""
    from agent.services.valkey import EmbeddedValkey

    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey.url


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that Playwright can drive."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    missing("chromium", "`apt-get install chromium`")


# --- virtual time


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer it moves the clock there; what is ready already comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)  # nothing but the outside world can go on
        self.now += max(timeout, 0.0)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    An event loop in which an hour of sleep takes no time, starting at 0.

    Threads and sockets lose against timers here (a limit of 30 s around a real wait of 50 ms runs out at
    once), so tests that use it have neither, and the code they test reads `loop.time()`.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The marker `virtual_time` chooses the loop of a test."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}
