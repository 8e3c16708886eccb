"""A spoken conversation: a tool call, a handover to an agent with another voice, a spoken goodbye."""

from typing import Any

from agent.demo.audio import fundamental_hz
from agent.demo.lines import ASK_FOR_ORDER, ASK_FOR_SPECIALIST, DESK, FOUND, GOODBYE, SPECIALIST, TOOL
from agent.demo.stage import Stage, require

SESSION = "demo-talk"
CALL = "talk"

LEAST_RATIO = 1.25
"""How far apart the two voices have to be in pitch, either way."""


async def conversation(stage: Stage) -> None:
    """Play the call and check what was heard and recorded. Raises SceneError."""
    async with await stage.call(SESSION, CALL, user="ida") as caller:
        greeting = await caller.heard_all()
        desk = caller.hearing.between(greeting[0].start, greeting[-1].end)
        asked = await caller.ask(ASK_FOR_ORDER)
        await caller.wait_words(FOUND, after=asked.end, within=15)
        await caller.heard_all(after=asked.end)
        wanted = await caller.ask(ASK_FOR_SPECIALIST)
        await caller.wait_event("handoff", to=SPECIALIST, within=15, **{"from": DESK})
        await caller.wait_attribute("session.agent", SPECIALIST)
        introduction = await caller.heard_all(after=wanted.end)
        specialist = caller.hearing.between(introduction[-1].start, introduction[-1].end)
        farewell = await caller.ask(GOODBYE)
        await caller.wait_event("ended", reason="agent_ended", within=15)
        await caller.wait_left()
        spoken_goodbye = caller.hearing.utterances(after=farewell.end)
    require(spoken_goodbye, "a spoken goodbye before the line went dead, but nothing was heard")
    low, high = sorted((fundamental_hz(desk) or 0.0, fundamental_hz(specialist) or 0.0))
    require(
        high > LEAST_RATIO * low > 0,
        f"two voices at least {LEAST_RATIO} times apart: {low:.0f} Hz and {high:.0f} Hz were heard",
    )
    _check(await stage.record(SESSION))
    stage.narrator.line(
        CALL, "held", f"speech, tool call, handover to a voice {low:.0f} → {high:.0f} Hz, spoken goodbye"
    )


def _check(record: dict[str, Any]) -> None:
    """The record tells the same story, in order."""
    items = record["items"]
    story = [
        (item["type"], item.get("role") or item.get("name") or item.get("to"))
        for item in items
        if item["type"] in ("message", "tool_call", "handoff")
    ]
    expected = [
        ("message", "assistant"), ("message", "user"), ("tool_call", TOOL), ("message", "assistant"),
        ("message", "user"), ("handoff", SPECIALIST), ("message", "assistant"), ("message", "user"),
    ]  # fmt: skip
    rest = iter(story)
    require(
        all(step in rest for step in expected), f"{expected} in this order in the record, which has {story}"
    )
    call = next(item for item in items if item["type"] == "tool_call" and item["name"] == TOOL)
    require(
        call["status"] == "ok" and FOUND in str(call["output"]),
        f"the tool call {TOOL} to be recorded with its output, not {call}",
    )
    said = [item["text"].lower() for item in items if item.get("role") == "user"]
    require(
        said == [ASK_FOR_ORDER.lower(), ASK_FOR_SPECIALIST.lower(), GOODBYE.lower()],
        f"the caller's words as they were spoken, not {said}",
    )
    require(record["end_reason"] == "agent_ended", f"the reason agent_ended, not {record['end_reason']}")
    require(record["agents"] == [DESK, SPECIALIST], f"both agents in the record, not {record['agents']}")
