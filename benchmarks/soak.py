"""
Many calls in sequence and eight at once, with callers that behave at random (seeded), and what they leave.

`python -m benchmarks.soak` prints what is left afterwards: records, rooms, processes, threads,
descriptors, Redis keys, files in the worker's folder of data and in its temporary folder, and the growth of
its memory. Exit status 1 when something is left. How many callers missed something is printed beside it.
"""

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Any

import redis.asyncio
from livekit import api

from agent.demo.caller import Caller, CallerError
from agent.starting import NotStartedError, Started, Wanted, start_session
from agent.transcripts.database import open_engine
from agent.transcripts.filters import EVERYONE, Filters, Owner
from agent.transcripts.history import every_transcript
from benchmarks import processes
from benchmarks.stage import Stage
from config_store.state import SWEEP_KEY

AT_ONCE = 8
NOT_STARTED = "not started"
SETTLE_SECONDS = 20.0
"""How long the worker has to come to rest after the last call."""
MEMORY_MB = 25.0
"""Growth of the parent's private memory, in MB, that is still called flat."""
DESCRIPTORS = 20
THREADS = 8
"""How many more of them still count as none: executors keep a few threads."""


async def main(calls: int, audio: int, seed: int) -> int:
    """Run the calls and look at what is left."""
    chance = random.Random(seed)
    missed: list[str] = []
    with Stage() as stage:
        temporary = stage.folder / "tmp"
        temporary.mkdir()
        worker = stage.ours("ours", AGENT_SWEEP_SECONDS="2", TMPDIR=str(temporary))
        settings = stage.settings("ours")
        missed += await _call(settings, "warm", "chat", chance)
        assert worker.process is not None
        before = _state(worker.process.pid)
        files = _files(settings.data), _files(temporary)
        started = time.monotonic()
        for number in range(calls):
            missed += await _call(settings, f"one-{number}", "chat", chance)
            if number % 50 == 49:
                print(f"{number + 1} calls, {time.monotonic() - started:.0f} s", file=sys.stderr)
        for batch in range(0, audio, AT_ONCE):
            names = [f"audio-{batch + n}" for n in range(min(AT_ONCE, audio - batch))]
            for one in await asyncio.gather(*(_call(settings, name, "talk", chance) for name in names)):
                missed += one
        every = calls + audio + 1
        least = every - sum(NOT_STARTED in one for one in missed)
        left = await _rest(
            stage, settings, worker.process.pid, before, files, expected=range(least, every + 1)
        )
    for what, value, ok in left:
        print(f"{'ok ' if ok else 'BAD'} {what}: {value}")
    print(f"    calls whose caller missed something: {len(missed)} of {every}")
    for why in missed:
        print(why, file=sys.stderr)
    return 0 if all(ok for _, _, ok in left) else 1


async def _call(settings: Any, session_id: str, bundle: str, chance: random.Random) -> list[str]:
    """
    One call: a caller who chats, falls silent, leaves, comes back, or never comes.

    What the caller missed is returned and is no failure: what is left is asked here.
    """
    behaviour = chance.choice(["leave", "chat", "silent", "back", "end", "never"])
    overrides: dict[str, Any] = {"idle_timeout_seconds": 1} if behaviour == "silent" else {}
    if behaviour == "never":
        overrides["join_timeout_seconds"] = 1
    wanted = Wanted(session_id=session_id, bundle=bundle, overrides=overrides)
    try:
        started = await start_session(settings, wanted)
        if behaviour != "never":
            await _behave(settings, started, behaviour, speaks=bundle == "talk")
    except NotStartedError as exc:
        return [f"{session_id}, {NOT_STARTED}: {exc}"]
    except CallerError as exc:
        return [f"{session_id}, {behaviour}: {exc}"]
    return []


async def _behave(settings: Any, started: Started, behaviour: str, *, speaks: bool) -> None:
    async with Caller(started.url, started.token, microphone=speaks) as caller:
        await caller.wait_event("config_applied", within=10)
        if behaviour in ("chat", "end"):
            await caller.write("what are your opening hours")
            await caller.wait_words("nine", within=10)
        if behaviour == "end":
            async with redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
                await client.xadd(f"session:{started.session_id}:commands", {"command": "end"})
        if behaviour in ("end", "silent"):
            await caller.wait_left(within=10)
    if behaviour == "back":
        async with Caller(started.url, started.token, microphone=False) as caller:
            await caller.wait_event("config_applied", within=5)


def _state(pid: int) -> dict[str, float]:
    """What a worker's parent holds now."""
    proc = Path(f"/proc/{pid}")
    return {
        "descriptors": sum(1 for _ in (proc / "fd").iterdir()),
        "threads": sum(1 for _ in (proc / "task").iterdir()),
        "processes": len(processes.tree(pid)),
        "memory_mb": processes.private_mb(pid),
    }


def _files(folder: Path) -> set[str]:
    """What is below a folder, apart from the database."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {path for path in found if not path.startswith("agent.db")}


async def _keys(client: Any) -> tuple[list[str], list[str]]:
    """The keys that no ended session and no worker has, and those of states that are no tombstones."""
    keys = [key async for key in client.scan_iter(match="*", count=1000)]
    states = [key for key in keys if key.endswith(":state")]
    others = [key for key in keys if key not in states and not key.startswith(("worker", SWEEP_KEY))]
    return others, [key for key in states if await client.hget(key, "phase") not in ("ended", "over")]


async def _rest(
    stage: Stage,
    settings: Any,
    pid: int,
    before: dict[str, float],
    files: tuple[set[str], set[str]],
    *,
    expected: range,
) -> list[tuple[str, str, bool]]:
    """What is left once the worker has come to rest."""
    engine = open_engine(settings.database())
    until = time.monotonic() + SETTLE_SECONDS
    left: list[tuple[str, str, bool]] = []
    while True:
        records = [r["session_id"] for r in every_transcript(engine, Owner(EVERYONE), Filters(silent=True))]
        async with api.LiveKitAPI(
            stage.livekit.url, stage.livekit.api_key, stage.livekit.api_secret
        ) as lkapi:
            rooms = len((await lkapi.room.list_rooms(api.ListRoomsRequest())).rooms)
        url = settings.redis_url.get_secret_value()
        async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
            keys, living = await _keys(client)
        journals = sum(1 for path in settings.journals.rglob("*") if path.is_file())
        data, temporary = _files(settings.data) - files[0], _files(stage.folder / "tmp") - files[1]
        now = _state(pid)
        grown = {
            name: f"{before[name]:g} → {now[name]:g}" for name in ("processes", "threads", "descriptors")
        }
        memory = f"{before['memory_mb']:.1f} → {now['memory_mb']:.1f} MB"
        left = [
            (
                "records",
                f"{len(set(records))} of {expected[-1]}",
                len(records) == len(set(records)) and len(records) in expected,
            ),
            ("rooms", str(rooms), rooms == 0),
            ("keys apart from tombstones and workers", str(keys[:5]), not keys),
            ("states that are no tombstones", str(living[:5]), not living),
            ("journal files", str(journals), journals == 0),
            ("more files with the data, apart from the database", str(sorted(data)[:5]), not data),
            ("more temporary files", str(sorted(temporary)[:5]), not temporary),
            ("processes", grown["processes"], now["processes"] <= before["processes"]),
            ("threads", grown["threads"], now["threads"] <= before["threads"] + THREADS),
            ("descriptors", grown["descriptors"], now["descriptors"] <= before["descriptors"] + DESCRIPTORS),
            ("private memory of the parent", memory, now["memory_mb"] <= before["memory_mb"] + MEMORY_MB),
        ]
        if all(ok for _, _, ok in left) or time.monotonic() > until:
            engine.dispose()
            return left
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="written calls in sequence")
    parser.add_argument("--audio", type=int, default=200, help="spoken calls, eight at once")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.calls, given.audio, given.seed)))
