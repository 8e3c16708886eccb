"""Two sessions of one user at the same time, same bundle, each with its own voice from its own Redis key."""

import asyncio
from dataclasses import dataclass
from typing import Any

from agent.demo.audio import fundamental_hz, speech_seconds
from agent.demo.lines import GOODBYE
from agent.demo.stage import Stage, require

USER = "sam"

OVERRIDES: dict[str, dict[str, Any]] = {
    "slow": {"voice_id": "en-us+m3", "voice_tuning": {"pace": 0.8, "pitch": -0.3}},
    "fast": {"voice_id": "en-gb+f3", "voice_tuning": {"pace": 1.5, "pitch": 0.3}},
}
"""Call → what its key says. 0.8 and 1.5 times the normal pace: the same words, 1.9 times as long."""

LEAST_RATIO = 1.4
"""How much longer the slow goodbye has to be heard, and how much higher the fast one."""
CAPTION_LAG = 0.3
"""Longest time in seconds from a voice to its first caption."""


@dataclass(frozen=True)
class Voice:
    """What was heard of one goodbye: on a busy machine a client may receive the voice after it has begun."""

    seconds: float
    hertz: float
    words: str
    digest: str


async def two_voices(stage: Stage) -> None:
    """Play both calls at once and compare them. Raises SceneError."""
    slow, fast = await asyncio.gather(*(_goodbye(stage, call) for call in OVERRIDES))
    require(
        slow.words == fast.words, f"the same goodbye in both calls, not {slow.words!r} and {fast.words!r}"
    )
    require(
        slow.seconds > LEAST_RATIO * fast.seconds,
        f"the goodbye at pace 0.8 to last {LEAST_RATIO} times as long as at 1.5: "
        f"{slow.seconds:.2f} s and {fast.seconds:.2f} s were heard",
    )
    require(
        fast.hertz > LEAST_RATIO * slow.hertz,
        f"the voice of the fast call to be {LEAST_RATIO} times as high: "
        f"{slow.hertz:.0f} Hz and {fast.hertz:.0f} Hz were heard",
    )
    require(slow.digest != fast.digest, "two session configs, but both calls have the same digest")
    stage.narrator.line(
        "voices", "held",
        f"one user, one bundle, two voices: {slow.seconds:.1f} s at {slow.hertz:.0f} Hz "
        f"and {fast.seconds:.1f} s at {fast.hertz:.0f} Hz for the same words",
    )  # fmt: skip


async def _goodbye(stage: Stage, call: str) -> Voice:
    session_id = f"demo-{call}"
    await stage.override(session_id, call, OVERRIDES[call])
    async with await stage.call(session_id, call, user=USER) as caller:
        await caller.heard_all(after=caller.joined_at)
        applied = await caller.wait_event("config_applied")
        await caller.ask(GOODBYE)
        await caller.wait_event("ended", reason="agent_ended", within=15)
        await caller.wait_left()
        said = [caption for caption in caller.captions if caption.identity in caller.agents_seen]
        heard = caller.hearing.utterances(after=said[-1].at - CAPTION_LAG)
        require(bool(heard), f"the goodbye of the {call} call to be heard")
        samples = caller.hearing.between(heard[0].start, heard[-1].end)
    record = await stage.record(session_id)
    _check_origins(record, session_id)
    require(record["user_id"] == USER, f"the record of {session_id} to be {USER}'s")
    return Voice(
        seconds=speech_seconds(samples),
        hertz=fundamental_hz(samples) or 0.0,
        words=[str(item["text"]) for item in record["items"] if item.get("role") == "assistant"][-1],
        digest=str(applied["digest"]),
    )


def _check_origins(record: dict[str, Any], session_id: str) -> None:
    """Every value that was overridden came from this session's key, and none from another's."""
    own = f"redis session:{session_id}:config"
    origins: dict[str, str] = record["origins"]
    require(
        origins.get("voice_tuning.pace") == own and origins.get("voice_tuning.pitch") == own,
        f"pace and pitch of {session_id} to come from {own}; the record says "
        f"{origins.get('voice_tuning.pace')} and {origins.get('voice_tuning.pitch')}",
    )
    strangers = [place for place in origins.values() if place.startswith("redis ") and place != own]
    require(not strangers, f"nothing from another session's key in {session_id}, but {strangers}")
