"""A call survives its process."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from agent.demo.caller import Caller
from agent.services.livekit_server import LiveKitServer
from config_store.state import SessionState
from tests.e2e.harness import RunningWorker, eventually, said
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together()


async def kill_job(worker: RunningWorker, session_id: str) -> float:
    """SIGKILL the job's process; when that was."""
    state = await worker.state(session_id)
    os.kill(int(state["pid"]), signal.SIGKILL)
    return time.monotonic()


@together.situation
async def test_a_killed_job_comes_back_and_knows_what_was_said(worker: RunningWorker) -> None:
    """After SIGKILL in mid-speech the same agent is heard again, and one record has both attempts."""
    started = await worker.session("kill-1", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.ask("transfer me to sales")
        await caller.wait_words("this is sales", within=10)
        await caller.heard_all(after=time.monotonic() - 1)
        await caller.ask("tell me a long story")
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

    numbers = [event["seq"] for event in caller.events]
    assert numbers == sorted(set(numbers)), "numbers grow, also when another process goes on"
    record = await worker.transcript("kill-1")
    words = said(record, "assistant")
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1, 2]
    assert words.count("Welcome to the shop.") == 1, "no second greeting"
    assert "Sorry, I lost you for a moment." in words
    cut = next(i for i in record["items"] if i.get("text", "").startswith("Once upon"))
    assert (cut["interrupted"], cut["heard"]) == (True, "part")
    assert record["end_reason"] == "operator"
    assert back.start - killed < 5.0


@together.situation
async def test_a_job_that_died_before_anybody_came_is_replaced_without_a_word(worker: RunningWorker) -> None:
    """After a death right after the claim the next process stores the config, greets, and excuses nothing."""
    async with worker.redis() as client:
        dead = SessionState(client, "session:early-1:state")
        await dead.claim(session_id="early-1", worker="gone", job="AJ_gone", pid=1)
    metadata = json.dumps({"session_id": "early-1", "bundle": "talk", "user_id": "u1"})
    async with Caller(worker.server.url, worker.token("early-1", "u1", metadata=metadata)) as caller:
        await caller.wait_words("Welcome to the shop", within=10)
        await caller.heard_all(after=caller.joined_at)
        state = await worker.state("early-1")
        async with worker.redis() as client:
            await client.xadd("session:early-1:commands", {"command": "end"})
        await caller.wait_event("ended", within=15)
        assert not [event for event in caller.events if event["type"] == "resumed"]

    assert (state["phase"], state["bundle"], state["attempts"]) == ("live", "talk", "2")
    assert state["config"]
    assert said(await worker.transcript("early-1"), "assistant")[0] == "Welcome to the shop."


@together.situation
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
    config = {"session": "loop-1", "bundle": "talk", "digest": record["digest"][:15]}
    lines = [json.loads(line) for line in worker.log_text().splitlines() if "loop-1" in line]
    judged = [line for line in lines if line["name"] in ("agent.judging", "agent.recovery")]
    told = ["a job crashed"] * 3 + [
        "a crashed session is not brought back: it crashed too often or is not to be resumed"
    ]
    assert [line["message"] for line in judged] == told
    assert all(line.items() >= config.items() for line in judged), (
        "what the parent says of it names its config"
    )


@together.situation
async def test_a_blocked_event_loop_ends_the_process_and_not_the_call(worker: RunningWorker) -> None:
    """A tool that blocks is killed after ten seconds; it is not run again, and the LLM is told so."""
    started = await worker.session("blocked-1")
    async with worker.caller(started) as caller:
        await caller.wait_words("Welcome", within=10)
        await caller.heard_all(after=caller.joined_at)
        await caller.ask("wait for me")
        await caller.wait_event("resumed", within=25)
        await caller.wait_words("lost you", within=10)
        await caller.heard_all(after=time.monotonic() - 0.5)
        await caller.ask("thank you goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)

    record = await worker.transcript("blocked-1")
    calls = [(i["name"], i["status"]) for i in record["items"] if i["type"] == "tool_call"]
    assert calls == [("block", "unknown"), ("end_call", "ok")]
    assert len(record["attempts"]) == 2


@together.situation
async def test_a_paused_process_that_was_replaced_is_neither_heard_nor_recorded(
    worker: RunningWorker,
) -> None:
    """A process that stood still while another one took the session finds that out and is gone."""
    started = await worker.session("paused-1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        pid = int((await worker.state("paused-1"))["pid"])
        os.kill(pid, signal.SIGSTOP)
        async with worker.redis() as client:
            lost = {"owner_worker": "gone", "owner_job": ""}
            await client.hset("session:paused-1:state", mapping=lost)
            await client.rpush("sessions:orphaned", "session:paused-1:state")
        await caller.wait_event("resumed", attempt=2, within=15)
        await caller.heard_all(after=time.monotonic() - 0.5)
        os.kill(pid, signal.SIGCONT)
        await eventually(lambda: not is_running(pid), "the old process is gone", 15)
        await caller.ask("what are your opening hours")
        await caller.wait_words("nine to five", within=10)
        await caller.heard_all(after=time.monotonic() - 0.5)
        await caller.ask("thank you goodbye")
        await caller.wait_event("ended", within=15)

    record = await worker.transcript("paused-1")
    assert said(record, "assistant").count("We are open from nine to five.") == 1
    assert len(record["attempts"]) == 2


def is_running(pid: int) -> bool:
    """Whether there is such a process, zombies apart."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def test_a_restarted_worker_takes_up_its_own_calls(
    livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """Killed and started again: the call goes on in the same room, and nothing is lost."""
    worker = RunningWorker(livekit_server, tmp_path / "data", environment={"AGENT_NAME": "again"})
    try:
        worker.start()
        started = await worker.session("again-1")
        async with worker.caller(started) as caller:
            await caller.heard_all(after=caller.joined_at)
            await caller.ask("what are your opening hours")
            await caller.wait_words("nine to five", within=10)
            worker.kill()
            await asyncio.to_thread(worker.start)
            await caller.wait_event("resumed", attempt=2, within=15)
            await caller.heard_all(after=time.monotonic() - 0.5)
            await caller.ask("thank you goodbye")
            await caller.wait_event("ended", reason="agent_ended", within=15)
        record = await worker.transcript("again-1")
    finally:
        worker.stop()

    assert said(record, "user") == ["what are your opening hours", "thank you goodbye"]
    assert [a["attempt"] for a in record["attempts"]] == [1, 2]
