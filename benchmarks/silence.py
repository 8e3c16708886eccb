"""Silence after the SIGKILL of a job in the middle of its answer, until the caller hears an agent again."""

import asyncio
import json
import os
import signal
import time

import redis.asyncio

from benchmarks.stage import Stage, wait_for_quiet
from benchmarks.switchboard import Callers

STORY_SECONDS = 1.2
"""Into the greeting when the job is killed."""


async def run(stage: Stage, *, kills: int) -> list[dict[str, object]]:
    """Seconds of silence of each kill; the baseline stays silent for ever, so there is none beside it."""
    ours = stage.ours()
    found: list[dict[str, object]] = []
    client = redis.asyncio.Redis.from_url(stage.valkey.url, decode_responses=True)
    try:
        for number in range(kills):
            wait_for_quiet(2.0)
            async with Callers(stage.folder) as callers:
                session = f"kill-{number}-{time.monotonic_ns()}"
                metadata = json.dumps({"session_id": session, "bundle": "story"})
                token = stage.token(session, "user", agent=ours.name, metadata=metadata)
                await callers.call(stage.livekit.url, token, speaks=True)
                await asyncio.sleep(STORY_SECONDS)
                state = await client.hgetall(f"session:{session}:state")
                os.kill(int(state["pid"]), signal.SIGKILL)
                killed = time.monotonic()
                again = (await callers.ask("next", str(killed)))["heard"]
                await callers.ask("hang", "up")
            found.append({"silence_seconds": None if again is None else round(again - killed, 3)})
            print(json.dumps(found[-1]), flush=True)
    finally:
        await client.aclose()
        ours.stop()
    return found
