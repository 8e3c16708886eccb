"""What the smaller fields of a bundle do in a call."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.harness import said
from tests.e2e.shipped import Stage, words_of
from tests.e2e.test_recovery import kill_job

pytestmark = pytest.mark.e2e

EVERY_FIELD = yaml.safe_load((Path(__file__).parents[1] / "fields" / "everything.yaml").read_text("utf-8"))
QUICK = {
    "name": "Quick",
    "tags": ["one", "two"],
    "models": {
        "stt": {"provider": "openai"},
        "llm": {"provider": "openai"},
        "tts": {"provider": "elevenlabs"},
    },
    "voice_id": "VQ",
    "voice_tuning": {"pace": 1.2},
    "enabled_panels": ["map"],
    "captions": False,
    "agents": {
        "other": {
            "instructions": "You are the other one.",
            "greeting": {"generate": "Say who you are."},
            "handoffs": ["desk"],
            "voice_tuning": {"pace": 0.8},
            "models": {"llm": {"temperature": 0.1}},
        },
        "desk": {"instructions": "You help {{caller}}.", "handoffs": ["other"], "panels": ["map"]},
    },
    "initial_agent": "desk",
    "max_duration_seconds": 9,
    "max_duration_warnings": [{"before_seconds": 4, "tell_agent": True, "say": "Soon over."}],
    "goodbye": "Goodbye then.",
    "delete_room_on_end": False,
    "variables": {"caller": {"default": "everybody", "max_length": 20, "description": "Who calls."}},
    "transcript": {"keep_days": 7},
    "metadata": {"colour": "red"},
}
CRASHING = {
    "models": {"stt": {"provider": "openai"}, "llm": {"provider": "openai"}, "tts": {"provider": "offline"}},
    "agents": {"one": {"instructions": "You help.", "greeting": "Good morning."}},
}


@pytest.fixture(scope="module", autouse=True)
def bundles(shipped: Stage) -> None:
    """A short call that uses what other files do not show, two that crash, and one with every field."""
    shipped.serve(
        {
            "quick": QUICK,
            "crash_end": {**CRASHING, "on_crash": "end"},
            "crash_words": {**CRASHING, "recovery": "Here I am again."},
            "every_field": EVERY_FIELD,
        }
    )


async def test_a_call_that_uses_every_field(shipped: Stage) -> None:
    """Panels, agent, tuning, warning, goodbye, room, variables, metadata and retention, in one call."""
    started = await shipped.start("quick")
    async with shipped.worker.caller(started, microphone=False) as caller:
        await caller.wait_attribute("session.panels", '["map"]')
        await caller.wait_attribute("session.agent", "desk")
        await caller.write("hand over")
        await caller.wait_event("handoff", **{"from": "desk", "to": "other"})
        await caller.wait_event("warning", within=15)
        await caller.wait_event("ended", reason="max_duration", within=25)
        assert not [caption for caption in caller.captions if caption.identity.startswith("agent")]
    assert await shipped.worker.room_exists(started.room), "delete_room_on_end: false"
    record = await shipped.worker.transcript("quick")
    words = said(record, "assistant")
    assert "Soon over." in words
    assert words[-1] == "Goodbye then."
    assert record["metadata"] == {"colour": "red"}
    bodies = [call.body for call in shipped.thoughts("quick")]
    assert "You help everybody." in words_of(bodies[0]["messages"][0])
    assert "temperature" not in bodies[0]
    assert any("Say who you are." in str(body["messages"]) and body["temperature"] == 0.1 for body in bodies)
    assert any("The call ends in 4 seconds" in str(body["messages"]) for body in bodies)
    speeds = {
        message["voice_settings"]["speed"]
        for call in shipped.voices("quick") for message in call.sent if message.get("voice_settings")
    }  # fmt: skip
    assert 0.8 in speeds
    async with shipped.worker.livekit() as lkapi:
        from livekit import api

        await lkapi.room.delete_room(api.DeleteRoomRequest(room=started.room))


async def test_a_call_that_may_not_go_on_after_a_crash_ends(shipped: Stage) -> None:
    """`on_crash: end`: the room is closed and the record says that it crashed."""
    await _killed(shipped, "crash_end", on_crash="end")
    assert (await shipped.worker.transcript("crash_end"))["end_reason"] == "crashed"


async def test_a_call_that_goes_on_after_a_crash_says_the_bundles_words(shipped: Stage) -> None:
    """`recovery` is what is said when another process goes on."""
    await _killed(shipped, "crash_words", recovery="Here I am again.")


async def _killed(shipped: Stage, name: str, **expected: str) -> None:
    started = await shipped.start(name)
    async with shipped.worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Good morning.")
        await kill_job(shipped.worker, name)
        if "recovery" in expected:
            await caller.wait_words(expected["recovery"])
            await caller.heard_all(after=time.monotonic() - 0.5)
            await caller.write("Are you there?")
            await caller.wait_words("You said Are you there?", within=15)
            await shipped.end(name)
        await caller.wait_left(within=15)


async def test_what_people_read_of_a_bundle_is_listed(shipped: Stage) -> None:
    """`bundles list` shows name, description and tags; `explain` prints every field of the largest bundle."""

    def run(*arguments: str) -> str:
        command = shipped.worker.command("bundles", *arguments)
        done = subprocess.run(
            command, env=shipped.worker.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = {row["name"]: row for row in json.loads(await asyncio.to_thread(run, "list", "--json"))}
    assert listed["quick"]["tags"] == ["one", "two"]
    explained = await asyncio.to_thread(run, "explain", "every_field")
    for word in ("Who calls.", "description", "keep_days", "eleven_multilingual_v2"):
        assert word in explained
