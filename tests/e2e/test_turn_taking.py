"""When a turn is over and what interrupts, as a caller hears it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def thoughtful(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningWorker]:
    """A worker that asks LiveKit's model whether a turn is over."""
    running = RunningWorker(
        livekit_server,
        tmp_path_factory.mktemp("thoughtful"),
        environment={"AGENT_NAME": "thoughtful", "AGENT_TURN_DETECTOR": "v1-mini"},
    )
    try:
        running.start()
        yield running
    finally:
        running.stop()


async def answered_after(worker: RunningWorker, session_id: str, **turn_taking: float) -> float:
    """Seconds from the caller's last sound to the first one of the answer."""
    started = await worker.session(session_id, bundle="turns", overrides={"turn_taking": turn_taking})
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        spoken = await caller.ask("transfer me to sales")
        answer = await caller.heard_speech(after=spoken.end)
    return answer.start - spoken.end


async def test_a_turn_is_over_when_the_bundle_says_so(
    worker: RunningWorker, thoughtful: RunningWorker
) -> None:
    """Silence alone ends a turn after `min_delay`; the model doubts a synthetic voice: `max_delay`."""
    quick, silent, doubted = await asyncio.gather(
        answered_after(worker, "quick", min_delay=0.0, max_delay=0.1),
        answered_after(worker, "silent", min_delay=3.0, max_delay=3.0),
        answered_after(thoughtful, "doubted", min_delay=0.0, max_delay=3.0),
    )
    assert min(silent, doubted) > 2.8, "less than 3 s by what a detector needs to notice the end"
    assert quick < min(silent, doubted)


async def test_who_may_interrupt_and_after_how_much_speech(worker: RunningWorker) -> None:
    """The same words stop the story while they are said, once they are over, or not at all."""
    asked: dict[str, dict[str, Any]] = {
        "at-once": {"interruptions": True, "min_interruption_duration": 0.3},
        "as-a-turn": {"interruptions": True, "min_interruption_duration": 10.0},
        "never": {"interruptions": False},
    }

    async def outcome(name: str, turn_taking: dict[str, Any]) -> tuple[bool, bool]:
        """Whether the agent was silent when the caller's words ended, and whether the story was cut."""
        started = await worker.session(name, bundle="turns", overrides={"turn_taking": turn_taking})
        async with worker.caller(started) as caller:
            await caller.heard_all(after=caller.joined_at)
            await caller.write("tell me a long story")
            await caller.wait_words("small shop")
            spoken = await caller.say("what are your opening hours and where is order seven")
            await caller.heard_all(after=spoken.end)
            heard = caller.hearing.utterances(spoken.start)
        record = await worker.transcript(name, within=30)
        story = next(item for item in record["items"] if item.get("text", "").startswith("Once upon"))
        return not any(one.start < spoken.end <= one.end for one in heard), story["interrupted"]

    found = await asyncio.gather(*(outcome(*one) for one in asked.items()))
    assert dict(zip(asked, found, strict=True)) == {
        "at-once": (True, True),
        "as-a-turn": (False, True),
        "never": (False, False),
    }
