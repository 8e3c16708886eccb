"""What a worker takes and what it leaves to others, asked of the worker itself without a LiveKit."""

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit.agents import AssignmentTimeoutError
from livekit.protocol.agent import Job
from livekit.protocol.models import Room
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import create_engine

from agent import health, library, worker
from agent.admission import FULL_LOAD
from agent.recovery import DeadJob
from agent.settings import Settings
from agent.worker import RECORDS_WAIT_SECONDS, Worker


class Alone:
    """A worker that LiveKit knows, with a bundle, and what can go wrong with it."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(
            livekit_url="ws://127.0.0.1:1",
            livekit_api_key="key",
            livekit_api_secret=SecretStr("s" * 32),
            redis_url=SecretStr("redis://127.0.0.1:1/0"),
            data=data,
            worker_id="w",
        )
        self.startable: tuple[str, ...] = ("talk",)
        self.waited = 0.0
        bundles = SimpleNamespace(
            usable=lambda: self.startable, troubles=list, providers=frozenset, key_variables=frozenset
        )
        self.worker = Worker(self.settings, cast(Any, bundles), create_engine("sqlite://"))
        cast(Any, self.worker._server)._proc_pool = SimpleNamespace(processes=[])
        cast(Any, self.worker)._records = SimpleNamespace(
            waiting_seconds=lambda: self.waited, problem="the database is away"
        )

    def with_cap(self, sessions: int) -> Worker:
        """The same worker with another cap."""
        bundles = SimpleNamespace(
            usable=lambda: self.startable, troubles=list, providers=frozenset, key_variables=frozenset
        )
        settings = self.settings.model_copy(update={"max_sessions": sessions})
        found = Worker(settings, cast(Any, bundles), create_engine("sqlite://"))
        cast(Any, found._server)._proc_pool = SimpleNamespace(processes=[])
        return found

    def adopts(self) -> bool:
        """Whether it would look for the sessions of dead workers now."""
        return self.worker._begin_judging(cast(Any, None))._ready()

    def lose_journals(self) -> None:
        """Something is where the folder of journals was."""
        shutil.rmtree(self.settings.journals, ignore_errors=True)
        self.settings.journals.write_text("in the way")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alone:
    """A worker that could take calls; what it sees of its disk is never old."""
    monkeypatch.setattr(worker, "pass_on", lambda **_: None)  # the environment of other tests
    monkeypatch.setattr(library, "is_registered", lambda _: True)
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.0)
    return Alone(tmp_path)


def test_records_that_wait_keep_no_session_from_being_adopted(alone: Alone) -> None:
    """A worker whose records wait too long says so, and is there for the sessions of a dead worker."""
    alone.waited = RECORDS_WAIT_SECONDS + 1
    assert list(alone.worker.unready()) == ["records cannot be made: the database is away"]
    assert alone.adopts()


@pytest.mark.parametrize("lost", ["journals", "bundles", "livekit", "drain"])
def test_what_no_call_can_do_without_keeps_sessions_from_being_adopted(
    alone: Alone, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place for journals, a bundle or LiveKit, or in a drain, others have to adopt."""
    assert alone.adopts()
    match lost:
        case "journals":
            alone.lose_journals()
        case "bundles":
            alone.startable = ()
        case "livekit":
            monkeypatch.setattr(library, "is_registered", lambda _: False)
        case "drain":
            alone.worker._asked_to_stop()
    assert not alone.adopts()
    assert len(alone.worker.unready()) == 1


class Offer:
    """Stands for a job that LiveKit offers."""

    def __init__(self, number: int) -> None:
        self.id = f"AJ_{number}"
        self.job = Job(id=self.id, room=Room(name=f"room-{number}"), agent_name="agent")
        self.room = self.job.room
        self.answer: object = None

    async def accept(self, *, identity: str) -> None:
        self.answer = identity

    async def reject(self, *, terminate: bool = True) -> None:
        self.answer = ("rejected", terminate)


class SlowOffer(Offer):
    """A job for which the library waits for a process, which comes or does not."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.process: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.taken = asyncio.Event()

    async def accept(self, *, identity: str) -> None:
        self.answer = identity
        self.taken.set()
        await self.process


async def offered(alone: Alone, number: int) -> tuple[object, float]:
    """What a job gets for an answer, and how many were answered `unready` so far."""
    offer = Offer(number)
    await alone.worker.admission.answer(cast(Any, offer))
    unready = REGISTRY.get_sample_value("agent_job_requests_total", {"answer": "unready"})
    return offer.answer, unready or 0.0


async def test_records_that_wait_refuse_no_job(alone: Alone) -> None:
    """A database that is away, or one record that can never be made, stops no calls."""
    alone.waited = RECORDS_WAIT_SECONDS + 1
    assert alone.worker.admission.load() < 0.7
    assert (await offered(alone, 4))[0] == "agent-AJ_4"


@pytest.mark.parametrize("lost", ["journals", "bundles"])
async def test_a_worker_that_lacks_what_calls_need_leaves_jobs_to_others(alone: Alone, lost: str) -> None:
    """
    While a call could not be served LiveKit is told of a full worker, and a job that comes all the same is
    left to others at once; afterwards jobs are taken again.
    """
    taken, before = await offered(alone, 1)
    assert taken == "agent-AJ_1"
    assert alone.worker.admission.load() < 0.7
    match lost:
        case "journals":
            alone.lose_journals()
        case "bundles":
            alone.startable = ()
    assert alone.worker.admission.load() == FULL_LOAD
    assert await offered(alone, 2) == (("rejected", False), before + 1)

    alone.startable = ("talk",)
    if lost == "journals":
        alone.settings.journals.unlink()
    assert alone.worker.admission.load() < 0.7
    assert await offered(alone, 3) == ("agent-AJ_3", before + 1)


async def test_telling_the_load_hardly_touches_the_disk(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load is told from what was seen a moment ago; a job and `/readyz` have the disk as it is."""
    looks: list[Path] = []
    monkeypatch.setattr(health, "unwritable", looks.append)
    monkeypatch.setattr(health, "LOOK_SECONDS", 3600.0)
    for _ in range(3):
        alone.worker.admission.load()
    assert len(looks) == 1
    await offered(alone, 1)
    alone.worker.unready()
    assert len(looks) == 3


async def test_a_job_counts_until_it_has_a_process(tmp_path: Path, alone: Alone) -> None:
    """However long the library waits for a process: the cap is no matter of time."""
    admission = alone.with_cap(1).admission
    slow = SlowOffer(1)
    taking = asyncio.create_task(admission.answer(cast(Any, slow)))
    await slow.taken.wait()
    assert admission.load() == FULL_LOAD
    assert [request.id for request in admission.starting()] == ["AJ_1"]
    second = Offer(2)
    await admission.answer(cast(Any, second))
    assert second.answer == ("rejected", False)

    slow.process.set_result(None)
    await taking
    assert admission.sessions() == 0, "it runs now, where the library counts it, or it has ended"


@pytest.mark.parametrize(("trouble", "given_back"), [(RuntimeError, True), (AssignmentTimeoutError, False)])
async def test_a_job_without_a_process_is_given_back(
    alone: Alone, trouble: type[Exception], given_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process could be had for what was taken: it is judged as a dead one, unless it was never sent."""
    judged: list[DeadJob] = []

    async def judge(dead: DeadJob) -> None:
        judged.append(dead)

    monkeypatch.setattr(alone.worker, "_judge_dead", judge)
    slow = SlowOffer(1)
    slow.process.set_exception(trouble())
    with pytest.raises(trouble):
        await alone.worker.admission.answer(cast(Any, slow))
    await asyncio.gather(*alone.worker._tasks)

    assert [(dead.job_id, dead.room, dead.identity) for dead in judged] == (
        [("AJ_1", "room-1", "agent-AJ_1")] if given_back else []
    )
    assert alone.worker.admission.sessions() == 0


async def test_a_drain_waits_for_what_was_taken_and_then_gives_it_back(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that has no process yet gets the time of the drain; when that is over another worker gets it."""
    judged: list[str] = []

    async def judge(dead: DeadJob) -> None:
        judged.append(dead.job_id)

    monkeypatch.setattr(alone.worker, "_judge_dead", judge)
    monkeypatch.setattr(library, "is_registered", lambda _: False)
    in_time, late = SlowOffer(1), SlowOffer(2)
    taking = []
    for offer in (in_time, late):
        taking.append(asyncio.create_task(alone.worker.admission.answer(cast(Any, offer))))
        await offer.taken.wait()
    draining = asyncio.create_task(alone.worker._end_sessions(3600.0))
    in_time.process.set_result(None)
    await taking[0]
    assert not draining.done()
    alone.worker._asked_to_stop()
    await draining
    await asyncio.gather(*alone.worker._tasks)

    assert judged == ["AJ_2"]
    late.process.set_result(None)
    await taking[1]


async def test_a_worker_that_drains_has_no_room(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heartbeat says so, for whoever wants to know why nobody took a session."""
    monkeypatch.setattr(library, "is_registered", lambda _: False)
    alone.worker.admission.load()
    before = alone.worker._heartbeat.occupancy
    assert (before.sessions, before.cap) == (0, alone.settings.session_cap)
    await alone.worker._end_sessions(0.0)
    assert alone.worker._heartbeat.occupancy.cap == 0


def test_a_signal_that_comes_last_changes_no_status() -> None:
    """Between the end of the drain and the end of the process a signal does nothing."""
    program = (
        "import asyncio, signal, sys\n"
        "from agent.worker import hear_no_more_signals\n"
        "async def main():\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)\n"
        "    hear_no_more_signals()\n"
        "asyncio.run(main())\n"
        "print('left', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    leaving = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert leaving.stdout is not None
    assert leaving.stdout.readline() == "left\n"
    leaving.send_signal(signal.SIGTERM)
    leaving.send_signal(signal.SIGINT)
    leaving.communicate("go\n", timeout=30)

    assert leaving.returncode == 0
