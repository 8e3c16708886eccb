"""Ends that come by the clock, each heard by a caller and read in the record."""

import asyncio
import json
import time

import pytest

from agent.running import end_session
from tests.e2e.harness import RunningWorker, said
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together()


@together.situation
async def test_a_silent_caller_is_asked_and_then_the_call_ends(worker: RunningWorker) -> None:
    """The idle prompt is heard at its time, then the goodbye, and the record says idle."""
    overrides = {
        "idle_timeout_seconds": 4,
        "idle_prompts": [{"after_seconds": 2, "say": "Are you still there?"}],
    }
    started = await worker.session("idle-1", overrides=overrides)
    async with worker.caller(started) as caller:
        warning = await caller.wait_event("warning")
        await caller.wait_words("Are you still there", within=5)
        await caller.wait_words("The call ends now", within=10)
        await caller.wait_event("ended", reason="idle", within=10)
        assert await caller.wait_left() == "ROOM_DELETED"

    record = await worker.transcript("idle-1")
    assert (warning["kind"], warning["seconds_left"]) == ("idle", 2.0)
    assert record["end_reason"] == "idle"
    assert said(record, "assistant") == ["Welcome to the shop.", "Are you still there?", "The call ends now."]
    assert [i["name"] for i in record["items"] if i["type"] == "event"] == ["idle_prompt"]


@together.situation
async def test_a_silent_caller_is_asked_also_where_no_silence_ends_the_call(worker: RunningWorker) -> None:
    """Without an idle end the prompt is heard and recorded, and no warning of an end comes with it."""
    started = await worker.session("idle-2", bundle="patient")
    async with worker.caller(started) as caller:
        await caller.wait_words("Are you still there", within=10)
        await end_session(worker.settings, "idle-2", reason="operator", wait=False)
        await caller.wait_event("ended", reason="operator", within=15)
        assert [event["type"] for event in caller.events] == ["config_applied", "ended"]

    record = await worker.transcript("idle-2")
    assert [i["name"] for i in record["items"] if i["type"] == "event"] == ["idle_prompt"]


@together.situation
async def test_the_maximum_duration_ends_a_call_in_mid_speech(worker: RunningWorker) -> None:
    """A long answer is cut at the maximum; what was heard of it is a prefix, and the goodbye is heard."""
    started = await worker.session("max-1", overrides={"max_duration_seconds": 7})
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.write("tell me a long story")
        await caller.wait_words("Once upon a time", within=5)
        await caller.wait_event("ended", reason="max_duration", within=15)
        await caller.wait_left()

    record = await worker.transcript("max-1")
    story = next(i for i in record["items"] if i.get("text", "").startswith("Once upon"))
    assert record["end_reason"] == "max_duration"
    assert 7.0 <= record["duration_seconds"] < 7.0 + 10.0
    assert (story["interrupted"], story["heard"]) == (True, "part")
    assert "a watch at all" not in story["text"]
    assert said(record, "assistant")[-1] == "The call ends now."


@together.situation
async def test_a_caller_who_leaves_ends_the_call_after_the_grace(worker: RunningWorker) -> None:
    """Nobody is there: the room is closed, and the record says user_left."""
    greeting = (
        "Welcome to the shop, where you can ask for opening hours, orders, and whatever comes to your mind."
    )
    overrides = {"agents": {"front": {"greeting": greeting}}}
    started = await worker.session("left-1", overrides=overrides)
    async with worker.caller(started) as caller:
        await caller.wait_words("where you can ask", within=10)
    left = time.monotonic()
    record = await worker.transcript("left-1")

    assert record["end_reason"] == "user_left"
    assert time.monotonic() - left >= 3.0, "the grace was given"
    assert not await worker.room_exists("left-1")
    heard = next(i for i in record["items"] if i["type"] == "message")
    assert heard["heard"] == "part", "the greeting was cut when the caller left"
    assert greeting.startswith(heard["text"])
    assert "comes to your mind" not in heard["text"]


@together.situation
async def test_a_caller_who_comes_back_within_the_grace_goes_on(worker: RunningWorker) -> None:
    """A page refresh: the same talk, no second greeting, one record."""
    started = await worker.session("refresh-1", overrides={"rejoin_grace_seconds": 8})
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
    async with worker.caller(started) as caller:
        await caller.wait_agent()
        spoken = await caller.ask("what are your opening hours")
        assert (await worker.state("refresh-1"))["phase"] == "live"
        await caller.wait_words("nine to five", after=spoken.end)
        await caller.heard_all(after=spoken.end)
        await caller.ask("thank you goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)

    record = await worker.transcript("refresh-1")
    assert said(record, "assistant") == [
        "Welcome to the shop.", "We are open from nine to five.", "Goodbye and have a nice day.",
    ]  # fmt: skip
    assert len(record["attempts"]) == 1


@together.situation
async def test_a_room_nobody_joins_is_closed_with_a_record(worker: RunningWorker) -> None:
    """The join timeout leaves a record without items and no room."""
    await worker.session("nobody-1", overrides={"join_timeout_seconds": 1})
    record = await worker.transcript("nobody-1")

    assert (record["end_reason"], record["items"], record["live_at"]) == ("no_participant", [], None)
    assert record["duration_seconds"] == 0.0
    assert not await worker.room_exists("nobody-1")


@together.situation
async def test_two_sessions_of_one_user_at_once_keep_their_own_voice(worker: RunningWorker) -> None:
    """Each session has the voice and pace of its own key, written with a plain SET by another program."""
    greeting = "This is one and the same sentence in both of the calls."
    async with worker.redis() as client:
        for session, pace, voice in (("slow", 0.8, "en-us"), ("fast", 1.6, "en-us+f3")):
            override = {
                "voice_tuning": {"pace": pace},
                "tts_voice_id": voice,
                "agents": {"front": {"greeting": greeting}},
            }
            await client.set(f"session:two-{session}:config", json.dumps(override))
    slow, fast = await asyncio.gather(
        worker.session("two-slow", user_id="u7"), worker.session("two-fast", user_id="u7")
    )
    async with worker.caller(slow) as a, worker.caller(fast) as b:
        (heard_a, *_), (heard_b, *_) = await asyncio.gather(
            a.heard_all(after=a.joined_at), b.heard_all(after=b.joined_at)
        )
        applied = await b.wait_event("config_applied")
        await a.ask("thank you goodbye")
        await a.wait_event("ended", within=15)
        assert not any(event["type"] == "ended" for event in b.events), "the other call goes on"
        await b.ask("thank you goodbye")
        await b.wait_event("ended", within=15)

    assert heard_a.seconds > heard_b.seconds * 1.6, "half the pace takes about twice as long"
    record = await worker.transcript("two-fast")
    assert record["origins"]["voice_tuning.pace"] == "redis session:two-fast:config"
    assert applied["digest"] == record["digest"]
    assert (await worker.transcript("two-slow"))["digest"] != record["digest"]
    async with worker.redis() as client:
        assert await client.get("session:two-fast:config") is None, "the key goes with the session"
