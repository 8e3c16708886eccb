"""
AGENT_MAX_SESSIONS is a hard cap; what one worker refuses another one gets; nobody is refused for a busy host.

Two workers with a cap of 2 and one Redis, for all of it, in this order.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from livekit import api

from agent.services.livekit_server import LiveKitServer
from agent.starting import NotStartedError
from tests.e2e.harness import RunningWorker, dispatch_metadata, eventually

pytestmark = pytest.mark.e2e

CAP = 2
BURST = [f"burst-{number}" for number in range(10)]

Pair = tuple[RunningWorker, RunningWorker]


@pytest.fixture(scope="module")
def pair(livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two workers that share a name and a Redis."""
    common = {"AGENT_NAME": "capped", "AGENT_MAX_SESSIONS": str(CAP)}
    first = RunningWorker(livekit_server, tmp_path_factory.mktemp("first"), environment=common)
    second = RunningWorker(
        livekit_server,
        tmp_path_factory.mktemp("second"),
        environment={**common, "REDIS_URL": first.valkey.url},
    )
    try:
        first.start(wait=False)
        second.start(wait=False)
        first.wait_ready()
        second.wait_ready()
        yield first, second
    finally:
        second.stop()
        first.stop()


def figure(worker: RunningWorker, series: str) -> float:
    """One series of the worker's metrics; 0 when it is not there."""
    lines = worker.probe("/metrics")[1].splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series)), 0.0)


def answers(worker: RunningWorker, answer: str) -> float:
    """How many jobs it gave this answer."""
    return figure(worker, f'agent_job_requests_total{{answer="{answer}"}} ')


def running(worker: RunningWorker) -> float:
    """Sessions that it serves now."""
    return figure(worker, 'agent_sessions{state="running"} ')


async def test_a_burst_is_shared_and_never_exceeds_the_cap(pair: Pair) -> None:
    """Of ten dispatches in one moment two workers with a cap of 2 run two each; the rest is refused."""
    async with pair[0].livekit() as lkapi:
        await asyncio.gather(
            *(
                lkapi.agent_dispatch.create_dispatch(
                    api.CreateAgentDispatchRequest(
                        agent_name="capped",
                        room=name,
                        metadata=dispatch_metadata(session_id=name, bundle="talk"),
                    )
                )
                for name in BURST
            )
        )
    await eventually(lambda: all(running(worker) == CAP for worker in pair), "two calls each", within=20)
    await eventually(lambda: all(answers(worker, "full") > 0 for worker in pair), "refusals of both")
    assert [answers(worker, "accepted") for worker in pair] == [CAP, CAP]
    assert [figure(worker, "agent_session_capacity ") for worker in pair] == [CAP, CAP]


async def test_a_start_above_everybodys_cap_says_so(pair: Pair) -> None:
    """`agent session start` names the reason: every worker is full, and how full; nothing starts later."""
    settings = pair[0].settings.model_copy(update={"name": "capped"})
    pair[0].settings = settings
    command = pair[0].command("session", "start", "--session-id", "above-2", "--bundle", "talk", "--json")
    by_command = asyncio.create_task(
        asyncio.to_thread(
            subprocess.run, command, env=pair[0].environment, capture_output=True, text=True, check=False
        )
    )
    with pytest.raises(NotStartedError, match=r"all 2 workers .*are full \(4 of 4 sessions\)") as refused:
        await pair[0].session("above")
    assert refused.value.code == "full"
    done = await by_command
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"]["code"] == "full"


async def test_calls_are_served_while_a_compiler_eats_the_host(pair: Pair) -> None:
    """With every core taken by others a call is taken and heard, and the load says sessions, not CPU."""
    async with pair[0].redis() as client:
        for name in BURST:
            await client.xadd(f"session:{name}:commands", {"command": "end", "reason": "operator"})
    await eventually(lambda: all(running(worker) == 0 for worker in pair), "an end of all calls", within=30)
    with compilers():
        started = await pair[0].session("busy-host")
        async with pair[0].caller(started) as caller:
            await caller.heard_speech(after=caller.joined_at, within=30)
            loads = sorted(figure(worker, "lk_agents_worker_load{") for worker in pair)
            busy = 0.65 / CAP
            await eventually(
                lambda: sorted(figure(worker, "lk_agents_worker_load{") for worker in pair) == [0.0, busy],
                f"loads that count sessions alone, not {loads}",
                within=20,
            )


@contextlib.contextmanager
def compilers() -> Iterator[None]:
    """Programs that want twice the cores there are."""
    spin = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for compiler in started:
            compiler.kill()
            compiler.wait()
