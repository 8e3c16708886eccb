"""
What the journal costs a session: on the turn path, in memory, and what is left after SIGKILL.

    python -m benchmarks.journal [--sessions N] [--seconds S] [--kills N]

50 sessions in one process write to a disk that takes 5 ms for each `write`, and every tenth time 50 ms; in
production each session has a process of its own, so this is harder on the journal than life is.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import threading
import time
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from agent.transcripts import append_file
from agent.transcripts.journal import Journal
from agent.transcripts.reading import read_journals
from agent.transcripts.redaction import redactor

WORDS = "well I would like to know where my order is, it should have come on Monday " * 2
TURN_PATH_MS = 1.0
MEMORY_MB = 0.5


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of all are not above."""
    return sorted(values)[max(0, int(len(values) * part) - 1)]


def slow_disk() -> None:
    """Make every `write` of a journal take as long as on a bad disk."""
    write = os.write

    def slow(descriptor: int, content: bytes) -> int:
        time.sleep(0.05 if random.random() < 0.1 else 0.005)
        return write(descriptor, content)

    append_file.os = type("os", (), {**vars(os), "write": staticmethod(slow)})  # type: ignore[attr-defined, assignment]


async def turn_path(folder: Path, sessions: int, seconds: float) -> bool:
    """Append as 50 busy sessions do, four entries a second each; time each call, and until its `write`."""
    redact = redactor(["email", "phone_number", "credit_card"])
    journals = [Journal(folder, f"s-{number}", 1, redact=redact) for number in range(sessions)]
    plain: list[object] = []
    baseline: list[float] = []
    calls: list[float] = []
    lags: list[float] = []

    async def one(journal: Journal) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            await asyncio.sleep(random.uniform(0.1, 0.4))
            begun = time.perf_counter()
            plain.append({"type": "user", "identity": "u1", "text": WORDS})
            between = time.perf_counter()
            number = journal.append("user", identity="u1", text=WORDS)
            done = time.perf_counter()
            baseline.append((between - begun) * 1000)
            calls.append((done - between) * 1000)
            assert await journal.written(number)
            lags.append((time.perf_counter() - done) * 1000)

    await asyncio.gather(*(one(journal) for journal in journals))
    await asyncio.to_thread(lambda: [journal.close(30) for journal in journals])
    p99 = percentile(calls, 0.99)
    print(f"turn path, {sessions} sessions, slow disk, {len(calls)} entries")
    print(f"  list.append                    p99 {percentile(baseline, 0.99):8.4f} ms")
    most = max(calls)
    print(f"  journal.append                 p99 {p99:8.4f} ms   max {most:.4f} ms  (limit {TURN_PATH_MS})")
    half, most = percentile(lags, 0.5), percentile(lags, 0.99)
    print(f"  from append to written         p50 {half:8.2f} ms   p99 {most:.2f} ms")
    return p99 <= TURN_PATH_MS


def memory(folder: Path, count: int = 40) -> bool:
    """What one more journal adds to the process, with its thread, after 100 entries."""

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def use(prefix: str) -> list[Journal]:
        made = [Journal(folder, f"{prefix}-{number}", 1) for number in range(count)]
        for journal in made:
            for _ in range(100):
                journal.append("user", identity="u1", text=WORDS)
            journal.flush(30)
        return made

    first = use("warm")
    before = resident()
    second = use("counted")
    added = (resident() - before) / count / 1e6
    for journal in [*first, *second]:
        journal.close(30)
    print(f"memory of one more journal       {added:8.3f} MB  (limit {MEMORY_MB})")
    return added <= MEMORY_MB


class Sent(int):
    """A file descriptor that arrives open in the other process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return receive, (DupFd(int(self)),)


def receive(sent: Any) -> int:
    """The descriptor there."""
    return int(sent.detach())


def victim(folder: str, session_id: str, pipe: int) -> None:
    """A process with one session, until somebody kills it."""

    async def run() -> None:
        journal = Journal(Path(folder), session_id, 1)
        journal.append("start", session_id=session_id, user_id="u1")
        while True:
            number = journal.append("user", identity="u1", text=WORDS)
            for _ in range(random.randint(0, 5)):
                journal.append("agent", speech_id="s", text="under way", final=False)
            assert await journal.written(number)
            os.write(pipe, struct.pack("i", number))

    asyncio.run(run())


def kills(folder: Path, count: int) -> bool:
    """Kill `count` processes at random moments; count acknowledged entries that are missing, and records."""
    from agent.transcripts.database import open_engine
    from agent.transcripts.filters import OPERATOR
    from agent.transcripts.finalize import finalize
    from agent.transcripts.history import count_transcripts
    from agent.transcripts.migrations import upgrade_engine
    from agent.transcripts.orphans import orphans

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["agent.transcripts.journal"])
    missing = acknowledged = 0
    for each in range(count):
        reading, writing = os.pipe()
        process = context.Process(target=victim, args=(str(folder), f"k-{each}", Sent(writing)))
        process.start()
        os.close(writing)
        last = os.read(reading, 4)
        killer = threading.Timer(random.uniform(0.0, 0.05), os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        while said := os.read(reading, 4):
            last = said
        os.close(reading)
        process.join()
        killer.join()
        highest = struct.unpack("i", last)[0]
        written = {entry["n"] for entry in read_journals(folder, f"k-{each}")}
        acknowledged += highest
        missing += len(set(range(1, highest + 1)) - written)
    engine = open_engine(f"sqlite:///{folder.parent / 'agent.db'}")
    upgrade_engine(engine)
    known = list(orphans(folder, idle_seconds=0))
    for session_id in known:
        finalize(session_id, engine=engine, journals=folder)
    records = count_transcripts(engine, OPERATOR)
    engine.dispose()
    print(f"{count} SIGKILLs: of {acknowledged} acknowledged entries {missing} are missing (limit 0)")
    print(f"  records                        {records:8}      (limit: exactly {count})")
    return missing == 0 and records == count


def main() -> int:
    """Exit status 0 if every figure is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        within = [memory(Path(name) / "memory"), kills(Path(name) / "kills", asked.kills)]
        slow_disk()
        within.append(asyncio.run(turn_path(Path(name) / "slow", asked.sessions, asked.seconds)))
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
