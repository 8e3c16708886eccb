"""One end per session, for one reason, whatever happens at the same time; on virtual time."""

import asyncio

import pytest
from livekit import rtc

from agent.ending import (
    DISCONNECT_REASONS,
    GOODBYE_REASONS,
    LIVEKIT_LOST,
    OPERATOR,
    REASONS,
    SUPERSEDED,
    ConnectionRestartedError,
    Ending,
    library_end,
    room_end,
)

pytestmark = pytest.mark.virtual_time


async def test_the_first_cause_is_the_reason() -> None:
    """Later causes change nothing, however often they are reported."""
    ending = Ending()
    asked = [ending.ask("idle", "first"), ending.ask("max_duration"), ending.ask("idle")]
    end = await ending.wait()

    assert asked == [True, False, False]
    assert (end.reason, end.detail) == ("idle", "first")


async def test_a_wait_that_is_cancelled_ends_nothing() -> None:
    """Somebody who stops waiting for the end does not take it from the others."""
    ending = Ending()
    waiting = asyncio.create_task(ending.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert ending.ask("idle")
    assert (await ending.wait()).reason == "idle"


async def test_every_way_to_lose_the_room_has_a_reason() -> None:
    """The table names LiveKit's words as they are, and what it does not name is a lost LiveKit."""
    names = set(rtc.DisconnectReason.keys())

    assert set(DISCONNECT_REASONS) <= names
    assert {room_end(rtc.DisconnectReason.Value(name))[0] for name in names} <= REASONS
    assert room_end(rtc.DisconnectReason.Value("STATE_MISMATCH")) == (LIVEKIT_LOST, "state_mismatch")


async def test_the_rooms_word_is_waited_for_when_the_library_ends_the_job() -> None:
    """A deleted room and a deleted dispatch look alike at first: half a second later the room has told."""
    told, silent, restarted = Ending(), Ending(), Ending()
    for ending in (told, silent, restarted):
        library_end(ending, "parent process shutdown", lambda is_it=ending is restarted: is_it)
    told.ask(*room_end(rtc.DisconnectReason.Value("ROOM_DELETED")))

    assert (await told.wait()).reason == "room_deleted"
    assert (await silent.wait()).reason == OPERATOR
    with pytest.raises(ConnectionRestartedError):
        await restarted.wait()
    assert restarted.asked is None, "the session has not ended"


async def test_an_agent_that_leaves_for_another_one_ends_no_session() -> None:
    """Leaving the session to a twin is no end reason, and nobody is told goodbye."""
    assert SUPERSEDED not in REASONS
    assert GOODBYE_REASONS <= REASONS
