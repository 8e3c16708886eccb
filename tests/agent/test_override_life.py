"""The life of a session's override in Redis: renewed while the session lives, and gone after its end."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import redis.asyncio

from agent import lease
from agent.attempt import Attempt
from agent.ending import End
from agent.settings import Settings, load
from agent.sweep import Records
from agent.transcripts.database import open_engine
from agent.transcripts.journal import Journal
from agent.transcripts.migrations import upgrade
from config_store.overrides import TTL_SECONDS, override_key, room_override_key
from tests.agent import jobs

_names = itertools.count()
PATIENCE = 60.0

Claim = Callable[..., Awaitable[Attempt]]


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client of the sessions' Redis."""
    async with redis.asyncio.Redis.from_url(valkey_url) as opened:
        yield opened


@pytest.fixture
def settings(valkey_url: str, tmp_path: Path) -> Settings:
    """Settings of a worker with a folder of its own."""
    return load(redis_url=valkey_url, data=tmp_path, worker_id="w-life")


@pytest.fixture
async def claim(settings: Settings) -> AsyncIterator[Claim]:
    """Claims a session as a job does; what was claimed is closed at the end."""
    opened: list[Attempt] = []

    async def claim_one(session_id: str | None, room: str = "r") -> Attempt:
        opened.append(await jobs.claim(settings, session_id, room))
        return opened[-1]

    yield claim_one
    for attempt in opened:
        await attempt.close()


async def test_renewed_while_the_session_lives(
    client: "redis.asyncio.Redis", claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session renews its override again and again, also while it waits, and one without a time to live."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    attempt = await claim(f"life-{next(_names)}")
    key = override_key(attempt.session_id)
    await client.set(key, "{}", ex=30)

    async with asyncio.timeout(PATIENCE):
        await _renewed(client, key)
        await client.persist(key)
        await _renewed(client, key)


async def _renewed(client: "redis.asyncio.Redis", key: str) -> None:
    """Return once a key lives for four hours."""
    while True:
        if await client.ttl(key) > TTL_SECONDS - 60:
            return
        await asyncio.sleep(0.01)


async def test_gone_after_the_end(client: "redis.asyncio.Redis", claim: Claim) -> None:
    """When a session ends, its override goes; one that waits for the next call in its room stays."""
    room = f"life-room-{next(_names)}"
    attempt = await claim(f"life-{next(_names)}", room)
    await client.set(override_key(attempt.session_id), "{}")
    await client.set(room_override_key(room), "{}", ex=60)

    await attempt.end(End("operator"))

    assert not await client.exists(override_key(attempt.session_id))
    assert await client.exists(room_override_key(room))


async def test_a_refused_session_leaves_nothing_to_the_next_call_in_its_room(
    client: "redis.asyncio.Redis", claim: Claim
) -> None:
    """A session without an id that was refused before it read its room's override removes it at its end."""
    room = f"life-room-{next(_names)}"
    attempt = await claim(None, room)
    await client.set(room_override_key(room), "{}", ex=60)

    await attempt.end(End("config_refused"))

    assert not await client.exists(room_override_key(room))


async def test_gone_with_a_crash(client: "redis.asyncio.Redis", settings: Settings) -> None:
    """The override of a session that never wrote its end goes when its record is made."""
    session_id = f"life-{next(_names)}"
    upgrade(settings.database())
    journal = Journal(settings.journals, session_id, 1)
    journal.append("start", session_id=session_id, room={"name": "r", "sid": "RM_1"})
    journal.close(PATIENCE)
    await client.set(override_key(session_id), "{}")
    engine = open_engine(settings.database())
    records = Records(settings, engine)

    await records.make(session_id)

    assert records.problem is None
    assert not await client.exists(override_key(session_id))
    records.close()
    engine.dispose()


async def test_a_session_that_nobody_began_keeps_its_override(
    client: "redis.asyncio.Redis", settings: Settings
) -> None:
    """Where nothing is there to make a record of, the override waits for its session."""
    session_id = f"life-{next(_names)}"
    upgrade(settings.database())
    await client.set(override_key(session_id), "{}", ex=60)
    engine = open_engine(settings.database())
    records = Records(settings, engine)

    await records.make(session_id)

    assert await client.exists(override_key(session_id))
    records.close()
    engine.dispose()
