"""Idle worker, memory that one more call adds, CPU per call-minute: N calls with audio both ways."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass

from benchmarks import processes
from benchmarks.stage import RunningWorker, Stage, wait_for_quiet
from benchmarks.switchboard import OpusCallers

SETTLE_SECONDS = 3.0
WARM_SECONDS = 10.0
"""From the last call's start until memory is read and CPU counted from: one turn of each call."""
WINDOW_SECONDS = 24.0
"""Three beats of each caller."""


@dataclass
class Round:
    """One variant, once."""

    variant: str
    calls: int
    served: int
    ready_seconds: float
    idle_mb: float
    total_mb: float
    per_call_mb: float
    private_mb: float | None
    """Median private memory of a job that serves; None where jobs are no processes."""
    cpu_per_call_minute: float
    heard_seconds: float
    """Speech of the agents that each caller heard in the window, mean."""
    foreign_cores: float
    """CPU that others took meanwhile, in cores."""
    by_process: dict[str, dict[str, float]]
    """PSS and USS in MB under load: the parent, the fork server, and the median job that serves."""


async def measure(stage: Stage, variant: str, calls: int) -> Round:
    """Start a worker, read it idle, put calls on it, read it again, stop it."""
    wait_for_quiet(5.0)
    worker, metadata = started(stage, variant)
    try:
        async with OpusCallers(stage.folder) as callers:
            await asyncio.sleep(SETTLE_SECONDS)
            idle_pids = worker.pids
            idle = processes.memory_mb(idle_pids)
            served = await bring(callers, stage, worker, metadata, calls)
            await asyncio.sleep(WARM_SECONDS)
            await callers.begin()
            cores, foreign_cores = await cores_taken(worker.pids, WINDOW_SECONDS)
            total = processes.memory_mb(worker.pids)
            heard = (await callers.report())["heard_seconds"]
            private = sorted((processes.private_mb(pid) for pid in worker.pids), reverse=True)[1 : calls + 1]
            by_process = processes.by_role(worker.pids, calls)
            await callers.hang_up()
    finally:
        worker.stop()
    return Round(
        variant=variant,
        calls=calls,
        served=served,
        ready_seconds=worker.ready_seconds,
        idle_mb=idle,
        total_mb=total,
        per_call_mb=(total - idle) / max(served, 1),
        private_mb=private[len(private) // 2] if private else None,
        cpu_per_call_minute=cores / max(served, 1) * 60,
        heard_seconds=sum(heard) / max(served, 1),
        foreign_cores=foreign_cores,
        by_process=by_process,
    )


async def bring(callers: OpusCallers, stage: Stage, worker: RunningWorker, metadata: str, calls: int) -> int:
    """Put so many calls more on a worker, whose callers speak; how many of these heard an agent."""
    served = 0
    for _ in range(calls):
        room = f"{worker.name}-{time.monotonic_ns()}"
        token = stage.token(room, "user", agent=worker.name, metadata=metadata)
        served += await callers.call(stage.livekit.url, token)
    return served


async def cores_taken(pids: list[int], seconds: float) -> tuple[float, float]:
    """CPU in cores over so many seconds: of these processes, and of everything else on the machine."""
    cpu, busy, at = processes.cpu_seconds(pids), processes.busy_seconds(), time.monotonic()
    await asyncio.sleep(seconds)
    window = time.monotonic() - at
    spent, taken = processes.cpu_seconds(pids) - cpu, processes.busy_seconds() - busy
    return spent / window, (taken - spent) / window


def started(stage: Stage, variant: str) -> tuple[RunningWorker, str]:
    """A worker of this variant, ready, and the metadata of a dispatch to it."""
    match variant:
        case "bare":
            return stage.bare(), ""
        case "bare-trimmed":
            return stage.bare("bare-trimmed", BARE_TRIM="1"), ""
        case "openrtc":
            return stage.openrtc(), ""
        case "ours" | "lean":
            return stage.ours(), json.dumps({"bundle": "talk" if variant == "ours" else "lean"})
    raise ValueError(variant)


async def run(stage: Stage, *, rounds: int, calls: int, variants: tuple[str, ...]) -> list[dict[str, object]]:
    """Rounds of all variants, in turn."""
    found = []
    for _ in range(rounds):
        for variant in variants:
            one = await measure(stage, variant, calls)
            print(json.dumps(asdict(one)), flush=True)
            found.append(asdict(one))
    return found
