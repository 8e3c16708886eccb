"""
Records of calls whose process was killed: is everything there, exactly once, and how soon.

    python -m benchmarks.records [--jobs 1000] [--at-once 4] [--times 10] [--json FILE [--more]]

Real workers and real job processes (`agent start`) on LiveKit and Valkey of this machine. A user writes to
the agent as fast as it answers; at a random moment, from before the user came until two seconds later, the
job gets SIGKILL, and its bundle says `on_crash: end`. A witness in the jobs (benchmarks/witness.py) notes
each entry that was acknowledged; each must be in the record, and there must be one record per session.

A thousand kills take a while: `--json FILE --more` adds the kills of this go to those in the file and prints
the sum over all goes.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis.asyncio
from sqlalchemy import Engine, func, select

from agent.demo.caller import Caller, CallerError
from agent.rehearsal import SESSION as REHEARSED
from agent.settings import Settings
from agent.starting import NotStartedError, Started, Wanted, start_session
from agent.transcripts.database import open_engine
from agent.transcripts.entries import EntryId, entry_id
from agent.transcripts.migrations import upgrade
from agent.transcripts.recorded import read_entries
from agent.transcripts.tables import transcripts
from benchmarks.processes import tree
from benchmarks.report import middle, p95
from benchmarks.stage import RunningWorker, Stage

BUNDLES = Path(__file__).parent / "crash_bundles"
LATEST_KILL_SECONDS = 2.0
RECORD_SECONDS = 60.0
LOOK_SECONDS = 0.005
WORDS = ("what are your opening hours", "where is my order", "and something else")


class Desk:
    """A worker whose jobs have a witness, the database it writes, and the sessions that were started."""

    def __init__(self, stage: Stage, name: str, database: str | None = None) -> None:
        self.stage, self.name = stage, name
        self.witness = stage.folder / f"{name}.witness"
        self.database = database or f"sqlite:///{stage.folder / name / 'agent.db'}"
        self.worker: RunningWorker
        self.engine: Engine
        upgrade(self.database)
        self.start()

    def start(self) -> None:
        """Start the worker, again too."""
        self.worker = self.stage.ours(
            self.name,
            AGENT_BUNDLES=str(BUNDLES),
            AGENT_DEFAULT_BUNDLE="crash",
            AGENT_MODULES="benchmarks.witness,agent.demo.tools",
            BENCH_WITNESS=str(self.witness),
            DATABASE_URL=self.database,
        )
        self.engine = open_engine(self.database)

    def settings(self) -> Settings:
        """For the commands that start sessions."""
        return self.stage.settings(self.name)

    def is_recorded(self, session_id: str) -> bool:
        """Whether the record is there."""
        with self.engine.connect() as connection:
            asked = select(transcripts.c.session_id).where(transcripts.c.session_id == session_id)
            return connection.execute(asked).first() is not None

    async def recorded(self, session_id: str) -> float:
        """Wait for the record; when it was seen, on the monotonic clock."""
        until = time.monotonic() + RECORD_SECONDS
        while not self.is_recorded(session_id):
            if time.monotonic() > until:
                raise RuntimeError(f"no record of {session_id} within {RECORD_SECONDS:g} s")
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic()

    async def begin(self, session_id: str) -> Started:
        """Start a session as an application does."""
        return await start_session(self.settings(), Wanted(session_id=session_id, bundle="crash"))

    async def pid(self, session_id: str) -> int:
        """Process of the session's job."""
        async with redis.asyncio.Redis.from_url(self.stage.valkey.url, decode_responses=True) as client:
            pid = await client.hget(f"session:{session_id}:state", "pid")
        return int(pid or 0)

    def acknowledged(self) -> dict[str, set[EntryId]]:
        """The entries that the witness saw, by session; a last line that a kill cut does not count."""
        found: dict[str, set[EntryId]] = defaultdict(set)
        for line in self.witness.read_text().splitlines():
            session_id, attempt, writer, number = line.split(" ")
            if session_id == REHEARSED:  # the dry run before the fork is nobody's session
                continue
            found[session_id].add((int(attempt), writer, int(number)))
        return found


async def talk(caller: Caller) -> None:
    """Write and wait for the answer, until the call is over."""
    with suppress(CallerError, Exception):
        while True:
            await caller.write(random.choice(WORDS))
            await asyncio.sleep(random.uniform(0.15, 0.5))


async def kill_one(desk: Desk, session_id: str, seconds: float) -> float:
    """A session whose process is killed after so many seconds; seconds from death to record."""
    started = await desk.begin(session_id)
    pid = await desk.pid(session_id)
    caller = Caller(started.url, started.token, microphone=False)

    async def call() -> None:
        # Not cancelled while it connects: the library ends the whole process when nobody takes the answer.
        with suppress(CallerError):
            await caller.join(within=60)
        joined.set()
        await talk(caller)

    joined = asyncio.Event()
    calling = asyncio.create_task(call())
    try:
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        return await desk.recorded(session_id) - killed
    finally:
        await joined.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await caller.leave()


async def kills(stage: Stage, jobs: int, at_once: int) -> dict[str, Any]:
    """Kill `jobs` processes at random moments; what is missing afterwards."""
    desk = Desk(stage, "kills")
    numbers = iter(range(jobs))
    refused: list[str] = []
    took: list[float] = []

    async def worker() -> None:
        for number in numbers:
            try:
                took.append(await kill_one(desk, f"k-{number}", random.uniform(0.0, LATEST_KILL_SECONDS)))
            except NotStartedError as exc:
                refused.append(f"k-{number}: {exc}")
            if (number + 1) % 50 == 0:
                print(f"  {number + 1} of {jobs}", file=sys.stderr, flush=True)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    acknowledged = desk.acknowledged()
    missing = held = 0
    with desk.engine.connect() as connection:
        records = connection.scalar(select(func.count()).select_from(transcripts)) or 0
        reasons: Counter[str] = Counter(connection.execute(select(transcripts.c.end_reason)).scalars().all())
        for session_id, expected in acknowledged.items():
            entries = read_entries(connection, session_id) or []
            here = {entry_id(entry) for entry in entries}
            held += len(expected)
            missing += len(expected - here)
    desk.engine.dispose()
    desk.worker.stop()
    return {
        "goes": 1, "asked": jobs, "jobs": len(took), "not_started": refused, "acknowledged": held,
        "missing": missing, "records": records, "reasons": dict(reasons), "death_to_record": took,
    }  # fmt: skip


def added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The kills of two goes as those of one."""
    reasons = Counter(one["reasons"]) + Counter(other["reasons"])
    return {name: one[name] + other[name] for name in one if name != "reasons"} | {"reasons": dict(reasons)}


def report(found: dict[str, Any]) -> bool:
    """Print what the kills left; whether nothing is missing and each session has exactly one record."""
    goes = "" if found["goes"] == 1 else f" in {found['goes']} goes"
    print(
        f"{found['jobs']} SIGKILLs of real jobs{goes}: of {found['acknowledged']} acknowledged entries "
        f"{found['missing']} are missing (limit 0)"
    )
    print(f"  records {found['records']} (limit: exactly {found['asked']}), ended as {found['reasons']}")
    for line in found["not_started"]:
        print(f"  not started: {line}")
    _print("death to record, several calls at once", found["death_to_record"])
    return bool(found["missing"] == 0 and found["records"] == found["jobs"] == found["asked"])


async def ends(stage: Stage, times: int) -> dict[str, list[float]]:
    """Seconds to the record, one call at a time: after SIGKILL of a job, and after a normal end."""
    desk = Desk(stage, "ends")
    found: dict[str, list[float]] = {"job killed, on_crash: end": [], "normal end": []}
    async with redis.asyncio.Redis.from_url(stage.valkey.url) as client:
        for number in range(times):
            found["job killed, on_crash: end"].append(await kill_one(desk, f"e-{number}", 1.0))
            started = await desk.begin(f"n-{number}")
            async with Caller(started.url, started.token, microphone=False) as caller:
                await caller.wait_words("Welcome", within=15)
                await caller.write(WORDS[0])
                await caller.wait_words("nine to five", within=15)
                await client.xadd(f"session:n-{number}:commands", {"command": "end"})
                await caller.wait_event("ended", within=20)
                told = time.monotonic()
                found["normal end"].append(await desk.recorded(f"n-{number}") - told)
    desk.engine.dispose()
    desk.worker.stop()
    return found


async def worker_deaths(stage: Stage, times: int) -> dict[str, list[float]]:
    """Seconds to the record when worker and jobs die together: restarted, or its machine gone for good."""
    again, ready, gone = [], [], []
    for number in range(times):
        desk = Desk(stage, f"again{number}")
        killed = await _kill_worker(desk, f"w-{number}")
        await asyncio.to_thread(desk.start)
        up = time.monotonic()
        at = await desk.recorded(f"w-{number}")
        again.append(at - killed)
        ready.append(max(0.0, at - up))
        desk.engine.dispose()
        desk.worker.stop()

        shared = f"sqlite:///{stage.folder / f'shared{number}.db'}"
        first = Desk(stage, f"gone{number}", shared)
        killed = await _kill_worker(
            first, f"g-{number}", other=partial(Desk, stage, f"other{number}", shared)
        )
        gone.append(await first.recorded(f"g-{number}") - killed)
        first.engine.dispose()
        for worker in list(stage.workers):
            worker.stop()
    return {
        "worker killed, started again": again,
        "… of that, after it was ready": ready,
        "worker killed for good, another one alive": gone,
    }


async def _kill_worker(desk: Desk, session_id: str, other: Any = None) -> float:
    """SIGKILL a worker and all its processes in the middle of a call; when that was."""
    started = await desk.begin(session_id)
    async with Caller(started.url, started.token, microphone=False) as caller:
        await caller.wait_words("Welcome", within=15)
        await caller.write(WORDS[0])
        await caller.wait_words("nine to five", within=15)
        if other is not None:
            await asyncio.to_thread(other)
        process = desk.worker.process
        assert process is not None
        for pid in tree(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        desk.stage.workers.remove(desk.worker)
        return time.monotonic()


def main() -> int:
    """Exit status 0 if nothing acknowledged is missing and there are exactly as many records as sessions."""
    parser = argparse.ArgumentParser(prog="benchmarks.records", description=__doc__)
    parser.add_argument("--jobs", type=int, default=30, help="processes to kill at random moments")
    parser.add_argument("--at-once", type=int, default=4, help="calls at once meanwhile")
    parser.add_argument("--times", type=int, default=10, help="ends of each kind to measure")
    parser.add_argument("--restarts", type=int, default=2, help="deaths of whole workers to measure")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--more", action="store_true", help="add the kills to those in the file of --json")
    asked = parser.parse_args()
    if asked.more and asked.json is None:
        parser.error("--more goes with --json")
    results: dict[str, Any] = {}
    good = True
    with Stage() as stage:
        if asked.jobs:
            found = asyncio.run(kills(stage, asked.jobs, asked.at_once))
            if asked.more and asked.json.exists():
                found = added(json.loads(asked.json.read_text())["kills"], found)
            results["kills"] = found
            good = report(found)
        times = results["times"] = {}
        if asked.times:
            times |= asyncio.run(ends(stage, asked.times))
        if asked.restarts:
            times |= asyncio.run(worker_deaths(stage, asked.restarts))
        for name, seconds in times.items():
            _print(name, seconds)
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if good else 1


def _print(name: str, seconds: list[float]) -> None:
    print(
        f"  {name:<42} median {middle(seconds):6.2f} s   p95 {p95(seconds):6.2f} s   "
        f"max {max(seconds):6.2f} s   of {len(seconds)}"
    )


if __name__ == "__main__":
    sys.exit(main())
