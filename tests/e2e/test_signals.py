"""What the client is told when one of the two ways to it is held up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api, rtc

from agent.demo.caller import CONNECTION, Caller
from agent.services.livekit_server import LiveKitServer
from agent.signals import Signals, State
from tests.e2e.road import Road

pytestmark = pytest.mark.e2e


def token(server: LiveKitServer, room: str, identity: str, *, agent: bool = False) -> str:
    grants = api.VideoGrants(room_join=True, room=room, agent=agent, can_update_own_metadata=agent)
    made = api.AccessToken(server.api_key, server.api_secret).with_identity(identity).with_grants(grants)
    return (made.with_kind("agent") if agent else made).to_jwt()


@asynccontextmanager
async def connected(road: Road, server: LiveKitServer, name: str) -> AsyncIterator[rtc.Room]:
    """An agent's room at the end of that road."""
    room = rtc.Room()
    url = f"ws://127.0.0.1:{road.port}"
    await room.connect(url, token(server, name, "agent", agent=True), CONNECTION)
    try:
        yield room
    finally:
        road.open.set()
        road.back.set()
        await room.disconnect()


async def test_an_event_does_not_wait_for_signalling_that_is_held_up(
    livekit_server: LiveKitServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Attributes take that way and come when it is free again; events are there at once, in order."""
    name = "signals-held-up"
    async with Road(livekit_server.url).built() as road, connected(road, livekit_server, name) as room:
        signals = Signals(room, name)
        signals.attributes(state="starting")
        me = token(livekit_server, name, "caller")
        async with Caller(livekit_server.url, me, microphone=False) as caller:
            await caller.wait_attribute("session.state", "starting")
            signals.user_is("caller")

            road.open.clear()
            signals.attributes(state="live")
            signals.event("config_applied")
            signals.attributes(state="ending")
            signals.event("ended")
            await signals.deliver()

            assert not caplog.records, "all was sent in time"
            await caller.wait_event("ended")
            assert [event["type"] for event in caller.events] == ["config_applied", "ended"]
            assert caller.attributes["session.state"] == "starting"
            road.open.set()
            await caller.wait_attribute("session.state", "ending")
        await signals.close()


async def test_an_attribute_does_not_wait_for_the_answer_about_another(
    livekit_server: LiveKitServer,
) -> None:
    """The SDK waits 5 s for an answer that never comes; what changes meanwhile is shown at once."""
    name = "signals-unanswered"
    async with Road(livekit_server.url).built() as road, connected(road, livekit_server, name) as room:
        signals = Signals(room, name)
        me = token(livekit_server, name, "caller")
        async with Caller(livekit_server.url, me, microphone=False) as caller:
            road.back.clear()
            states: tuple[State, ...] = ("starting", "live", "user_away", "ending")
            for state in states:
                signals.attributes(state=state)
                await caller.wait_attribute("session.state", state, within=1.0)
        await signals.close()
