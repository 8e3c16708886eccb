"""A job that harms itself is ended and its session taken up anew; the others do not notice."""

import asyncio
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker, said

pytestmark = pytest.mark.e2e

BUNDLES = Path(__file__).parent / "bundles"


async def test_a_greedy_and_a_blocked_job_are_brought_back_and_harm_nobody(
    livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """Above its memory limit, or with a blocked loop: killed and resumed. A third call is one attempt."""
    worker = RunningWorker(
        livekit_server,
        tmp_path,
        bundles=BUNDLES,
        environment={
            "AGENT_NAME": "guards",
            "AGENT_JOB_MEMORY_MB": "400",
            "AGENT_MODULES": "agent.demo.tools,tests.e2e.tools,tests.ops.tools",
        },
    )
    try:
        worker.start()
        found = [await worker.session(name, bundle="guarded") for name in ("greedy", "blocked", "third")]
        async with (
            worker.caller(found[0]) as greedy,
            worker.caller(found[1]) as blocked,
            worker.caller(found[2]) as third,
        ):
            for caller in (greedy, blocked, third):
                await caller.wait_words("Welcome", within=15)
            await greedy.write("hoard")
            await blocked.write("block")
            await third.write("what are your opening hours")
            await third.wait_words("nine to five", within=15)
            for caller in (greedy, blocked):
                await caller.wait_event("resumed", within=40, attempt=2)
            await third.write("what are your opening hours")
            for caller in (greedy, blocked, third):
                await caller.write("thank you goodbye")
                await caller.wait_event("ended", within=20, reason="agent_ended")
        records = await asyncio.gather(*(worker.transcript(name) for name in ("greedy", "blocked", "third")))
    finally:
        assert worker.stop() == 0
    assert [len(record["attempts"]) for record in records] == [2, 2, 1]
    tools = [
        [(item["name"], item["status"]) for item in record["items"] if item["type"] == "tool_call"]
        for record in records
    ]
    assert tools[0][0] == ("hoard", "unknown")
    assert tools[1][0] == ("block", "unknown")
    assert said(records[2], "assistant").count("We are open from nine to five.") == 2
    assert "exceeded memory limit" in worker.log_text()
