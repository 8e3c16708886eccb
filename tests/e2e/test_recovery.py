"""A call survives its process."""

import os
import signal
import time

import pytest

from tests.e2e.harness import RunningWorker, said

pytestmark = pytest.mark.e2e


async def kill_job(worker: RunningWorker, session_id: str) -> float:
    """SIGKILL the job's process; when that was."""
    state = await worker.state(session_id)
    os.kill(int(state["pid"]), signal.SIGKILL)
    return time.monotonic()


async def test_a_killed_job_comes_back_and_knows_what_was_said(worker: RunningWorker) -> None:
    """After SIGKILL in mid-speech the same agent is heard again, and one record has both attempts."""
    started = await worker.session("kill-1", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.say("transfer me to sales")
        await caller.wait_words("this is sales", within=10)
        await caller.heard_all(after=time.monotonic() - 1)
        await caller.say("tell me a long story")
        await caller.wait_words("small shop", within=10)
        killed = await kill_job(worker, "kill-1")
        back = await caller.heard_speech(after=killed + 0.6, within=10)
        await caller.wait_event("resumed", attempt=2)
        await caller.wait_attribute("session.agent", "sales")
        await caller.wait_words("Once upon a time", after=killed, within=10)
        print(f"silence {back.start - killed:.2f} s")
        async with worker.redis() as client:
            await client.xadd("session:kill-1:commands", {"command": "end"})
        await caller.wait_event("ended", within=15)

    record = await worker.transcript("kill-1")
    words = said(record, "assistant")
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1, 2]
    assert words.count("Welcome to the shop.") == 1, "no second greeting"
    assert "Sorry, I lost you for a moment." in words
    cut = next(i for i in record["items"] if i.get("text", "").startswith("Once upon"))
    assert (cut["interrupted"], cut["heard"]) == (True, "part")
    assert record["end_reason"] == "operator"
    assert back.start - killed < 5.0


async def test_a_crash_loop_ends_after_two_recoveries(worker: RunningWorker) -> None:
    """The third death of a session closes the room, and the record says crashed."""
    started = await worker.session("loop-1")
    async with worker.caller(started) as caller:
        await caller.wait_words("Welcome", within=10)
        for attempt in (1, 2, 3):
            await caller.wait_agent(count=attempt)
            await kill_job(worker, "loop-1")
        assert await caller.wait_left(within=15) == "ROOM_DELETED"

    record = await worker.transcript("loop-1")
    assert record["end_reason"] == "crashed"
    assert len(record["attempts"]) == 3
