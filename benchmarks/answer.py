"""End of the user's speech → first sound of the answer: both workers up, one call at a time, in turn."""

import contextlib
import json
import time

from livekit import api

from agent.demo.audio import RATE
from agent.demo.caller import Caller, CallerError
from agent.demo.hearing import Hearing
from agent.demo.voice import speak
from agent.room import close_room
from benchmarks.stage import Stage, wait_for_quiet
from benchmarks.switchboard import SENTENCE

TURNS = 2
"""Questions in each call: the first one of a job and one that follows."""
WAYS = ("bare", "ours", "lean")


async def run(stage: Stage, *, calls: int) -> list[dict[str, object]]:
    """`calls` of each way, interleaved; ms from the last sound of a question to the first of its answer."""
    bare, ours = stage.bare(), stage.ours()
    quiet = await _quiet_at_the_end()
    found: list[dict[str, object]] = []
    try:
        async with api.LiveKitAPI(
            stage.livekit.url, stage.livekit.api_key, stage.livekit.api_secret
        ) as lkapi:
            for number in range(-1, calls):
                for way in (*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)]):
                    wait_for_quiet(2.0)
                    room = f"answer-{way}-{time.monotonic_ns()}"
                    metadata = json.dumps({"bundle": "lean" if way == "lean" else "talk"})
                    agent = (bare if way == "bare" else ours).name
                    token = stage.token(room, "user", agent=agent, metadata=metadata)
                    answers = await _answers(stage.livekit.url, token, quiet)
                    await close_room(lkapi, room)
                    if number >= 0:  # the first of each warms up
                        found += [{"way": way, "answer_ms": one} for one in answers]
    finally:
        ours.stop()
        bare.stop()
    return found


async def _answers(url: str, token: str, quiet: float) -> list[float | None]:
    """One call: ms to each answer, None for those that did not come."""
    found: list[float | None] = []
    with contextlib.suppress(CallerError):
        async with Caller(url, token) as caller:
            asked = caller.joined_at
            while len(found) < TURNS:
                await caller.heard_all(after=asked)
                asked = (await caller.say(SENTENCE)).end - quiet
                answer = await caller.heard_speech(after=asked)
                found.append(round((answer.start - asked) * 1000, 1))
    return found + [None] * (TURNS - len(found))


async def _quiet_at_the_end() -> float:
    """How many seconds of silence the question ends with."""
    samples = await speak(SENTENCE)
    hearing = Hearing()
    hearing.add("", "", samples.tobytes(), len(samples) / RATE)
    return hearing.until() - hearing.utterances()[-1].end
