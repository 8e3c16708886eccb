"""Who comes, when, and how they go: situations that happen side by side."""

import asyncio
import contextlib
import signal
import sys
import time

import pytest
from livekit import api, rtc

from agent.demo.caller import Caller
from agent.demo.microphone import Microphone
from agent.running import end_session
from tests.e2e.harness import RunningWorker, dispatch_metadata, journalled, said
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together()


async def record_of(worker: RunningWorker, session_id: str) -> dict[str, object]:
    """End the session by command; its record."""
    await end_session(worker.settings, session_id, reason="operator", wait=False)
    return await worker.transcript(session_id, within=40)


async def dispatch(worker: RunningWorker, session_id: str) -> None:
    """CreateDispatch, as an application does it."""
    metadata = dispatch_metadata(session_id=session_id, bundle="life")
    async with worker.livekit() as lkapi:
        await lkapi.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(
                agent_name=worker.settings.name, room=session_id, metadata=metadata
            )
        )


def kind_token(worker: RunningWorker, room: str, identity: str, kind: str) -> str:
    """A token of a participant of another kind: sip, egress, ingress."""
    return (
        api.AccessToken(worker.server.api_key, worker.server.api_secret)
        .with_identity(identity)
        .with_kind(kind)  # type: ignore[arg-type]
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .to_jwt()
    )


CLIENT = """
import asyncio, sys
from agent.demo.caller import Caller

async def main():
    async with Caller(sys.argv[1], sys.argv[2]) as caller:
        await caller.wait_words("Welcome", within=20)
        print("there", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@together.situation
async def test_a_killed_browser_tab_ends_the_call_after_the_grace(worker: RunningWorker) -> None:
    """A client that is gone without a word is noticed by LiveKit after 20 s; then comes the grace."""
    started = await worker.session("tab-killed", bundle="life", overrides={"rejoin_grace_seconds": 1})
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, started.url, started.token, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert client.stdout is not None
        assert (await client.stdout.readline()).strip() == b"there"
    finally:
        client.send_signal(signal.SIGKILL)
        await client.wait()
    record = await worker.transcript("tab-killed", within=60)

    assert record["end_reason"] == "user_left"
    assert not await worker.room_exists("tab-killed")


@together.situation
async def test_a_silent_page_that_comes_and_goes_ten_times_goes_on_talking(worker: RunningWorker) -> None:
    """Ten leaves within ten seconds: one agent, one greeting, one attempt; the next words are answered."""
    started = await worker.session("ten-times", bundle="life", overrides={"rejoin_grace_seconds": 10})
    for _ in range(10):
        async with worker.caller(started):
            pass
    async with worker.caller(started) as caller:
        await caller.wait_agent()
        await caller.wait_attribute("session.state", "live")
        await caller.write("what are your opening hours")
        await caller.wait_words("nine to five", within=15)
        record = await record_of(worker, "ten-times")

    words = said(record, "assistant")
    assert sum(text.startswith("Welcome") for text in words) <= 1, "one greeting, heard or not"
    assert len(record["attempts"]) == 1  # type: ignore[arg-type]
    assert any(text.startswith("We are open") for text in words)


@together.situation
async def test_a_microphone_that_is_muted_unpublished_and_published_twice(worker: RunningWorker) -> None:
    """What is said into a muted or absent microphone is not heard; after each change the next words are."""
    started = await worker.session("micro", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        me = caller.room.local_participant
        (publication,) = me.track_publications.values()
        assert isinstance(publication.track, rtc.LocalAudioTrack)
        publication.track.mute()
        await caller.say("where is order seven")
        publication.track.unmute()
        await ask(caller)

        await me.unpublish_track(publication.sid)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        assert caller._microphone is not None
        await me.publish_track(caller._microphone.track, options)
        await ask(caller)

        second = Microphone()
        second.open()
        try:
            await me.publish_track(second.track, options)
            first, caller._microphone = caller._microphone, second
            await ask(caller)
            caller._microphone = first
        finally:
            await second.close()
        record = await record_of(worker, "micro")

    assert set(said(record, "user")) == {"what are your opening hours"}


async def ask(caller: Caller) -> None:
    """Ask by voice and hear the whole answer."""
    spoken = await caller.ask("what are your opening hours")
    await caller.wait_words("nine to five", after=spoken.end, within=8)
    await caller.heard_all(after=spoken.end)


@together.situation
async def test_a_permission_that_is_revoked_silences_the_user_and_not_the_call(worker: RunningWorker) -> None:
    """Without the right to publish there is no voice and no end; given back, the user is heard again."""
    started = await worker.session("revoked", user_id="u1")
    async with worker.caller(started) as caller, worker.livekit() as lkapi:
        await caller.heard_all(after=caller.joined_at)

        async def may_publish(may: bool) -> None:
            permission = api.ParticipantPermission(can_subscribe=True, can_publish=may, can_publish_data=True)
            await lkapi.room.update_participant(
                api.UpdateParticipantRequest(room="revoked", identity="u1", permission=permission)
            )

        await may_publish(False)
        await unpublished(lkapi)
        await caller.write("where is order seven")
        await caller.wait_words("arrives tomorrow", within=15)
        await caller.heard_all(after=caller.joined_at)
        await may_publish(True)
        assert caller._microphone is not None
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        await republish(caller, caller._microphone.track, options)
        await ask(caller)
        record = await record_of(worker, "revoked")

    assert said(record, "user")[:2] == ["where is order seven", "what are your opening hours"]


async def unpublished(lkapi: api.LiveKitAPI) -> None:
    """Wait until the server has taken the user's track away."""
    who = api.RoomParticipantIdentity(room="revoked", identity="u1")
    async with asyncio.timeout(10):
        while (await lkapi.room.get_participant(who)).tracks:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def republish(caller: Caller, track: rtc.LocalAudioTrack, options: rtc.TrackPublishOptions) -> None:
    """Publish once the permission has arrived."""
    for _ in range(50):
        try:
            for sid in list(caller.room.local_participant.track_publications):
                await caller.room.local_participant.unpublish_track(sid)
            await caller.room.local_participant.publish_track(track, options)
        except Exception:  # noqa: BLE001 - refused until the server has told this client of its permission
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the microphone could not be published again")


@together.situation
async def test_a_telephone_counts_its_keys_and_ends_with_the_hang_up(worker: RunningWorker) -> None:
    """DTMF of a SIP caller begins the silence anew; hanging up ends the call at once, without a grace."""
    overrides = {"idle_timeout_seconds": 5, "rejoin_grace_seconds": 60}
    started = await worker.session("phone", bundle="life", overrides=overrides)
    async with Caller(started.url, kind_token(worker, "phone", "sip_49", "sip")) as caller:
        await caller.heard_all(after=caller.joined_at)
        pressed = time.monotonic()
        while time.monotonic() - pressed < 7:
            await caller.room.local_participant.publish_dtmf(code=5, digit="5")
            await asyncio.sleep(1)  # a person who presses keys
        assert caller.disconnect_reason is None, "the keys kept the call open"
    record = await worker.transcript("phone", within=20)

    assert (record["end_reason"], record["end_detail"]) == ("user_left", "hung up")
    assert [p["kind"] for p in record["participants"]] == ["sip"]


@together.situation
async def test_a_second_human_steers_nothing(worker: RunningWorker) -> None:
    """What somebody else says, writes and presses is no turn, and does not keep a silent user's call open."""
    started = await worker.session("second", user_id="u1", overrides={"idle_timeout_seconds": 5})
    async with worker.caller(started) as user, Caller(started.url, worker.token("second", "u2")) as other:
        await user.heard_all(after=user.joined_at)
        while user.disconnect_reason is None:
            with contextlib.suppress(Exception):  # the call ends in the middle
                await other.say("what are your opening hours")
                await other.write("what are your opening hours")
                await other.room.local_participant.publish_dtmf(code=5, digit="5")
            assert time.monotonic() - user.joined_at < 30, "the other one keeps the call open"
        events = [event["type"] for event in other.events]
    record = await worker.transcript("second", within=20)

    assert (record["end_reason"], said(record, "user"), events) == ("idle", [], [])


@together.situation
async def test_a_user_who_is_there_before_the_agent_is_greeted(worker: RunningWorker) -> None:
    """Joined first, agent dispatched later: it greets the user and no recorder, with one agent."""
    recorder = kind_token(worker, "first", "EG_1", "egress")
    async with (
        Caller(worker.server.url, recorder, microphone=False),
        Caller(worker.server.url, worker.token("first", "u1")) as caller,
    ):
        await dispatch(worker, "first")
        await caller.wait_words("Welcome", within=20)
        await caller.wait_event("config_applied")
        record = await record_of(worker, "first")

    kinds = {p["identity"]: p["kind"] for p in record["participants"]}  # type: ignore[attr-defined]
    assert kinds == {"EG_1": "egress", "u1": "standard"}
    assert record["live_at"] is not None


@together.situation
async def test_a_user_who_comes_at_the_same_moment_is_greeted_once(worker: RunningWorker) -> None:
    """Dispatch and join at once: whoever is first, there is one greeting."""
    caller = Caller(worker.server.url, worker.token("moment", "u1"))
    await asyncio.gather(dispatch(worker, "moment"), caller.join())
    try:
        greeting = await caller.wait_words("Welcome", within=20)
        await caller.until(lambda: greeting.final, "the end of the greeting")
        record = await record_of(worker, "moment")
    finally:
        await caller.leave()

    assert said(record, "assistant").count("Welcome to the shop.") == 1
    assert len(caller.agents_seen) == 1


@together.situation
async def test_a_user_who_comes_just_before_the_join_timeout_is_served(worker: RunningWorker) -> None:
    """The timeout that was about to end the session does not end it any more."""
    started = await worker.session("just", bundle="life", overrides={"join_timeout_seconds": 6})
    state = await worker.state("just")
    await asyncio.sleep(4.5 - (time.time() - int(state["started_at"]) / 1000))  # most of the timeout is over
    async with worker.caller(started) as caller:
        await caller.wait_words("Welcome", within=15)
        await asyncio.sleep(2.5)  # the moment at which nobody would have come
        await caller.write("what are your opening hours")
        await caller.wait_words("nine to five", within=15)
        record = await record_of(worker, "just")

    assert record["end_reason"] == "operator"


@together.situation
async def test_a_user_who_leaves_while_a_tool_works_hears_the_answer_when_back(worker: RunningWorker) -> None:
    """The tool goes on while nobody is there, and its result is told to who comes back within the grace."""
    started = await worker.session("tool-left", bundle="life", overrides={"rejoin_grace_seconds": 15})
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.write("take your time")
        await caller.until(
            lambda: "thinking" in caller.attributes.get("lk.agent.state", ""), "a tool at work"
        )
    async with worker.caller(started) as caller:
        await caller.wait_event("config_applied")
        await caller.wait_words("It is done now", within=20)
        record = await record_of(worker, "tool-left")

    (call,) = [item for item in record["items"] if item["type"] == "tool_call"]  # type: ignore[attr-defined]
    assert (call["name"], call["status"], call["output"]) == ("linger", "ok", "It is done now.")


@together.situation
async def test_a_user_who_leaves_during_the_greeting_is_not_greeted_again(worker: RunningWorker) -> None:
    """A page that is loaded anew in mid-greeting: what was said is said, and the talk goes on."""
    started = await worker.session("greeting-left", bundle="life", overrides={"rejoin_grace_seconds": 15})
    async with worker.caller(started) as caller:
        await caller.heard_speech(after=caller.joined_at, within=20)
    async with worker.caller(started) as caller:
        await caller.wait_event("config_applied", within=20)
        await caller.write("what are your opening hours")
        await caller.wait_words("nine to five", within=20)
        assert not [caption for caption in caller.captions if "Welcome" in caption.text]
        record = await record_of(worker, "greeting-left")

    assert [text.split()[0] for text in said(record, "assistant")[:2]] == ["Welcome", "We"]


@together.situation
async def test_a_talk_in_writing_needs_no_audio(worker: RunningWorker) -> None:
    """The text profile publishes no track, its token allows none, and words are answered in words."""
    started = await worker.session("in-writing", bundle="text")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        await caller.write("where is order seven")
        await caller.wait_words("arrives tomorrow", within=15)
        tracks = [t for p in caller.room.remote_participants.values() for t in p.track_publications]
        assert caller.room.local_participant.permissions is None or tracks == []
        record = await record_of(worker, "in-writing")

    assert tracks == []
    assert said(record, "user") == ["where is order seven"]


@together.situation
async def test_an_answer_in_writing_to_nobody_is_not_heard(worker: RunningWorker) -> None:
    """As with a voice: what was answered while the user was away is `none`, and answered again after it."""
    started = await worker.session("letters", bundle="letters", overrides={"rejoin_grace_seconds": 15})
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        await caller.write("take your time")
        await caller.until(
            lambda: "thinking" in caller.attributes.get("lk.agent.state", ""), "a tool at work"
        )
    await journalled(worker, "letters", "It is done now", times=2)  # the tool's result, and the agent's words
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("It is done now", within=20)
        record = await record_of(worker, "letters")

    answers = [i for i in record["items"] if i.get("text") == "It is done now."]  # type: ignore[attr-defined]
    assert [(i["heard"], i["interrupted"]) for i in answers] == [("none", True), ("all", False)]


@together.situation
async def test_calls_without_an_id_in_one_room_are_sessions_of_their_own(worker: RunningWorker) -> None:
    """Claimed by the room's name: two dispatches at once make one agent; the next call is a new session."""
    ids = []
    for _ in range(2):
        async with Caller(worker.server.url, worker.token("lobby", "u1")) as caller:
            async with worker.livekit() as lkapi:
                request = api.CreateAgentDispatchRequest(
                    agent_name=worker.settings.name, room="lobby", metadata="life"
                )
                await asyncio.gather(*(lkapi.agent_dispatch.create_dispatch(request) for _ in range(2)))
            await caller.wait_words("Welcome", within=20)
            ids.append(await caller.wait_attribute("session.id"))
            await caller.heard_all(after=caller.joined_at)
            assert len(caller.agents_seen) == 1
            record = await record_of(worker, ids[-1])
            await caller.wait_left()
        assert said(record, "assistant").count("Welcome to the shop.") == 1

    assert ids[0] != ids[1]
