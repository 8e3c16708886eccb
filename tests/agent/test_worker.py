"""What a worker takes and what it leaves to others, asked of the worker itself without a LiveKit."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import create_engine

from agent import health, library, worker
from agent.admission import FULL_LOAD
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
            usable=lambda: self.startable, troubles=list, providers=lambda: frozenset[str]()
        )
        self.worker = Worker(self.settings, cast(Any, bundles), create_engine("sqlite://"))
        cast(Any, self.worker._server)._proc_pool = SimpleNamespace(processes=[])
        cast(Any, self.worker)._records = SimpleNamespace(
            waiting_seconds=lambda: self.waited, problem="the database is away"
        )

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
        self.room = SimpleNamespace(name=f"room-{number}")
        self.answer: object = None

    async def accept(self, *, identity: str) -> None:
        self.answer = identity

    async def reject(self, *, terminate: bool = True) -> None:
        self.answer = ("rejected", terminate)


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
