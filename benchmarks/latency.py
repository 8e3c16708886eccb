"""Join → first agent audio: both workers up, one call at a time, in turn; and with the agent waiting."""

import asyncio
import json
import time
from typing import Any

from livekit import api

from agent.room import close_room
from agent.starting import Wanted, start_session
from benchmarks.stage import Stage, wait_for_quiet
from benchmarks.switchboard import Callers

PAUSE_SECONDS = 0.6
"""Between two calls: the worker has an idle process again."""
SILENT = "ours, session start, no microphone"
WAYS = ("bare", "ours", "lean", "ours, session start", "lean, session start", SILENT)


async def run(stage: Stage, *, calls: int) -> list[dict[str, object]]:
    """`calls` of each way, interleaved; ms from the caller's connection to the agent, and to a sound."""
    bare, ours = stage.bare(), stage.ours()
    found: list[dict[str, object]] = []
    try:
        async with (
            Callers(stage.folder) as callers,
            api.LiveKitAPI(stage.livekit.url, stage.livekit.api_key, stage.livekit.api_secret) as lkapi,
        ):
            for number in range(-1, calls):
                for way in (*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)]):
                    wait_for_quiet(2.0)
                    room = f"latency-{number}-{WAYS.index(way)}-{time.monotonic_ns()}"
                    token = await _token(stage, way, room, bare.name, ours.name)
                    answer = await callers.call(stage.livekit.url, token, speaks=way != SILENT)
                    await callers.ask("hang", "up")
                    await close_room(lkapi, room)
                    if number >= 0:  # the first of each warms up
                        times = {"agent_ms": _ms(answer, "agent"), "heard_ms": _ms(answer, "heard")}
                        found.append({"way": way, **times})
                    await asyncio.sleep(PAUSE_SECONDS)
    finally:
        ours.stop()
        bare.stop()
    return found


async def _token(stage: Stage, way: str, room: str, bare: str, ours: str) -> str:
    if way == "bare":
        return stage.token(room, "user", agent=bare)
    bundle = "lean" if way.startswith("lean") else "talk"
    if "session start" not in way:
        return stage.token(room, "user", agent=ours, metadata=json.dumps({"bundle": bundle}))
    started = await start_session(stage.settings(ours), Wanted(session_id=room, bundle=bundle))
    await asyncio.sleep(PAUSE_SECONDS)  # about what a page takes to get its token and begin to connect
    return started.token


def _ms(answer: dict[str, Any], what: str) -> float | None:
    """From the caller's connection; 0 for what was there before."""
    at, connected = answer[what], answer["connected"]
    return None if at is None else round(max(0.0, at - connected) * 1000, 1)
