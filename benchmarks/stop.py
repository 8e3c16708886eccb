"""SIGTERM in the middle of calls, with no time to drain: who hears the goodbye, and when all is over."""

import asyncio
import json
import signal
import subprocess
import time

from agent.demo.caller import Caller
from benchmarks.stage import RunningWorker, Stage, wait_for_quiet

EXIT_SECONDS = 60.0
"""How long a worker is waited for."""
COMPLETE = 0.9
"""A goodbye that sounds for this share of the greeting, which has the same words, was heard to its end."""


async def run(stage: Stage, *, rounds: int, calls: int) -> list[dict[str, object]]:
    """Each worker in turn, `rounds` times, with so many calls at once."""
    found = []
    for _ in range(rounds):
        for variant in ("bare", "ours"):
            wait_for_quiet(5.0)
            worker = stage.bare() if variant == "bare" else stage.ours()
            try:
                one = {"variant": variant, "calls": calls, **await _stopped(stage, worker, calls)}
            finally:
                worker.stop()
            print(json.dumps(one), flush=True)
            found.append(one)
    return found


async def _stopped(stage: Stage, worker: RunningWorker, calls: int) -> dict[str, object]:
    """Let the callers hear the greeting, send SIGTERM, and see what they hear until nobody is left."""
    callers: list[Caller] = []
    try:
        for number in range(calls):
            room = f"stop-{time.monotonic_ns()}"
            token = stage.token(room, "user", agent=worker.name, metadata='{"bundle": "parting"}')
            callers.append(Caller(stage.livekit.url, token, name=f"caller {number}"))
            await callers[-1].join()
            await callers[-1].heard_all(after=callers[-1].joined_at)
        greeting = max(one.seconds for caller in callers for one in caller.hearing.utterances())
        assert worker.process is not None
        told = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        (status, exited), over = await asyncio.gather(
            _exit(worker.process), asyncio.gather(*(_over(caller) for caller in callers))
        )
        goodbyes = [sum(one.seconds for one in caller.hearing.utterances(told)) for caller in callers]
    finally:
        await asyncio.gather(*(caller.leave() for caller in callers))
    return {
        "exit_status": status,
        "exit_seconds": round(exited - told, 2),
        "over_seconds": round(max(over) - told, 2),
        "goodbyes": sum(seconds >= COMPLETE * greeting for seconds in goodbyes),
    }


async def _exit(process: "subprocess.Popen[bytes]") -> tuple[int, float]:
    """Its status, and when that was."""
    return await asyncio.to_thread(process.wait, EXIT_SECONDS), time.monotonic()


async def _over(caller: Caller) -> float:
    """When the caller's room was closed or their agent had left it, in seconds of `time.monotonic`."""
    await caller.until(
        lambda: caller.disconnect_reason is not None or not caller.room.remote_participants,
        "the agent's leaving",
        within=EXIT_SECONDS,
    )
    return time.monotonic()
