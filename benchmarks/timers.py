"""
How late timers fire, with many sessions at once, and how long `agent session start` and `end` take.

`python -m benchmarks.timers` starts 50 sessions in writing, then 8 with audio both ways, each with something
due every second, and reads from their records what the timers themselves noted. Beside them a process that
does nothing else wakes up ten times a second: how late that is, is the machine's part. Then it ends sessions
one after the other, from the command to the state that says so. Exit status 1 when a p99 is above the goal.
"""

import argparse
import asyncio
import json
import sys
import time
from statistics import quantiles

from sqlalchemy import Engine

from agent import stores
from agent.running import end_session
from agent.settings import Settings
from agent.starting import Started, Wanted, start_session
from agent.transcripts.database import open_engine
from agent.transcripts.filters import OPERATOR
from agent.transcripts.history import load
from agent.transcripts.recorded import read_entries
from benchmarks.stage import Stage, wait_for_quiet
from benchmarks.switchboard import Callers
from config_store.state import SessionState, state_key

GOAL_SECONDS = 0.05
GOAL_END_SECONDS = 1.0
ENDED = 20
METRONOME = """
import asyncio, json, sys

async def main():
    loop = asyncio.get_running_loop()
    over = loop.run_in_executor(None, sys.stdin.read)
    late = []
    while not over.done():
        due = loop.time() + 0.1
        await asyncio.sleep(0.1)
        late.append(loop.time() - due)
    print(json.dumps(late))

asyncio.run(main())
"""
RECORD_SECONDS = 90.0
"""How long the records are waited for: the sessions end by their maximum duration."""


async def main(text: int, audio: int) -> int:
    """Both rounds; the exit status."""
    missed = False
    with Stage() as stage:
        stage.ours("ours", AGENT_SWEEP_SECONDS="2")
        settings = stage.settings("ours")
        engine = open_engine(settings.database())
        for what, bundle, count in (("in writing", "timed", text), ("with audio", "timed_audio", audio)):
            wait_for_quiet(10.0)
            if not count:
                continue
            metronome = await asyncio.create_subprocess_exec(
                sys.executable, "-c", METRONOME, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            ids, starts = await _round(stage, settings, engine, bundle, count)
            # without input Python 3.11 leaves stdin open, and the metronome goes on
            beside = json.loads((await metronome.communicate(b""))[0])
            late = await _late(engine, ids)
            missed |= not late or _percentile(late, 99) > GOAL_SECONDS
            print(
                f"{count} sessions {what}: {len(late)} timers fired, late by "
                f"p50 {_percentile(late, 50) * 1000:.1f} ms, p99 {_percentile(late, 99) * 1000:.1f} ms, "
                f"most {max(late, default=float('nan')) * 1000:.1f} ms (goal: p99 ≤ 50 ms)"
            )
            print(
                f"a process beside them that only sleeps: p50 {_percentile(beside, 50) * 1000:.1f} ms, "
                f"p99 {_percentile(beside, 99) * 1000:.1f} ms, most {max(beside) * 1000:.1f} ms"
            )
            print(
                f"agent session start, {count} {what} one after the other: "
                f"p50 {_percentile(starts, 50) * 1000:.0f} ms, p95 {_percentile(starts, 95) * 1000:.0f} ms"
            )
        engine.dispose()
        ends = await _ends(stage, settings, ENDED)
        missed |= max(ends) > GOAL_END_SECONDS
        print(
            f"agent session end, {ENDED} one after the other, until the session ends: "
            f"p50 {_percentile(ends, 50) * 1000:.0f} ms, p95 {_percentile(ends, 95) * 1000:.0f} ms, "
            f"most {max(ends) * 1000:.0f} ms (goal: ≤ {GOAL_END_SECONDS * 1000:.0f} ms)"
        )
    return 1 if missed else 0


async def _ends(stage: Stage, settings: Settings, count: int) -> list[float]:
    """Seconds from the command to its effect, session by session."""
    ends: list[float] = []
    async with Callers(stage.folder) as callers, stores.open_redis(stage.valkey.url, 1.0) as client:
        for number in range(count):
            one = await start_session(settings, Wanted(session_id=f"end-{number}", bundle="timed"))
            await callers.join(one.url, one.token)
            state = SessionState(client, state_key(one.session_id, one.room))
            await _reached(state, "live")
            began = time.monotonic()
            await end_session(settings, one.session_id, reason="operator", wait=False)
            await _reached(state, "ending", "ended")
            ends.append(time.monotonic() - began)
    return ends


async def _reached(state: SessionState, *phases: str) -> None:
    async with asyncio.timeout(10.0):
        while True:
            if (await state.read()).get("phase") in phases:
                return
            await asyncio.sleep(0.005)


async def _round(
    stage: Stage, settings: Settings, engine: Engine, bundle: str, count: int
) -> tuple[list[str], list[float]]:
    """So many sessions at once, each with its caller; their ids and how long each took to start."""
    starts: list[float] = []
    started: list[Started] = []
    async with Callers(stage.folder) as callers:
        for number in range(count):
            began = time.monotonic()
            one = await start_session(settings, Wanted(session_id=f"{bundle}-{number}", bundle=bundle))
            starts.append(time.monotonic() - began)
            started.append(one)
            if bundle == "timed":
                await callers.join(one.url, one.token)
            else:
                await callers.call(one.url, one.token, speaks=True)
        await _ended(engine, [one.session_id for one in started])
        await callers.ask("hang", "up")
    return [one.session_id for one in started], starts


async def _ended(engine: Engine, ids: list[str]) -> None:
    until = time.monotonic() + RECORD_SECONDS
    while time.monotonic() < until:
        if all(load(engine, session_id, OPERATOR) for session_id in ids):
            return
        await asyncio.sleep(0.5)


async def _late(engine: Engine, ids: list[str]) -> list[float]:
    """What the timers of these sessions noted, in seconds."""
    found = []
    with engine.connect() as connection:
        for session_id in ids:
            for entry in read_entries(connection, session_id) or ():
                if entry.get("type") == "figure" and entry.get("name") == "timer_error":
                    found.append(float(entry["seconds"]))
    return found


def _percentile(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.timers", description=__doc__)
    parser.add_argument("--text", type=int, default=50, help="sessions in writing at once")
    parser.add_argument("--audio", type=int, default=8, help="sessions with audio at once")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.text, given.audio)))
