"""The parent's word to a job that the worker drains, as real signals to this process."""

import asyncio
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import rtc

from agent.draining import DRAIN_BEGAN, DRAIN_OVER, Drain
from agent.ending import LIVEKIT_LOST, WORKER_DRAIN, Ending

PATIENCE = 30.0


CONNECTED = rtc.ConnectionState.CONN_CONNECTED
RECONNECTING = rtc.ConnectionState.CONN_RECONNECTING


def room(state: rtc.ConnectionState.ValueType = CONNECTED) -> rtc.Room:
    """A room with this connection."""
    return cast(rtc.Room, SimpleNamespace(connection_state=state))


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signals mean again what they did."""
    before = {number: signal.getsignal(number) for number in (DRAIN_BEGAN, DRAIN_OVER)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_both_words_at_once_end_the_session_at_once() -> None:
    """A worker that has lost LiveKit has no time to give: it says that the drain began and is over in one."""
    ending = Ending()
    drain = Drain(3600.0, ending, room())
    told: list[float] = []
    drain.tell(told.append)
    os.kill(os.getpid(), DRAIN_BEGAN)
    os.kill(os.getpid(), DRAIN_OVER)
    async with asyncio.timeout(PATIENCE):
        end = await ending.wait()

    assert end.reason == WORKER_DRAIN
    assert told == [3600.0]


async def test_a_word_that_comes_again_changes_nothing() -> None:
    """The parent says it each second, for jobs that had just begun: the first time counts."""
    ending = Ending()
    drain = Drain(3600.0, ending, room())
    heard = asyncio.Event()
    told: list[float] = []
    for _ in range(2):
        os.kill(os.getpid(), DRAIN_BEGAN)
        asyncio.get_running_loop().call_soon(heard.set)
        await heard.wait()
        heard.clear()
    drain.tell(told.append)

    assert len(told) == 1
    assert 3500 < told[0] <= 3600.0
    assert ending.asked is None


@pytest.mark.parametrize(("state", "reason"), [(CONNECTED, WORKER_DRAIN), (RECONNECTING, LIVEKIT_LOST)])
async def test_the_end_of_a_drain_in_a_room_that_is_lost_is_livekits(
    state: rtc.ConnectionState.ValueType, reason: str
) -> None:
    """A worker that loses LiveKit for good drains, too: what ends its sessions is LiveKit."""
    ending = Ending()
    drain = Drain(3600.0, ending, room(state))
    drain.tell(lambda _: None)
    os.kill(os.getpid(), DRAIN_OVER)
    async with asyncio.timeout(PATIENCE):
        end = await ending.wait()

    assert end.reason == reason
