"""
How many calls a machine holds with no late audio: calls are added step by step until a step does not hold.

The server and the callers share the machine with the worker, for each variant alike. A step holds while every
call is served, receivers would have to make up hardly any sound (opus_callers/playout.go), and each caller
hears as much speech as at the first step: a worker that is too slow lets its audio come late, or answers so
late that turns are lost.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass

from benchmarks import processes
from benchmarks.load import bring, cores_taken, started
from benchmarks.stage import Stage, wait_for_quiet
from benchmarks.switchboard import CallersEndedError, OpusCallers

STEPS = (1, 4, 6, *range(8, 33))
SETTLE_SECONDS = 9.0
"""From the last call of a step to its window: one beat of each caller."""
WINDOW_SECONDS = 16.0
"""Two beats."""
LATE_SHARE = 0.01
"""Most of the sound that receivers may make up."""
HEARD_SHARE = 0.9
"""Least of the speech that a call hears of what a call hears when there are few."""


@dataclass
class Step:
    """So many calls at once, for one window."""

    variant: str
    climb: int
    calls: int
    served: int
    late_share: float
    """Of the sound that is no silence, how much receivers would have to make up."""
    heard_seconds: float
    """Speech of the agents that each caller heard, mean."""
    total_mb: float
    cores: float
    """CPU of the worker's processes."""
    foreign_cores: float
    """CPU of everything else: server, callers, other programs."""
    holds: bool


async def climb(stage: Stage, variant: str, most: int, number: int) -> list[Step]:
    """One variant, up to the first step that does not hold."""
    wait_for_quiet(5.0)
    worker, metadata = started(stage, variant)
    steps: list[Step] = []
    served = 0
    try:
        async with OpusCallers(stage.folder) as callers:
            for calls in (step for step in STEPS if step <= most):
                before = steps[-1].calls if steps else 0
                served += await bring(callers, stage, worker, metadata, calls - before)
                await asyncio.sleep(SETTLE_SECONDS)
                await callers.begin()
                cores, foreign_cores = await cores_taken(worker.pids, WINDOW_SECONDS)
                report = await callers.report()
                heard = sum(report["heard_seconds"]) / calls
                late = report["late_share"]
                enough = not steps or heard >= HEARD_SHARE * steps[0].heard_seconds
                steps.append(
                    Step(
                        variant=variant,
                        climb=number,
                        calls=calls,
                        served=served,
                        late_share=round(late, 4),
                        heard_seconds=round(heard, 2),
                        total_mb=round(processes.memory_mb(worker.pids), 1),
                        cores=round(cores, 3),
                        foreign_cores=round(foreign_cores, 3),
                        holds=served == calls and late <= LATE_SHARE and enough,
                    )
                )
                print(json.dumps(asdict(steps[-1])), flush=True)
                if not steps[-1].holds:
                    break
            await callers.hang_up()
    except CallersEndedError as exc:
        print(f"{variant}: {exc}; the last step that held counts", file=sys.stderr)
    finally:
        worker.stop()
    return steps


async def run(
    stage: Stage, *, variants: tuple[str, ...], most: int, climbs: int = 1
) -> list[dict[str, object]]:
    """All variants in turn, so many times; most: calls at the last step."""
    return [
        asdict(step)
        for number in range(climbs)
        for variant in variants
        for step in await climb(stage, variant, most, number)
    ]
