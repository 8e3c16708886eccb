"""Time ends calls: a caller who falls silent, and a call that reaches its longest duration in mid-speech."""

import time

from agent.demo.lines import ASK_FOR_STORY
from agent.demo.stage import Stage, require

SILENT_SESSION, SILENT_CALL = "demo-silent", "silent"
PROMPT_AFTER, IDLE_AFTER = 2.0, 4.0  # seconds
PROMPT = "Are you still there?"

LONG_SESSION, LONG_CALL = "demo-long", "long"
LONGEST = 11.0  # seconds
GOODBYE_CAP = 10.0
"""Seconds that a goodbye may last after the time is up."""


async def falls_silent(stage: Stage) -> None:
    """The caller says nothing: prompted, then the end by `idle`. Raises SceneError."""
    await stage.override(
        SILENT_SESSION,
        SILENT_CALL,
        {
            "idle_timeout_seconds": IDLE_AFTER,
            "idle_prompts": [{"after_seconds": PROMPT_AFTER, "say": PROMPT}],
        },
    )
    async with await stage.call(SILENT_SESSION, SILENT_CALL, user="kim") as caller:
        greeting = await caller.heard_all()
        prompt = await caller.heard_speech(after=greeting[-1].end + 0.5, within=15)
        await caller.wait_words(PROMPT, within=15)
        await caller.wait_event("ended", reason="idle", within=20)
        await caller.wait_left()
    record = await stage.record(SILENT_SESSION)
    require(record["end_reason"] == "idle", f"the reason idle, not {record['end_reason']}")
    spoken = [item["text"] for item in record["items"] if item.get("role") == "assistant"]
    require(PROMPT in spoken, f"the prompt {PROMPT!r} in the record, not {spoken}")
    stage.narrator.line(
        SILENT_CALL,
        "held",
        f"asked after {prompt.start - greeting[-1].end:.1f} s of silence, then ended by idle",
    )


async def maximum_duration(stage: Stage) -> None:
    """The call reaches its longest duration while the agent speaks. Raises SceneError."""
    await stage.override(LONG_SESSION, LONG_CALL, {"max_duration_seconds": LONGEST})
    async with await stage.call(LONG_SESSION, LONG_CALL, user="lou") as caller:
        joined = time.monotonic()
        await caller.heard_all()
        asked = await caller.ask(ASK_FOR_STORY)
        await caller.heard_speech(after=asked.end)
        await caller.wait_event("ended", reason="max_duration", within=LONGEST + GOODBYE_CAP + 2)
        await caller.wait_left()
        lasted = (caller.left_at or 0.0) - joined
    record = await stage.record(LONG_SESSION)
    require(record["end_reason"] == "max_duration", f"the reason max_duration, not {record['end_reason']}")
    require(
        LONGEST - 1 <= record["duration_seconds"] <= LONGEST + GOODBYE_CAP,
        f"a call of {LONGEST:g} s and a goodbye, not {record['duration_seconds']} s",
    )
    cut = [item for item in record["items"] if item.get("role") == "assistant" and item["interrupted"]]
    require(cut, "the story to be recorded as interrupted, with the words that were heard")
    stage.narrator.line(
        LONG_CALL, "held",
        f"cut off in the middle of a story at {LONGEST:g} s; with the goodbye the call lasted {lasted:.1f} s",
    )  # fmt: skip
