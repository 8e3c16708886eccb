"""Who is called dead, on a real Valkey: nobody while the one who looks cannot see its own beats there."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis.asyncio

from agent import adoption
from agent.adoption import Adoption
from agent.services.valkey import EmbeddedValkey
from config_store.state import LOOKOUT_KEY, WORKERS_KEY, heartbeat_key, worker_sessions_key


class Brought:
    """Stands for the recovery: notes what it is given."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.back: list[str] = []
        self.is_away = False

    async def take(self, key: str, dead_worker: str) -> bool:
        if self.is_away:
            raise redis.exceptions.ConnectionError
        self.taken.append((key, dead_worker))
        return True

    async def bring_back(self, key: str) -> None:
        self.back.append(key)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator["redis.asyncio.Redis"]:
    """A store that has two workers with a session each, and no beat of either."""
    with EmbeddedValkey(tmp_path) as valkey:
        async with redis.asyncio.Redis.from_url(valkey.url) as opened:
            for worker in ("me", "other"):
                await cast(Any, opened.sadd(WORKERS_KEY, worker))
                await cast(Any, opened.sadd(worker_sessions_key(worker), f"session:{worker}-1:state"))
            yield opened


def lookout(client: "redis.asyncio.Redis", brought: Brought) -> Adoption:
    """The worker `me`, whose beats arrive somewhere for a long time already."""
    beats: Any = SimpleNamespace(key=heartbeat_key("me"), is_beating=True, beating_since=-math.inf)
    return Adoption(client, beats, cast(Any, brought), ready=lambda: True)


async def look(looking: Adoption, client: "redis.asyncio.Redis") -> None:
    """One look, and what it set going."""
    await client.delete(LOOKOUT_KEY)
    await looking._look()
    for task in list(looking._tasks):
        await task


async def test_nobody_is_dead_where_our_own_beats_do_not_arrive(client: "redis.asyncio.Redis") -> None:
    """In a failover beats may still reach the former master: the calls of both workers are left alone."""
    brought = Brought()
    await look(lookout(client, brought), client)

    assert brought.taken == []
    assert await cast(Any, client.smembers(WORKERS_KEY)) == {b"me", b"other"}


async def test_others_get_a_full_period_after_our_beats_came_back(
    client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """When our own beat is there again the other one may still be on the way: it is dead a period later."""
    brought = Brought()
    looking = lookout(client, brought)
    await look(looking, client)
    await client.set(heartbeat_key("me"), "1", ex=60)
    await look(looking, client)
    assert brought.taken == []

    monkeypatch.setattr(adoption, "HEARTBEAT_SECONDS", 0.0)
    await look(looking, client)
    assert brought.taken == [("session:other-1:state", "other")]
    assert brought.back == ["session:other-1:state"]
    assert await cast(Any, client.smembers(WORKERS_KEY)) == {b"me"}


async def test_a_dead_workers_list_stays_until_its_sessions_are_taken(
    client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis that goes away half way loses no session: the list is there for the next look."""
    monkeypatch.setattr(adoption, "HEARTBEAT_SECONDS", 0.0)
    await client.set(heartbeat_key("me"), "1", ex=60)
    brought = Brought()
    looking = lookout(client, brought)
    brought.is_away = True
    with pytest.raises(redis.exceptions.ConnectionError):
        await look(looking, client)
    brought.is_away = False
    await look(looking, client)

    assert brought.back == ["session:other-1:state"]
