"""A call's own figures reach the parent's /metrics once its record is made."""

import pytest

from tests.e2e.harness import RunningWorker, eventually
from tests.ops.conftest import StartWorker

pytestmark = pytest.mark.e2e


def figure(worker: RunningWorker, series: str) -> float:
    """One series of the worker's metrics; -1 when it is not there."""
    lines = worker.probe("/metrics")[1].splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series + " ")), -1.0)


async def test_a_call_is_counted_when_it_is_over(start_worker: StartWorker) -> None:
    """One idle call: its end, resolve time, first audio, timer and verdict are there, and no name is."""
    worker = start_worker("w")
    started = await worker.session(
        "metrics-1", user_id="mrs-parrot", overrides={"idle_timeout_seconds": 1.5, "goodbye": None}
    )
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.wait_event("ended", within=20, reason="idle")
    await worker.transcript("metrics-1")
    await eventually(lambda: figure(worker, 'agent_sessions_ended_total{reason="idle"}') == 1, "the end")
    assert figure(worker, "agent_resolve_seconds_count") == 1
    assert figure(worker, "agent_first_audio_seconds_count") == 1
    assert figure(worker, "agent_timer_error_seconds_count") >= 1
    assert figure(worker, 'agent_override_verdicts_total{verdict="applied"}') >= 1
    assert figure(worker, "agent_records_waiting") == 0
    assert figure(worker, 'agent_bundles{state="usable"}') >= 1
    text = worker.probe("/metrics")[1]
    assert "metrics-1" not in text
    assert "parrot" not in text
