"""One real call on a real worker and LiveKit, and what it asked of Redis: `benchmarks.growth` imitates it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import redis

from agent.demo.caller import Caller
from agent.notes import PROGRESS_SECONDS
from agent.settings import Settings
from agent.starting import Wanted, start_session
from agent.transcripts.database import open_engine
from agent.transcripts.filters import OPERATOR
from agent.transcripts.history import load
from agent.transcripts.stream import read_stream
from benchmarks.stage import Stage

RESTING_SECONDS = 20.0
"""How long the worker is watched without a call, in seconds; what it asks then is taken off."""
ANSWER_SECONDS = 20.0
"""Longest time in seconds for one answer to be heard to its end."""
QUESTION = "what are your opening hours"


@dataclass(frozen=True)
class RealCall:
    """What was counted."""

    turns: int
    seconds: float
    """From the wish for it until its record was there."""
    entries: dict[str, int]
    """Entries of the journal by type; `progress` are those of an answer under way."""
    redis_commands: float
    redis_by_name: dict[str, float]

    def each_turn(self, kind: str) -> int:
        """How many entries of this kind there are in a turn."""
        return round(self.entries.get(kind, 0) / self.turns)

    @property
    def spoken_seconds(self) -> float:
        """Seconds that the agent spoke, per turn, as far as the journal noted them."""
        return self.entries.get("progress", 0) * PROGRESS_SECONDS / self.turns


async def measure(turns: int) -> RealCall:
    """A caller who writes so many questions and hears each answer to its end."""
    with Stage() as stage:
        stage.ours("ours")
        settings = stage.settings("ours")
        client = redis.Redis.from_url(settings.require_redis())
        await asyncio.sleep(RESTING_SECONDS / 2)  # idle processes come up
        before, at = _commands(client), time.monotonic()
        await asyncio.sleep(RESTING_SECONDS)
        resting, rested = _commands(client) - before, time.monotonic() - at

        before, at = _commands(client), time.monotonic()
        started = await start_session(settings, Wanted(session_id="real", bundle="talk"))
        async with Caller(started.url, started.token, microphone=False) as caller:
            await caller.heard_all(after=caller.joined_at, within=ANSWER_SECONDS)
            for _ in range(turns):
                asked = time.monotonic()
                await caller.write(QUESTION)
                await caller.heard_speech(after=asked, within=ANSWER_SECONDS)
                await caller.heard_all(after=asked, within=ANSWER_SECONDS)
            entries = read_stream(client, "real")
            client.xadd("session:real:commands", {"command": "end"})
            await caller.wait_left(within=ANSWER_SECONDS)
        await _recorded(settings)
        seconds = time.monotonic() - at
        counted = _commands(client) - before
        client.close()
    net = {name: calls - resting[name] / rested * seconds for name, calls in counted.items()}
    net["xadd"] -= 1  # the command to end
    return RealCall(
        turns=turns,
        seconds=seconds,
        entries=dict(Counter(_kind(entry) for entry in entries)),
        redis_commands=sum(net.values()),
        redis_by_name={name: round(calls, 1) for name, calls in net.items() if round(calls, 1) > 0},
    )


def _kind(entry: dict[str, Any]) -> str:
    return "progress" if entry["type"] == "agent" and not entry.get("final") else str(entry["type"])


async def _recorded(settings: Settings) -> None:
    """Return once the call has its record."""
    engine = open_engine(settings.database())
    try:
        while load(engine, "real", OPERATOR) is None:  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.2)
    finally:
        engine.dispose()


def _commands(client: redis.Redis) -> Counter[str]:
    """Commands that the server was given, but for those of this measurement and of opening connections."""
    others = ("info", "hello", "client", "config", "select", "auth", "ping", "xrange")
    found = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    counted: Counter[str] = Counter()
    for name, one in found.items():
        if (short := name.removeprefix("cmdstat_").split("|")[0]) not in others:
            counted[short] += one["calls"]
    return counted
