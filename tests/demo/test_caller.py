"""The caller, against a real LiveKit server and another caller."""

import json
import time
import uuid

import pytest
from livekit import api, rtc

from agent.demo.audio import fundamental_hz, loudness_dbfs
from agent.demo.caller import Caller, CallerError
from agent.services.livekit_server import LiveKitServer

pytestmark = pytest.mark.e2e


@pytest.fixture
def room() -> str:
    return f"caller-{uuid.uuid4().hex[:8]}"


def token(server: LiveKitServer, identity: str, room: str, kind: str = "standard") -> str:
    return (
        api.AccessToken(server.api_key, server.api_secret)
        .with_identity(identity)
        .with_kind(kind)
        .with_grants(api.VideoGrants(room_join=True, room=room, can_update_own_metadata=True))
        .to_jwt()
    )


async def test_what_one_says_the_other_hears(livekit_server: LiveKitServer, room: str) -> None:
    """Speech arrives as audio, in its place in time, and as loud and as high as it was spoken."""
    async with (
        Caller(livekit_server.url, token(livekit_server, "a", room), name="a") as listener,
        Caller(livekit_server.url, token(livekit_server, "b", room), name="b", voice="espeak") as speaker,
    ):
        await listener.until(lambda: listener.hearing.until() > 0, "audio of b")
        before = time.monotonic()
        spoken = await speaker.say("Where is my order number seven?")
        heard = await listener.heard_all(after=before)
        assert {one.identity for one in heard} == {"b"}
        assert spoken.start <= heard[0].start <= spoken.end
        assert sum(one.seconds for one in heard) > 0.5 * (spoken.end - spoken.start)
        samples = listener.hearing.between(heard[0].start, heard[-1].end)
        assert loudness_dbfs(samples) > -30
        pitch = fundamental_hz(samples)
        assert pitch is not None
        assert 80 < pitch < 120


async def test_words_and_events_are_collected(livekit_server: LiveKitServer, room: str) -> None:
    """Captions grow into final ones, events keep their fields, and chat reaches the other side."""
    async with (
        Caller(
            livekit_server.url, token(livekit_server, "user", room), name="user", microphone=False
        ) as caller,
        Caller(
            livekit_server.url, token(livekit_server, "bot", room, "agent"), name="bot", microphone=False
        ) as bot,
    ):
        assert await caller.wait_agent() == "bot"
        person = bot.room.local_participant
        await person.set_attributes({"session.agent": "greeter"})
        assert await caller.wait_attribute("session.agent", "greeter") == "greeter"
        await person.send_text(
            "Hello there",
            topic="lk.transcription",
            attributes={"lk.segment_id": "S1", "lk.transcription_final": "true"},
        )
        caption = await caller.wait_words("hello THERE")
        assert (caption.identity, caption.segment) == ("bot", "S1")
        await caller.until(lambda: caption.final, "the end of the caption")
        for seq, reason in enumerate(["other", "idle"], 1):
            event = {"type": "ended", "seq": seq, "reason": reason}
            await person.send_text(json.dumps(event), topic="session.events")
        assert (await caller.wait_event("ended", reason="idle"))["seq"] == 2
        assert [event["seq"] for event in caller.events] == [1, 2]
        got: list[rtc.TextStreamReader] = []
        bot.room.register_text_stream_handler("lk.chat", lambda reader, _identity: got.append(reader))
        await caller.write("written words")
        await bot.until(lambda: got, "the chat message", within=5)
        assert await got[0].read_all() == "written words"


async def test_the_end_of_a_call_has_its_reason(livekit_server: LiveKitServer, room: str) -> None:
    """When the room is deleted the caller knows, and leaving once more does no harm."""
    async with Caller(livekit_server.url, token(livekit_server, "user", room)) as caller:
        async with api.LiveKitAPI(
            livekit_server.url, livekit_server.api_key, livekit_server.api_secret
        ) as client:
            await client.room.delete_room(api.DeleteRoomRequest(room=room))
        assert await caller.wait_left() == "ROOM_DELETED"
        assert caller.left_at is not None
    await caller.leave()


async def test_waiting_in_vain_tells_what_was_heard(livekit_server: LiveKitServer, room: str) -> None:
    """The error of a wait names the caller, what it waited for and what had reached it."""
    async with Caller(livekit_server.url, token(livekit_server, "user", room), name="Ann") as caller:
        with pytest.raises(
            CallerError,
            match=r"Ann waited 0\.3 s for the event ended \{'reason': 'idle'\}; .* events \[\]",
        ):
            await caller.wait_event("ended", reason="idle", within=0.1)


async def test_no_server_is_one_clear_error() -> None:
    """A caller that cannot connect says where it tried to."""
    caller = Caller("ws://127.0.0.1:9", "no-token", microphone=False)
    with pytest.raises(CallerError, match=r"no connection to ws://127\.0\.0\.1:9"):
        await caller.join(within=2)
    await caller.leave()
