"""Voice tuning in the audio that a caller receives."""

import asyncio
from typing import Any

import pytest

from agent.demo.audio import fundamental_hz, loudness_dbfs
from tests.e2e.harness import RunningWorker

pytestmark = pytest.mark.e2e

SENTENCE = "This is one and the same sentence, said in more than one way."


async def heard(worker: RunningWorker, name: str, tuning: dict[str, Any]) -> tuple[float, float, float]:
    """Length in seconds, fundamental frequency in Hz and loudness in dBFS of the greeting as received."""
    overrides = {"voice_tuning": tuning, "agents": {"front": {"greeting": SENTENCE}}}
    started = await worker.session(f"voice-{name}", overrides=overrides)
    async with worker.caller(started, microphone=False) as caller:
        utterance = (await caller.heard_all(after=caller.joined_at))[0]
        samples = caller.hearing.between(utterance.start, utterance.end)
        return utterance.seconds, fundamental_hz(samples), loudness_dbfs(samples)


async def test_pace_pitch_and_loudness_are_audible(worker: RunningWorker) -> None:
    """Each knob changes what a caller receives, by about as much as it says, and nothing else much."""
    plain, fast, high, quiet = await asyncio.gather(
        heard(worker, "plain", {}),
        heard(worker, "fast", {"pace": 1.5}),
        heard(worker, "high", {"pitch": 0.5}),
        heard(worker, "quiet", {"loudness": 0.5}),
    )

    assert fast[0] == pytest.approx(plain[0] / 1.5, rel=0.15)
    assert high[1] > plain[1] * 1.15
    assert quiet[2] == pytest.approx(plain[2] - 6.0, abs=1.5), "half the amplitude is 6 dB less"
    assert fast[2] == pytest.approx(plain[2], abs=2.0)
    assert quiet[0] == pytest.approx(plain[0], rel=0.1)


async def test_a_value_out_of_range_is_clamped_and_told(worker: RunningWorker) -> None:
    """An override beyond the range becomes the nearest allowed value, with a verdict for the client."""
    started = await worker.session("voice-clamped", overrides={"voice_tuning": {"pace": 9}})
    async with worker.caller(started, microphone=False) as caller:
        applied = await caller.wait_event("config_applied")

    (verdict,) = applied["verdicts"]
    assert (verdict["path"], verdict["verdict"], verdict["asked"], verdict["applied"]) == (
        "voice_tuning.pace", "clamped", 9, 3.0,
    )  # fmt: skip
