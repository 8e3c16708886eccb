"""
What a session costs Redis and SQL, and whether that grows with their number: many light sessions, no LiveKit.

    python -m benchmarks.growth [--sessions 100 400 1000] [--at-once 10] [--turns 10] [--json FILE]

Each session is a real one but for its room: claimed, configured with an override, journalled turn by turn,
ended and recorded by the code that does it in a worker, on a Valkey and an SQLite of this run. The server
counts its commands and the driver its statements. One real call of as many turns, with LiveKit and a caller
who hears every answer, is measured first; the others journal as many entries in a turn as that one did. What
workers do all the time, with or without calls, is counted apart: so many workers on the same Valkey, and
nothing else.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import redis
from livekit.agents import JobContext
from sqlalchemy import event, func, select

from agent.adoption import LOOK_SECONDS, Adoption
from agent.attempt import Attempt
from agent.bundles import Bundles
from agent.claiming import claim
from agent.commands import Commands
from agent.configuring import configure
from agent.ending import End, Ending
from agent.heartbeat import BEAT_SECONDS, Heartbeat
from agent.judging import Judge
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings
from agent.stores import STREAM_BLOCK_SECONDS, open_redis
from agent.sweep import Records
from agent.transcripts.database import open_engine
from agent.transcripts.migrations import upgrade
from agent.transcripts.tables import items, metadata, transcripts
from benchmarks import real_call
from benchmarks.real_call import RealCall
from config_store.state import SWEEP_KEY

BUNDLE = """
modality_profile: text_only
models: {llm: {provider: offline}}
agents: {front: {instructions: You help., greeting: Hello.}}
overridable: [idle_timeout_seconds]
"""
NOT_OURS = ("info", "hello", "client", "config", "command", "select", "auth", "ping")
"""Commands of the measurement itself, and of opening a connection."""
IDLE_SECONDS = 5.0
"""How long workers without calls are watched, in seconds."""


class Counted:
    """The stores of a run and what they were asked so far."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "bundles").mkdir(parents=True)
        (folder / "bundles" / "growth.yaml").write_text(BUNDLE)
        self.settings = Settings(
            redis_url=url,
            data=folder,
            bundles=folder / "bundles",
            default_bundle="growth",
            store_budget_seconds=30.0,
            worker_id="w-growth",
        )
        Bundles(self.settings).compile()
        upgrade(self.settings.database())
        self.engine = open_engine(self.settings.database())
        self.client = redis.Redis.from_url(url)
        self.statements: Counter[str] = Counter()
        event.listen(self.engine, "after_cursor_execute", self._executed)

    def _executed(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements[statement.split(None, 1)[0].lower()] += 1

    def commands(self) -> Counter[str]:
        """Commands that the server was given since the last call of this."""
        stats = cast("dict[str, dict[str, int]]", self.client.info("commandstats"))
        self.client.config_resetstat()
        named = (
            (name.removeprefix("cmdstat_").split("|")[0], found["calls"]) for name, found in stats.items()
        )
        counted: Counter[str] = Counter()
        for name, calls in named:
            if name not in NOT_OURS:
                counted[name] += calls
        return counted

    def rows(self) -> int:
        """Rows of all our tables."""
        with self.engine.connect() as connection:
            return sum(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            )

    def size(self) -> int:
        """Bytes of the database, without what waits to be put into it."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return (self.settings.data / "agent.db").stat().st_size


async def begun(settings: Settings, session_id: str) -> Attempt:
    """A session that is live, as a job process makes it."""
    asked = json.dumps({"session_id": session_id, "bundle": "growth", "user_id": "u1"})
    room = SimpleNamespace(name=session_id, sid="RM_1")
    job = SimpleNamespace(id=f"AJ_{session_id}", metadata=asked, agent_name="agent", room=room)
    ctx = cast(JobContext, SimpleNamespace(job=job, worker_id="AW_1", log_context_fields={}))
    attempt = await claim(settings, ctx)
    await configure(attempt, ctx)
    attempt.live()
    return attempt


async def session(settings: Settings, session_id: str, turns: int, like: RealCall) -> None:
    """One session from the claim to its end, with as many entries in a turn as a real call has."""
    attempt = await begun(settings, session_id)
    commands = Commands(
        attempt.redis_url, session_id, since="0", ending=Ending(), override=_nothing, applied=lambda _: None
    )
    for turn in range(turns):
        attempt.journal.append("user", item_id=f"u{turn}", identity="u1", text="Where is my order?")
        answer = {
            "speech_id": f"s{turn}",
            "item_id": f"a{turn}",
            "agent": "front",
            "text": "It is on its way.",
        }
        for _ in range(like.each_turn("progress")):
            attempt.journal.append("agent", **answer, final=False, interrupted=True, heard="part")
        attempt.journal.append("agent", **answer, final=True, interrupted=False, heard="all")
        for kind in ("silence", "usage"):
            for _ in range(like.each_turn(kind)):
                attempt.journal.append(kind)
        await asyncio.sleep(0.02)  # others have their turn
    await commands.stop()
    await attempt.end(End("idle", ""))
    await attempt.close()


async def _nothing(_id: str, _fields: dict[str, str]) -> None:
    pass


async def many(stores: Counted, count: int, at_once: int, turns: int, like: RealCall) -> dict[str, Any]:
    """So many sessions, so many at a time, and their records; what each cost."""
    records = Records(stores.settings, stores.engine)
    gate = asyncio.Semaphore(at_once)
    names = [f"growth-{count}-{number}" for number in range(count)]

    async def one(session_id: str) -> None:
        async with gate:
            stores.client.set(f"session:{session_id}:config", '{"idle_timeout_seconds": 60}', ex=14_400)
            await session(stores.settings, session_id, turns, like)
            await records.make(session_id)

    rows, size = stores.rows(), stores.size()
    stores.commands()
    stores.statements.clear()
    began = time.monotonic()
    await asyncio.gather(*(one(name) for name in names))
    seconds = time.monotonic() - began
    commands, statements = stores.commands(), sum(stores.statements.values())
    commands["set"] -= count  # the application's own
    records.close()
    return {
        "sessions": count,
        "redis_commands": sum(commands.values()) / count,
        "redis_by_name": {name: round(calls / count, 2) for name, calls in commands.most_common()},
        "redis_keys_left": len(list(stores.client.scan_iter(match=f"session:growth-{count}-*"))) / count,
        "sql_statements": statements / count,
        "sql_rows": (stores.rows() - rows) / count,
        "sql_bytes": (stores.size() - size) / count,
        "seconds": seconds,
    }


async def swept(stores: Counted, count: int) -> dict[str, Any]:
    """What one period's sweeps of two workers cost while so many sessions of other machines are live."""
    elsewhere = stores.settings.model_copy(update={"data": stores.settings.data / "elsewhere"})
    url = stores.settings.redis_url
    assert url is not None
    beat = Heartbeat(url.get_secret_value(), "w-growth")
    beat.start()
    try:
        names = [f"live-{count}-{number}" for number in range(count)]
        attempts = [await begun(stores.settings, name) for name in names]
        for attempt in attempts:
            await asyncio.to_thread(attempt.journal.flush, 5.0)
        sweepers = [Records(elsewhere, stores.engine) for _ in range(2)]
        client = open_redis(url.get_secret_value(), 10.0)
        owner = Judge(stores.settings, client=client, lkapi=cast(Any, None), records=sweepers[0])
        for _ in range(2):  # in the first round the sessions still write what they have begun with
            stores.client.delete(SWEEP_KEY)
            stores.commands()
            for records in sweepers:
                await records.sweep(())
            await owner.look_after(lambda _: True)
            commands = stores.commands()
        await client.aclose()
        for records in sweepers:
            records.close()
        for attempt in attempts:
            await attempt.end(End("idle", ""))
            await attempt.close()
    finally:
        await asyncio.to_thread(beat.stop)
    return {"live": count, "redis_commands": sum(commands.values()) / count, "by_name": dict(commands)}


async def idle(stores: Counted, workers: int, seconds: float) -> dict[str, Any]:
    """What so many workers ask of Redis while nobody calls, per worker and second."""
    url = stores.settings.redis_url
    assert url is not None
    beats = [Heartbeat(url.get_secret_value(), f"w-{number}") for number in range(workers)]
    clients = [open_redis(url.get_secret_value(), 2.0) for _ in beats]
    looking = []
    for beat, client in zip(beats, clients, strict=True):
        beat.start()
        beat.beating_since -= 60.0  # as if they had been up for a while: a new worker calls nobody dead
        adoption = Adoption(client, beat, cast(Any, None), ready=lambda: True)
        looking.append(asyncio.create_task(adoption.run()))
    stores.commands()
    await asyncio.sleep(seconds)
    commands = stores.commands()
    for task in looking:
        task.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    for beat, client in zip(beats, clients, strict=True):
        await asyncio.to_thread(beat.stop)
        await client.aclose()
    return {
        "workers": workers,
        "redis_commands_per_worker_second": sum(commands.values()) / workers / seconds,
        "redis_by_name": {
            name: round(calls / workers / seconds, 3) for name, calls in commands.most_common()
        },
    }


async def measure(
    sessions: list[int], at_once: int, turns: int, workers: list[int], seconds: float = IDLE_SECONDS
) -> dict[str, Any]:
    """All of it."""
    real = await real_call.measure(turns)
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        folder = Path(name)
        with EmbeddedValkey(folder / "valkey") as valkey:
            stores = Counted(folder / "data", valkey.url)
            try:
                await many(stores, 5, 5, turns, real)  # first uses of everything
                found = [await many(stores, count, at_once, turns, real) for count in sessions]
                sweeps = [await swept(stores, count) for count in sessions]
                resting = [await idle(stores, count, seconds) for count in workers]
                with stores.engine.connect() as connection:
                    recorded = connection.execute(select(func.count()).select_from(transcripts)).scalar_one()
                    kept = connection.execute(select(func.count()).select_from(items)).scalar_one()
            finally:
                stores.client.close()
                stores.engine.dispose()
    return {
        "turns": turns,
        "real_call": asdict(real) | {"spoken_seconds_per_turn": real.spoken_seconds},
        "growth": found,
        "sweeps": sweeps,
        "idle": resting,
        "records": recorded,
        "items": kept,
        "live_commands_per_minute": 60 / STREAM_BLOCK_SECONDS,
        "beat_seconds": BEAT_SECONDS,
        "look_seconds": LOOK_SECONDS,
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[100, 400, 1000])
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = asyncio.run(measure(given.sessions, given.at_once, given.turns, given.workers))
    real = found["real_call"]
    sys.stdout.write(
        f"one real call of {given.turns} turns with {real['spoken_seconds_per_turn']:.1f} s of speech each, "
        f"{real['seconds']:.0f} s: {real['redis_commands']:.0f} Redis commands\n"
    )
    for row in found["growth"]:
        sys.stdout.write(
            f"{row['sessions']:>6} sessions of {given.turns} turns   each: "
            f"{row['redis_commands']:6.1f} Redis commands   {row['redis_keys_left']:.1f} keys left   "
            f"{row['sql_statements']:5.1f} SQL statements   {row['sql_rows']:5.1f} rows   "
            f"{row['sql_bytes'] / 1024:5.1f} kB\n"
        )
    for row in found["sweeps"]:
        sys.stdout.write(
            f"{row['live']:>6} live sessions   each: {row['redis_commands']:6.2f} Redis commands a sweep, "
            "of all workers together\n"
        )
    for row in found["idle"]:
        sys.stdout.write(
            f"{row['workers']:>6} workers without calls      each: "
            f"{row['redis_commands_per_worker_second']:6.2f} Redis commands a second\n"
        )
    sys.stdout.write(
        f"a live session asks for commands {found['live_commands_per_minute']:g} times a minute\n"
    )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
