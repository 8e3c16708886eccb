"""Silence after a SIGKILL in the middle of an answer, until the caller hears an agent again."""

import asyncio
import json
import os
import signal
import time
from typing import Any

import redis.asyncio

from benchmarks.stage import RunningWorker, Stage, wait_for_quiet
from benchmarks.switchboard import Callers

STORY_SECONDS = 1.2
"""Into the greeting when something is killed."""
PAIR = ("pair-a", "pair-b")


async def run(stage: Stage, *, kills: int) -> list[dict[str, object]]:
    """Seconds of silence of each kill; the baseline stays silent for ever, so there is none beside it."""
    client = redis.asyncio.Redis.from_url(stage.valkey.url, decode_responses=True)
    try:
        return [*await _jobs(stage, client, kills), *await _workers(stage, client, kills)]
    finally:
        await client.aclose()


async def _jobs(stage: Stage, client: Any, kills: int) -> list[dict[str, object]]:
    """The process of the call is killed; its worker brings it back."""
    ours = stage.ours()
    try:
        return [await _silence(stage, client, ours.name, "job", [ours]) for _ in range(kills)]
    finally:
        ours.stop()


async def _workers(stage: Stage, client: Any, kills: int) -> list[dict[str, object]]:
    """
    The worker of the call is killed while another one is alive; in turn its parent process alone, whose job
    can still leave word, and all its processes at once, as when a machine is lost.
    """
    pair = [stage.ours(name, AGENT_NAME="pair") for name in PAIR]
    found = []
    try:
        for number in range(kills):
            found.append(await _silence(stage, client, "pair", ("worker", "machine")[number % 2], pair))
            for worker in pair:
                if worker.process is not None and worker.process.poll() is not None:
                    worker.start()
    finally:
        for worker in pair:
            worker.stop()
    return found


async def _silence(
    stage: Stage, client: Any, agent: str, what: str, workers: list[RunningWorker]
) -> dict[str, object]:
    wait_for_quiet(2.0)
    async with Callers(stage.folder) as callers:
        session = f"kill-{what}-{time.monotonic_ns()}"
        metadata = json.dumps({"session_id": session, "bundle": "story"})
        token = stage.token(session, "user", agent=agent, metadata=metadata)
        await callers.call(stage.livekit.url, token, speaks=True)
        await asyncio.sleep(STORY_SECONDS)
        state = await client.hgetall(f"session:{session}:state")
        job = int(state["pid"])
        owner = next(worker for worker in workers if job in worker.pids)
        assert owner.process is not None
        targets = {"job": [job], "worker": [owner.process.pid], "machine": owner.pids}[what]
        for pid in targets:
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        again = (await callers.ask("next", str(killed)))["heard"]
        await callers.ask("hang", "up")
        if what != "job":
            owner.process.wait()
    silence = None if again is None else round(again - killed, 3)
    result: dict[str, object] = {"of": what, "silence_seconds": silence}
    print(json.dumps(result), flush=True)
    return result
