"""Two workers on the same stores: a session comes once, whatever is asked, and outlives one of them."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from livekit import api, rtc

from agent.demo.caller import Caller
from agent.running import end_session
from agent.services.livekit_server import LiveKitServer
from benchmarks import processes
from tests.e2e.harness import RunningWorker, dispatch_metadata, eventually, said

pytestmark = pytest.mark.e2e

Pair = tuple[RunningWorker, RunningWorker]
GREETING = "Welcome to the shop."


@pytest.fixture(scope="module")
def pair(livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two workers under one name, on one folder, Redis and database."""
    data = tmp_path_factory.mktemp("pair")
    environment = {"AGENT_NAME": "pair"}
    workers = [RunningWorker(livekit_server, data, environment=environment) for _ in range(2)]
    try:
        for worker in workers:
            worker.start(wait=False)
        for worker in workers:
            worker.wait_ready()
        yield workers[0], workers[1]
    finally:
        for worker in workers:
            worker.stop()


async def dispatch(worker: RunningWorker, session_id: str) -> None:
    """CreateDispatch, as an application does it."""
    request = api.CreateAgentDispatchRequest(
        agent_name="pair",
        room=session_id,
        metadata=dispatch_metadata(session_id=session_id, bundle="talk"),
    )
    async with worker.livekit() as lkapi:
        await lkapi.agent_dispatch.create_dispatch(request)


async def test_dispatches_at_any_distance_bring_one_agent(pair: Pair) -> None:
    """Asked for twice at once, a moment apart and while it talks: one agent, one greeting, one record."""
    worker = pair[0]

    async def one(session_id: str, apart: float) -> None:
        async with Caller(worker.server.url, worker.token(session_id, "u1")) as caller:
            await dispatch(worker, session_id)
            await asyncio.sleep(apart)
            await asyncio.gather(dispatch(worker, session_id), dispatch(worker, session_id))
            await caller.wait_words("Welcome", within=20)
            await caller.heard_all(after=caller.joined_at)
            assert caller.agents_seen == [p.identity for p in caller.room.remote_participants.values()]
            assert len(caller.agents_seen) == 1
            await end_session(worker.settings, session_id, reason="operator", wait=False)
            await caller.wait_left(within=20)
        record = await worker.transcript(session_id)
        assert said(record, "assistant").count(GREETING) == 1
        assert len(record["attempts"]) == 1

    distances = (0.0, 0.02, 0.2, 1.0)
    await asyncio.gather(*(one(f"twice-{n}", apart) for n, apart in enumerate(distances)))
    log = worker.log_text()  # both write into one
    superseded = sum(
        f"twice-{n}" in line and "superseded" in line for line in log.splitlines() for n in range(4)
    )
    assert superseded == 2 * len(distances), "two of each three jobs left unseen"


async def test_without_redis_two_agents_meet_and_one_leaves(pair: Pair) -> None:
    """Redis does not answer at the claim: both join, the later in order leaves, the other talks."""
    worker = pair[0]
    async with worker.redis() as client:
        store = int((await client.info("server"))["process_id"])
    async with Caller(worker.server.url, worker.token("no-store", "u1")) as caller:
        os.kill(store, signal.SIGSTOP)
        try:
            await asyncio.gather(dispatch(worker, "no-store"), dispatch(worker, "no-store"))
            await caller.wait_words("Welcome", within=30)
            yielded = "another agent serves this session"
            await eventually(lambda: yielded in worker.log_text(), "one of them leaves", 20)
            await caller.until(lambda: len(agents(caller)) == 1, "one agent", within=20)
            (stays,) = agents(caller)
            await caller.heard_all(after=caller.joined_at)
            spoken = await caller.ask("what are your opening hours")
            await caller.wait_words("nine to five", after=spoken.end, within=20)
            await caller.heard_all(after=spoken.end)
            answers = [caption for caption in caller.captions if "nine to five" in caption.text]
            await caller.ask("thank you goodbye")
            await caller.wait_left(within=30)
        finally:
            os.kill(store, signal.SIGCONT)
    record = await worker.transcript("no-store", within=40)

    assert stays == min(caller.agents_seen)
    assert len(answers) == 1
    assert (record["end_reason"], len(record["attempts"])) == ("agent_ended", 1)
    assert said(record, "assistant").count(GREETING) <= 1, "the one that left has left no trace"
    assert said(record, "user") == ["what are your opening hours", "thank you goodbye"]


def agents(caller: Caller) -> list[str]:
    """The agents in the room now."""
    kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    return [p.identity for p in caller.room.remote_participants.values() if p.kind == kind]


async def test_another_worker_takes_the_calls_of_a_killed_one(pair: Pair) -> None:
    """The worker that serves a call is killed with SIGKILL: the other one is heard in its place."""
    started = await pair[0].session("pair-1")
    owner = (await pair[0].state("pair-1"))["pid"]
    first, second = pair if int(owner) in children(pair[0]) else (pair[1], pair[0])
    async with first.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        killed = first.kill()
        back = await caller.heard_speech(after=killed + 0.2, within=15)
        await caller.wait_event("resumed", attempt=2)
        await caller.heard_all(after=back.start)
        await caller.ask("thank you goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)
    record = await second.transcript("pair-1")

    print(f"silence {back.start - killed:.2f} s")
    assert len(record["attempts"]) == 2
    assert said(record, "assistant").count(GREETING) == 1


def children(worker: RunningWorker) -> set[int]:
    """The processes below a worker's parent."""
    assert worker.process is not None
    return set(processes.tree(worker.process.pid))
