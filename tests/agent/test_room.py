"""What is asked of LiveKit about its rooms, on a real server."""

import itertools

import pytest
from livekit import api, rtc

from agent.room import without_agent
from agent.services.livekit_server import LiveKitServer

_names = itertools.count()


async def joined(server: LiveKitServer, room_name: str, kind: str) -> rtc.Room:
    token = (
        api.AccessToken(server.api_key, server.api_secret)
        .with_identity(kind)
        .with_kind(kind)  # type: ignore[arg-type]
        .with_grants(api.VideoGrants(room_join=True, room=room_name))
    )
    room = rtc.Room()
    await room.connect(server.url, token.to_jwt())
    return room


@pytest.mark.parametrize(
    ("kinds", "alone"),
    [(["standard"], True), (["sip"], True), (["standard", "agent"], False), (["egress"], False), ([], False)],
    ids=["somebody", "a telephone", "with an agent", "a recorder", "nobody"],
)
async def test_a_room_in_which_nobody_gets_an_agent_is_found(
    livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch, kinds: list[str], alone: bool
) -> None:
    """People without an agent, once there was time for it to come; machines and empty rooms do not count."""
    monkeypatch.setattr("agent.room.ALONE_SECONDS", -5.0)
    name = f"alone-{next(_names)}"
    async with api.LiveKitAPI(livekit_server.url, livekit_server.api_key, livekit_server.api_secret) as lkapi:
        await lkapi.room.create_room(api.CreateRoomRequest(name=name))
        rooms = [await joined(livekit_server, name, kind) for kind in kinds]
        try:
            assert (name in await without_agent(lkapi)) is alone
        finally:
            for room in rooms:
                await room.disconnect()
            await lkapi.room.delete_room(api.DeleteRoomRequest(room=name))
