"""Providers in rooms: organizations apart, trouble that is heard about, pictures, loudness; on one worker."""

import asyncio
import base64
import io
import time
from typing import Any

import av
import numpy as np
import pytest
from livekit import rtc

from agent.demo.audio import loudness_dbfs
from agent.demo.caller import Caller
from tests.doubles.server import Call, Trouble
from tests.e2e.shipped import Stage, all_of, turn, words_of

pytestmark = pytest.mark.e2e

ORGANIZATIONS: dict[str, dict[str, Any]] = {
    "acme": {"voice": "VA", "pace": 0.8, "language": "en-IN", "model": "gpt-4.1"},
    "bolt": {"voice": "VB", "pace": 1.0, "language": "hi-IN", "model": "gpt-4.1-mini"},
    "core": {"voice": "VC", "pace": 1.2, "language": "de-DE", "model": "gpt-4.1-nano"},
}
OFFLINE = {"provider": "offline"}
ALONE = {"instructions": "You help.", "greeting": "Good morning to you.", "tools": ["end_call"]}


def organization(name: str) -> dict[str, Any]:
    """A bundle of an organization: all its models with its own key, two agents with a voice each."""
    facts = ORGANIZATIONS[name]
    key = {"api_key_env": f"{name.upper()}_KEY"}
    return {
        "organization": name,
        "target_language": facts["language"],
        "models": {
            "stt": {"provider": "openai", **key},
            "llm": {"provider": "openai", "model": facts["model"], **key},
            "tts": {"provider": "elevenlabs", **key},
        },
        "voice_id": facts["voice"],
        "voice_tuning": {"pace": facts["pace"]},
        "agents": {
            "first": {
                "instructions": f"You answer the telephone of {name}.",
                "greeting": f"Welcome to {name}.",
                "handoffs": ["second"],
            },
            "second": {
                "instructions": f"You are the expert of {name}.",
                "greeting": f"The expert of {name} speaking.",
                "voice_id": f"{facts['voice']}2",
                "handoffs": ["first"],
            },
        },
    }


NOTHING_WORKS = {
    "voices_refuse": Trouble(status=429),
    "voices_stall": Trouble(stall=True),
    "voices_say_nothing": Trouble(empty=True),
    "mind_fails": Trouble(status=500),
    "mind_stalls": Trouble(stall=True),
}
"""What each model of a kind does in the bundle of that name, every time."""
VOICE_TROUBLE = {
    "voice_stalls": Trouble(stall=True),
    "voice_says_nothing": Trouble(empty=True),
    "voice_is_cut": Trouble(cut_after=20_000),
}
"""What the first voice does in the bundle of that name; the second one is fine."""


def in_trouble(name: str) -> dict[str, Any]:
    """A bundle of `NOTHING_WORKS` or `VOICE_TROUBLE`."""
    voice = {"provider": "openai", "fallback": [OFFLINE]}
    if name.startswith("voices"):
        voice["fallback"] = [{"provider": "elevenlabs"}]
    return {
        "models": {
            "stt": {"provider": "openai"},
            "llm": {"provider": "openai"},
            "tts": OFFLINE if name.startswith("mind") else voice,
        },
        "agents": {"one": ALONE},
    }


BUNDLES: dict[str, dict[str, Any]] = {
    **{name: in_trouble(name) for name in (*NOTHING_WORKS, *VOICE_TROUBLE)},
    "voice_fails": {
        "models": {
            "stt": {"provider": "elevenlabs"},
            "llm": {"provider": "openai", "fallback": [{**OFFLINE, "options": {"fallback": "Still here."}}]},
            "tts": {"provider": "elevenlabs", "fallback": [OFFLINE]},
        },
        "voice_id": {"elevenlabs": "VF"},
        "agents": {"one": ALONE},
    },
    "seeing": {
        "modality_profile": "audio_screenshare",
        "models": {"stt": {"provider": "openai"}, "llm": {"provider": "openai"}, "tts": OFFLINE},
        "agents": {
            "blind": {"instructions": "You listen.", "modality": "audio_only", "handoffs": ["seer"]},
            "seer": {"instructions": "You look.", "greeting": "I can see.", "handoffs": ["blind"]},
        },
    },
}


@pytest.fixture(scope="module", autouse=True)
def bundles(shipped: Stage) -> None:
    """The bundles of this file; those of the organizations share one line, told apart by their keys alone."""
    shipped.serve({name: organization(name) for name in ORGANIZATIONS}, line="shared")
    shipped.serve(BUNDLES)


async def test_three_organizations_at_once_see_nothing_of_each_other(shipped: Stage) -> None:
    """Each key comes with its own prompt, model, voice, speed and language, before and after a handover."""
    shipped.openai.words["shared"] += ["hello"] * 9  # one utterance may arrive in pieces

    async def call(name: str) -> None:
        started = await shipped.start(name, organization=name)
        async with shipped.worker.caller(started) as caller:
            await caller.wait_words(f"Welcome to {name}")
            await caller.heard_all(after=caller.joined_at)
            await caller.say("hello")
            await caller.wait_words("You said hello", within=15)
            await turn(caller, "hand over", f"The expert of {name}")
            await turn(caller, f"the secret of {name}", f"the secret of {name}")
            await shipped.end(name)
            await caller.wait_event("ended")

    await all_of(*(call(name) for name in ORGANIZATIONS))
    for name, facts in ORGANIZATIONS.items():
        key = f"{name}-key"
        others = ORGANIZATIONS.keys() - {name}
        thoughts = _with(shipped.thoughts("shared"), key)
        assert {call.body["model"] for call in thoughts} == {facts["model"]}
        assert f"telephone of {name}" in words_of(thoughts[0].body["messages"][0])
        assert f"expert of {name}" in words_of(thoughts[-1].body["messages"][0])
        assert not any(other in str(call.body) for call in thoughts for other in others)
        heard = _with(shipped.openai.of("/audio/transcriptions", "shared"), key)
        language = facts["language"].split("-")[0]
        assert {call.body["language"] for call in heard} == {language}
        voices = _with(shipped.voices("shared"), key)
        assert {call.path.split("/")[3] for call in voices} == {facts["voice"], facts["voice"] + "2"}
        for call_ in voices:
            assert call_.query["language_code"] == language
            speeds = {m["voice_settings"]["speed"] for m in call_.sent if "voice_settings" in m}
            assert speeds == {facts["pace"]}
            assert not any(other in str(call_.sent) for other in others)


def _with(calls: list[Call], key: str) -> list[Call]:
    return [call for call in calls if call.key == key]


async def test_a_voice_and_a_mind_that_fail_are_replaced_and_come_back(shipped: Stage) -> None:
    """The greeting comes from the fallback, the record says so, and the first voice speaks again later."""
    line = "voice_fails"
    speech = f"/{line}/v1/text-to-speech/VF/multi-stream-input"
    shipped.elevenlabs.trouble[speech] += [Trouble(status=401)] * 3
    shipped.elevenlabs.trouble[f"/{line}/v1/speech-to-text/realtime"] += [Trouble(cut_after=0)]
    shipped.openai.trouble[f"/{line}/v1/chat/completions"] += [Trouble(status=500)]
    shipped.elevenlabs.words[line] += ["are you there"] * 3
    started = await shipped.start(line)
    async with shipped.worker.caller(started) as caller:
        await caller.wait_words("Good morning to you.")
        assert (await caller.heard_all(after=caller.joined_at))[0].seconds > 0.5
        await caller.say("are you there")
        await caller.wait_words("Still here.", within=15)
        for _ in range(8):
            if shipped.voices(line):
                break
            await turn(caller, "and you", "")
            await caller.heard_all(after=caller.joined_at)
        assert shipped.voices(line), "the first voice speaks again"
        await shipped.end(line)
        await caller.wait_event("ended", within=15)
    record = await shipped.worker.transcript(line)
    changes = [i["name"] for i in record["items"] if i["type"] == "event" and "provider_" in i["name"]]
    assert changes.count("provider_failed") >= 2
    assert "provider_recovered" in changes


async def test_when_nothing_works_the_caller_hears_it_and_the_call_ends(shipped: Stage) -> None:
    """Last words are heard that need no provider, and the end says what failed; never a mute agent."""
    for name, trouble in NOTHING_WORKS.items():
        for double, path in (
            (shipped.openai, "/audio/speech"),
            (shipped.openai, "/chat/completions"),
            (shipped.elevenlabs, "/text-to-speech/hpp4J3VqNfWAUOO0d1Us/multi-stream-input"),
        ):
            double.trouble[f"/{name}/v1{path}"] += [trouble] * 20

    async def call(name: str) -> None:
        started = await shipped.start(name)
        async with shipped.worker.caller(started) as caller:
            if name.startswith("mind"):
                await caller.wait_words("Good morning")
                await caller.write("hello")
            await caller.wait_words("something is not working", within=30)
            await caller.heard_speech(after=caller.joined_at)
            await caller.wait_event("ended", reason="provider_error", within=15)
        assert (await shipped.worker.transcript(name))["end_reason"] == "provider_error"

    await all_of(*map(call, NOTHING_WORKS))


async def test_a_voice_that_stalls_says_nothing_or_is_cut_off_is_followed_by_the_next(shipped: Stage) -> None:
    """The greeting is said to its end, the record tells of the switch, and the talk goes on and is heard."""
    for name, trouble in VOICE_TROUBLE.items():
        shipped.openai.trouble[f"/{name}/v1/audio/speech"] += [trouble] * 20

    async def call(name: str) -> None:
        started = await shipped.start(name)
        async with shipped.worker.caller(started, microphone=False) as caller:
            await caller.wait_words("Good morning to you.", within=20)
            await caller.wait_attribute("lk.agent.state", "listening")
            asked = time.monotonic()
            await turn(caller, "hello", "You said hello")
            await caller.heard_speech(after=asked, within=20)
            await shipped.end(name)
            await caller.wait_event("ended", within=15)
        record = await shipped.worker.transcript(name)
        names = [item["name"] for item in record["items"] if item["type"] == "event"]
        assert "provider_failed" in names, names
        greeting = next(item for item in record["items"] if item.get("role") == "assistant")
        assert (greeting["text"], greeting["heard"]) == ("Good morning to you.", "all")

    await all_of(*map(call, VOICE_TROUBLE))


async def test_a_shared_screen_reaches_the_agent_that_wants_it_and_no_other(shipped: Stage) -> None:
    """The agent with the modality gets the picture along with the user's words; the other gets none."""
    line = "seeing"
    started = await shipped.start(line)
    async with shipped.worker.caller(started, microphone=False) as caller:
        async with Screen(caller):
            await turn(caller, "what is there", "You said what is there")
            await turn(caller, "hand over", "I can see.")
            for number in range(40):
                await turn(caller, f"look {number}", f"You said look {number}")
                if pictures(shipped.thoughts(line)[-1]):
                    break
                await asyncio.sleep(1.0)  # more than ten texts in ten seconds are dropped
        await shipped.end(line)
        await caller.wait_event("ended")
    thoughts = shipped.thoughts(line)
    assert [pictures(call) for call in thoughts[:2]] == [[], []]
    (seen,) = next(found for found in map(pictures, thoughts) if found)
    red, green, blue = seen[60, 80]
    assert red > 150 > 100 > max(green, blue), "the screen is red"


def pictures(call: Call) -> list[np.ndarray[Any, Any]]:
    """The pictures of a chat request, decoded."""
    parts = [
        part
        for message in call.body["messages"]
        for part in message.get("content") or ()
        if isinstance(part, dict)
    ]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    found = []
    for url in urls:
        with av.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as jpeg:
            found.append(next(jpeg.decode(video=0)).to_ndarray(format="rgb24"))
    return found


class Screen:
    """A red screen that a caller shares."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._source = rtc.VideoSource(320, 240)
        self._showing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        track = rtc.LocalVideoTrack.create_video_track("screen", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_SCREENSHARE)
        await self._caller.room.local_participant.publish_track(track, options)
        self._showing = asyncio.create_task(self._show())

    async def __aexit__(self, *_: object) -> None:
        assert self._showing is not None
        self._showing.cancel()

    async def _show(self) -> None:
        red = np.tile(np.array([220, 10, 10, 255], np.uint8), 320 * 240).tobytes()
        while True:
            self._source.capture_frame(rtc.VideoFrame(320, 240, rtc.VideoBufferType.RGBA, red))
            await asyncio.sleep(0.1)


async def test_loudness_is_heard_in_decibels_and_nothing_clips(shipped: Stage) -> None:
    """Three times and a quarter of the amplitude are received as such, the loud one below full scale."""
    found: dict[float, tuple[float, float]] = {}

    async def call(loudness: float) -> None:
        overrides = {"voice_tuning": {"loudness": loudness}}
        started = await shipped.start("demo", f"loud-{loudness:g}", overrides=overrides)
        async with shipped.worker.caller(started, microphone=False) as caller:
            one = (await caller.heard_all(after=caller.joined_at))[0]
            samples = caller.hearing.between(one.start, one.end)
            found[loudness] = loudness_dbfs(samples), float(np.mean(np.abs(samples.astype(int)) >= 32767))

    await all_of(*(call(loudness) for loudness in (0.25, 1.0, 3.0)))
    assert found[0.25][0] - found[1.0][0] == pytest.approx(-12.0, abs=1.5)
    assert 6.0 < found[3.0][0] - found[1.0][0] < 9.6, "9.5 dB less what the limiter takes off the peaks"
    assert found[3.0][1] < 0.001, "of the samples, after the codec, at full scale"
