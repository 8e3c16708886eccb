"""SIGKILL at random moments: what was acknowledged is there, and the record is made all the same."""

import asyncio
import multiprocessing
import os
import random
import signal
import struct
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import finalize
from agent.transcripts.history import list_transcripts, load
from agent.transcripts.journal import Journal
from agent.transcripts.orphans import orphans
from agent.transcripts.reading import read_journals

ROUNDS = 25


def _journal_for_ever(folder: str, session_id: str, pipe: int) -> None:
    """A session that says which of its entries are acknowledged, until somebody kills it."""

    async def run() -> None:
        journal = Journal(Path(folder), session_id, 1)
        journal.append("start", session_id=session_id, user_id="u1")
        while True:
            number = journal.append("user", identity="u1", text="word " * random.randint(1, 400))
            for _ in range(random.randint(0, 5)):
                journal.append("agent", speech_id="s", text="under way", final=False)
            assert await journal.written(number)
            os.write(pipe, struct.pack("i", number))

    asyncio.run(run())


@pytest.fixture(scope="module")
def forkserver() -> ForkServerContext:
    """Makes processes quickly: what they import is imported once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.transcripts.test_kill"])
    return context


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_no_acknowledged_entry_is_lost(forkserver: ForkServerContext, journals: Path, engine: Engine) -> None:
    """After kills at random moments every acknowledged entry is there, and every session has one record."""
    for each in range(ROUNDS):
        session_id = f"s-{each}"
        reading, writing = os.pipe()
        process = forkserver.Process(
            target=_journal_for_ever, args=(str(journals), session_id, _Sent(writing)), daemon=True
        )
        process.start()
        os.close(writing)
        for _ in range(random.randint(1, 60)):
            acknowledged = os.read(reading, 4)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        while rest := os.read(reading, 4):
            acknowledged = rest
        os.close(reading)
        numbers = [entry["n"] for entry in read_journals(journals, session_id)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= struct.unpack("i", acknowledged)[0]
    for session_id in orphans(journals, idle_seconds=0):
        finalize(session_id, engine=engine, journals=journals)
    rows = list_transcripts(engine, OPERATOR).transcripts
    assert sorted(row["session_id"] for row in rows) == sorted(f"s-{each}" for each in range(ROUNDS))
    assert {row["end_reason"] for row in rows} == {"crashed"}
    transcript = load(engine, "s-0", OPERATOR)
    assert transcript is not None
    assert transcript["lost_entries"] == 0


class _Sent(int):
    """A file descriptor that arrives open in the other process."""

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing.reduction import DupFd

        return _receive, (DupFd(int(self)),)  # type: ignore[no-untyped-call]


def _receive(sent: object) -> int:
    return sent.detach()  # type: ignore[attr-defined, no-any-return]
