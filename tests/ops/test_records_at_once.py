"""Records that two workers and the cron command make of the same sessions at the same moment."""

import asyncio
import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, create_engine, func, select, text

from agent.services.livekit_server import LiveKitServer
from agent.transcripts.database import open_engine
from agent.transcripts.entries import to_json
from agent.transcripts.filters import OPERATOR
from agent.transcripts.fold import fold
from agent.transcripts.history import load
from agent.transcripts.migrations import upgrade
from agent.transcripts.reading import read_journals, sessions_on_disk
from agent.transcripts.stream import FIELD, sessions_in_streams, stream_key
from agent.transcripts.tables import items, journals, transcripts
from tests.e2e.harness import RunningWorker, eventually
from tests.transcripts.conftest import postgresql, talk

__all__ = ["postgresql"]

pytestmark = pytest.mark.e2e

ON_DISK = tuple(f"disk-{number}" for number in range(10))
"""Sessions whose journals a former self of the workers left, and their streams."""
STREAMED = tuple(f"streamed-{number}" for number in range(10))
"""Sessions of a machine that is gone: only their streams are there."""
CRONS = 2
TURNS = 20


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_workers_and_cron_make_each_record_once(
    backend: str, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    All of them are let go with the same sessions in hand: one row, one set of items and one set of entries
    for each session, all of it; journals and streams are gone; nobody complains.
    """
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    if backend == "postgresql":
        url = database_on(request.getfixturevalue("postgresql"))
    upgrade(url)
    engine = open_engine(url)
    folder = tmp_path / "data" / "journals"
    environment = {
        "AGENT_NAME": "at-once",
        "AGENT_SWEEP_SECONDS": "0.1",
        "DATABASE_URL": url.replace("+psycopg", ""),
    }
    workers = [RunningWorker(livekit_server, tmp_path / "data", environment=environment) for _ in range(2)]
    store = redis.Redis.from_url(workers[0].valkey.url)
    crons: list[subprocess.Popen[str]] = []
    try:
        for worker in workers:
            worker.start(wait=False)
        for worker in workers:
            worker.wait_ready()
            worker.signal(signal.SIGSTOP)
        expected = leave(tmp_path / "staged", folder, store)
        for _ in range(CRONS):
            before = connections(store)
            cron = cron_of(workers[0])
            crons.append(cron)
            # on a busy machine it may be over before anybody looks: it has made the records alone then
            begun = lambda: connections(store) > before or cron.poll() is not None  # noqa: B023, E731
            await eventually(begun, "cron has begun to look", within=60)
            cron.send_signal(signal.SIGSTOP)
        for worker in workers:
            worker.signal(signal.SIGCONT)
        for cron in crons:
            cron.send_signal(signal.SIGCONT)
        told = [await asyncio.to_thread(cron.communicate, timeout=60) for cron in crons]
        await eventually(
            lambda: not [*sessions_on_disk(folder), *sessions_in_streams(store)], "nothing is left"
        )
    finally:
        for cron in crons:
            cron.kill()
        statuses = [worker.stop() for worker in workers]

    assert [(cron.returncode, err) for cron, (_, err) in zip(crons, told, strict=True)] == [(0, "")] * CRONS
    assert statuses == [0, 0]
    for out, _ in told:
        print(Counter(row["action"] for row in json.loads(out)))
    log = workers[0].log_text()
    assert "a record waits" not in log
    assert "Traceback" not in log
    for session_id in (*ON_DISK, *STREAMED):
        assert load(engine, session_id, OPERATOR) == expected[session_id]
    with engine.connect() as connection:
        count = len(ON_DISK) + len(STREAMED)
        assert rows(connection, transcripts) == rows(connection, journals) == count
        assert rows(connection, items) == sum(len(record["items"]) for record in expected.values())
    engine.dispose()
    store.close()


def cron_of(worker: RunningWorker) -> "subprocess.Popen[str]":
    """`agent transcripts finalize` beside this worker."""
    return subprocess.Popen(
        worker.command("transcripts", "finalize", "--json"),
        env={**worker.environment, "REDIS_URL": worker.valkey.url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def leave(staged: Path, folder: Path, store: "redis.Redis") -> dict[str, dict[str, Any]]:
    """Leave journals and streams of sessions that are over, all at one moment; the records to expect."""
    expected = {}
    with store.pipeline() as pipeline:
        for session_id in (*ON_DISK, *STREAMED):
            talk(staged, session_id, said=tuple(f"{session_id} {turn}" for turn in range(TURNS)))
            entries = read_journals(staged, session_id)
            expected[session_id] = fold(entries)
            for entry in entries:
                pipeline.xadd(stream_key(session_id), {FIELD: to_json(entry)})
        folder.mkdir(parents=True, exist_ok=True)
        for session_id in ON_DISK:
            (staged / session_id).rename(folder / session_id)
        pipeline.execute()
    return expected


def connections(store: "redis.Redis") -> int:
    """How many programs are connected to the store."""
    return int(store.info("clients")["connected_clients"])


def rows(connection: Connection, table: object) -> int:
    """How many rows a table has."""
    return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def database_on(server: str) -> str:
    """A new database on this PostgreSQL."""
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS at_once"))
        connection.execute(text("CREATE DATABASE at_once"))
    admin.dispose()
    return server.replace("/postgres?", "/at_once?")
