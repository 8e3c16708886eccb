"""
Signals: no new job, sessions told; those in time end as always, the rest say goodbye; nothing is lost.

Each kind of signal ends a worker, and each worker shows several things on the way: four workers, started
together, for all of it.
"""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker, said

pytestmark = pytest.mark.e2e

KINDS = {
    # name: signal, to the whole process group (Ctrl-C, systemd) or the parent alone (`docker stop`), drain
    "term": (signal.SIGTERM, False, "60"),
    "group-int": (signal.SIGINT, True, "60"),
    "int": (signal.SIGINT, False, "1"),
    "group-term": (signal.SIGTERM, True, "1"),
}
PATIENT = [kind for kind, (_, _, drain) in KINDS.items() if drain == "60"]
BRIEF = [kind for kind, (_, _, drain) in KINDS.items() if drain == "1"]


@pytest.fixture(scope="module")
def workers(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, RunningWorker]]:
    """One worker for each kind of signal."""
    found = {
        kind: RunningWorker(
            livekit_server,
            tmp_path_factory.mktemp(kind),
            environment={
                "AGENT_NAME": f"drain-{kind}", "AGENT_DRAIN_SECONDS": drain, "AGENT_LOG_FORMAT": "text",
            },
        )
        for kind, (_, _, drain) in KINDS.items()
    }  # fmt: skip
    try:
        for worker in found.values():
            worker.start(wait=False)
        for worker in found.values():
            worker.wait_ready()
        yield found
    finally:
        for worker in found.values():
            worker.stop()


def send(worker: RunningWorker, kind: str) -> None:
    """The signal, as whoever sends it does."""
    number, to_group, _ = KINDS[kind]
    assert worker.process is not None
    if to_group:
        os.killpg(worker.process.pid, number)
    else:
        worker.signal(number)


async def status_of(worker: RunningWorker, patience: float = 50.0) -> int:
    """Wait for the worker's own end."""
    assert worker.process is not None
    return await asyncio.to_thread(worker.process.wait, patience)


@pytest.mark.parametrize("kind", BRIEF)
async def test_a_session_that_outlasts_the_drain_gets_its_goodbye_and_its_record(
    workers: Mapping[str, RunningWorker], kind: str
) -> None:
    """Whoever gets the signal: the user is warned, hears the goodbye, the record has the reason, exit 0."""
    worker = workers[kind]
    started = await worker.session(kind, user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        send(worker, kind)
        warning = await caller.wait_event("warning")
        assert (warning["kind"], warning["seconds_left"] <= 1.0) == ("drain", True)
        await caller.wait_words("The call ends now", within=15)
        await caller.wait_event("ended", within=15, reason="worker_drain")
    assert await status_of(worker) == 0
    record = await worker.transcript(kind)
    assert record["end_reason"] == "worker_drain"
    assert said(record, "assistant")[-1] == "The call ends now."


@pytest.mark.parametrize("kind", PATIENT)
async def test_a_drain_lets_calls_end_and_a_second_signal_hurries_the_others(
    workers: Mapping[str, RunningWorker], kind: str
) -> None:
    """
    With a minute of drain: not ready, yet alive; a caller who ends in time ends as always; the second signal
    brings the goodbye of the other one, and both records are there.
    """
    worker = workers[kind]
    ends, stays = [await worker.session(f"{kind}-{name}", user_id="u1") for name in ("ends", "stays")]
    async with worker.caller(ends) as brief, worker.caller(stays) as long:
        await brief.heard_all(after=brief.joined_at)
        send(worker, kind)
        for caller in (brief, long):
            assert (await caller.wait_event("warning"))["kind"] == "drain"
        assert worker.probe("/readyz") == (503, "draining\n")
        assert worker.probe("/livez")[0] == 200
        await brief.write("thank you goodbye")
        await brief.wait_event("ended", within=15, reason="agent_ended")
        assert not [event for event in long.events if event["type"] == "ended"]
        send(worker, kind)
        await long.wait_words("The call ends now", within=15)
        await long.wait_event("ended", within=15, reason="worker_drain")
    assert await status_of(worker) == 0, "well before the drain is over"
    assert (await worker.transcript(f"{kind}-ends"))["end_reason"] == "agent_ended"
    assert (await worker.transcript(f"{kind}-stays"))["end_reason"] == "worker_drain"


def test_a_worker_says_at_start_how_long_its_end_may_take(workers: Mapping[str, RunningWorker]) -> None:
    """The budget in the log is what an orchestrator has to allow."""
    assert "a stop takes at most 95 s: 60 s for sessions to end" in workers["term"].log_text()
    assert "a stop takes at most 36 s: 1 s for sessions to end" in workers["int"].log_text()
