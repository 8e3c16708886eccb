"""Signals: no new job, sessions told; those in time end as always, the rest say goodbye; nothing is lost."""

import os
import signal
import time

import pytest

from tests.e2e.harness import RunningWorker, said
from tests.ops.conftest import StartWorker

pytestmark = pytest.mark.e2e


def send(worker: RunningWorker, number: signal.Signals, *, group: bool) -> None:
    """To the parent alone, as `docker stop` does, or to all of its processes, as Ctrl-C and systemd do."""
    assert worker.process is not None
    if group:
        os.killpg(worker.process.pid, number)
    else:
        worker.signal(number)


def status_of(worker: RunningWorker, patience: float = 40.0) -> int:
    """Wait for the worker's own end."""
    assert worker.process is not None
    return worker.process.wait(patience)


@pytest.mark.parametrize("group", [False, True], ids=["parent", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_session_that_outlasts_the_drain_gets_its_goodbye_and_its_record(
    start_worker: StartWorker, number: signal.Signals, group: bool
) -> None:
    """Whoever gets the signal: the user is warned, hears the goodbye, the record has the reason, exit 0."""
    worker = start_worker("w", AGENT_DRAIN_SECONDS="1")
    started = await worker.session("drain-1", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        send(worker, number, group=group)
        warning = await caller.wait_event("warning")
        assert (warning["kind"], warning["seconds_left"] <= 1.0) == ("drain", True)
        await caller.wait_words("The call ends now", within=15)
        await caller.wait_event("ended", within=15, reason="worker_drain")
    assert status_of(worker) == 0
    record = await worker.transcript("drain-1")
    assert record["end_reason"] == "worker_drain"
    assert said(record, "assistant")[-1] == "The call ends now."


async def test_a_session_that_ends_in_time_ends_as_always(start_worker: StartWorker) -> None:
    """A draining worker is not ready, keeps its call, lets the caller end it, and leaves at once then."""
    worker = start_worker("w", AGENT_DRAIN_SECONDS="60")
    started = await worker.session("drain-2", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        worker.signal(signal.SIGTERM)
        await caller.wait_event("warning")
        assert worker.probe("/readyz") == (503, "draining\n")
        assert worker.probe("/livez")[0] == 200
        await caller.say("thank you goodbye")
        await caller.wait_event("ended", within=15, reason="agent_ended")
    assert status_of(worker) == 0
    assert (await worker.transcript("drain-2"))["end_reason"] == "agent_ended"


async def test_a_second_signal_hurries_and_loses_nothing(start_worker: StartWorker) -> None:
    """With a minute of drain left a second SIGTERM brings the goodbye at once, and the record as well."""
    worker = start_worker("w", AGENT_DRAIN_SECONDS="60")
    started = await worker.session("drain-3", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        worker.signal(signal.SIGTERM)
        await caller.wait_event("warning")
        hurried = time.monotonic()
        worker.signal(signal.SIGTERM)
        await caller.wait_words("The call ends now", within=15)
        await caller.wait_event("ended", within=15, reason="worker_drain")
    assert status_of(worker) == 0
    assert time.monotonic() - hurried < 50.0, "it did not wait for the drain"
    assert (await worker.transcript("drain-3"))["end_reason"] == "worker_drain"


async def test_a_worker_says_at_start_how_long_its_end_may_take(start_worker: StartWorker) -> None:
    """The budget in the log is what an orchestrator has to allow, and an idle worker needs none of it."""
    worker = start_worker("w", AGENT_DRAIN_SECONDS="7", AGENT_LOG_FORMAT="text")
    assert "a stop takes at most 42 s" in worker.log_text()
    assert worker.stop() == 0
