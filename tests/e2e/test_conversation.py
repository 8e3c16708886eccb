"""What a caller hears and what is left behind, on a real server with real audio."""

import pytest

from agent.demo.audio import fundamental_hz
from tests.e2e.harness import RunningWorker, said

pytestmark = pytest.mark.e2e


async def test_a_spoken_conversation_with_a_tool_a_handover_and_a_goodbye(worker: RunningWorker) -> None:
    """Speech is understood and answered, a tool called, the voice changes with the agent, goodbye ends it."""
    started = await worker.session("talk-1", user_id="u1")
    async with worker.caller(started) as caller:
        greeting = (await caller.heard_all(after=caller.joined_at, within=10))[0]
        spoken = await caller.ask("what are your opening hours")
        answer = await caller.heard_speech(after=spoken.end)
        await caller.heard_all(after=answer.start)
        spoken = await caller.ask("where is order seven")
        await caller.wait_words("arrives tomorrow", after=spoken.end)
        await caller.heard_all(after=spoken.end)
        spoken = await caller.ask("transfer me to sales")
        handoff = await caller.wait_event("handoff")
        sales = (await caller.heard_all(after=spoken.end))[0]
        await caller.wait_attribute("session.agent", "sales")
        await caller.ask("thank you goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)
        assert await caller.wait_left() == "ROOM_DELETED"

        first = fundamental_hz(caller.hearing.between(greeting.start, greeting.end))
        second = fundamental_hz(caller.hearing.between(sales.start, sales.end))

    record = await worker.transcript("talk-1")
    assert (handoff["from"], handoff["to"]) == ("front", "sales")
    assert second > first * 1.2, "the second agent has a higher voice"
    assert record["end_reason"] == "agent_ended"
    assert record["agents"] == ["front", "sales"]
    assert said(record, "user") == [
        "what are your opening hours", "where is order seven", "transfer me to sales", "thank you goodbye",
    ]  # fmt: skip
    assert said(record, "assistant") == [
        "Welcome to the shop.",
        "We are open from nine to five.",
        "Order seven is on its way and arrives tomorrow.",
        "Hello, this is sales speaking.",
        "Goodbye and have a nice day.",
    ]
    tools = [(i["name"], i["status"]) for i in record["items"] if i["type"] == "tool_call"]
    assert tools == [("lookup_order", "ok"), ("end_call", "ok")]
