"""AGENT_MAX_SESSIONS is a hard cap, and what one worker refuses another one gets."""

import asyncio

import pytest
from livekit import api

from tests.e2e.harness import RunningWorker, dispatch_metadata, eventually
from tests.ops.conftest import StartWorker

pytestmark = pytest.mark.e2e


async def dispatch_at_once(worker: RunningWorker, agent: str, names: list[str]) -> None:
    """All these sessions, asked for at the same moment."""
    async with worker.livekit() as lkapi:
        await asyncio.gather(
            *(
                lkapi.agent_dispatch.create_dispatch(
                    api.CreateAgentDispatchRequest(
                        agent_name=agent,
                        room=name,
                        metadata=dispatch_metadata(session_id=name, bundle="talk"),
                    )
                )
                for name in names
            )
        )


def figure(worker: RunningWorker, series: str) -> float:
    """One series of the worker's metrics; 0 when it is not there."""
    lines = worker.probe("/metrics")[1].splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series + " ")), 0.0)


def running(worker: RunningWorker) -> float:
    """Sessions that it serves now."""
    return figure(worker, 'agent_sessions{state="running"}')


async def test_a_burst_never_exceeds_the_cap(start_worker: StartWorker) -> None:
    """Of ten dispatches in one moment a worker with a cap of 3 runs exactly 3 and refuses the others."""
    worker = start_worker("w", AGENT_MAX_SESSIONS="3")
    names = [f"burst-{number}" for number in range(10)]
    await dispatch_at_once(worker, worker.settings.name, names)
    offered = 'agent_job_requests_total{answer="%s"}'
    await eventually(
        lambda: running(worker) == 3 and figure(worker, offered % "full") > 0, "three that run", within=20
    )
    await eventually(
        lambda: figure(worker, offered % "full") + figure(worker, offered % "accepted") >= 4, "the answers"
    )
    assert figure(worker, offered % "accepted") == 3
    assert figure(worker, "agent_session_capacity") == 3


async def test_two_workers_share_a_burst(start_worker: StartWorker) -> None:
    """Two workers with a cap of 2 and one Redis take four calls of one burst, two each."""
    first = start_worker("a", AGENT_NAME="both", AGENT_MAX_SESSIONS="2")
    second = start_worker("b", AGENT_NAME="both", AGENT_MAX_SESSIONS="2", REDIS_URL=first.valkey.url)
    await dispatch_at_once(first, "both", [f"share-{number}" for number in range(4)])
    await eventually(lambda: running(first) == 2 and running(second) == 2, "two calls each", within=20)
