"""The override in Redis: every content has one outcome, and every trouble ends within the budget."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config_store.errors import StoreUnavailableError
from config_store.overrides import MAX_BYTES, Override, RedisOverrides, override_key, room_override_key
from tests.config_store import faulty

BUDGET = 0.3  # seconds
_numbers = count()


def connect(url: str, **more: Any) -> redis.asyncio.Redis:
    """A client as the worker makes it: it gives up by itself, and does not try again."""
    return redis.asyncio.from_url(
        url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0), **more
    )


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of a real Valkey."""
    made = connect(valkey_url)
    yield made
    await made.aclose()


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return override_key(f"overrides-{next(_numbers)}")


async def read(
    client: redis.asyncio.Redis,
    key: str,
    *,
    rev: int | None = None,
    once: bool = False,
    budget: float = BUDGET,
) -> Override | None:
    """Read with a budget in seconds."""
    deadline = asyncio.get_running_loop().time() + budget
    return await RedisOverrides(client).read(key, rev=rev, once=once, deadline=deadline)


def test_keys() -> None:
    """The keys are those that applications write."""
    assert override_key("s-1") == "session:s-1:config"
    assert room_override_key("r 1") == "room:r 1:config"


async def test_nothing_there(client: redis.asyncio.Redis, key: str) -> None:
    """No key, and a key with nothing in it, are no override."""
    assert await read(client, key) is None

    await client.set(key, b"")

    assert await read(client, key) is None


async def test_a_plain_set_is_enough(client: redis.asyncio.Redis, key: str) -> None:
    """A JSON object that any program wrote is read as it is."""
    await client.set(key, '{"voice_tuning": {"pace": 1.5}, "rev": 3}')

    found = await read(client, key)

    assert found == Override({"voice_tuning": {"pace": 1.5}, "rev": 3}, rev=3)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"{", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"[1]", "is a list, not a JSON object"),
        (b"null", "is null, not a JSON object"),
        (b'"text"', "is text, not a JSON object"),
        (b"{}x", "is not JSON: Extra data at line 1, column 3"),
        (b'{"a": "\xff"}', "is not UTF-8 at byte 7"),
        (b'{"a": NaN}', "holds NaN, which is not JSON"),
        (b'{"a": -Infinity}', "holds -Infinity, which is not JSON"),
        (b'{"a": 1e400}', "holds a number that is too large"),
        (b'{"a": 1, "a": 2}', "gives a key twice"),
        (b'{"b": {"a": 1, "a": 2}}', "gives a key twice"),
        (b'{"a": "\\u0000"}', "holds a NUL character"),
        (b'{"a": "\\udc00"}', "holds half of a surrogate pair"),
        (b'{"a": 9007199254740993}', "holds a whole number beyond 2**53 - 1"),
        (b'{"a": ' * 25 + b"1" + b"}" * 25, "is nested deeper than 24 levels"),
        (b"[" * 100_000, "is nested deeper than 24 levels"),
        (b'{"a": "' + b"x" * 1_000_000 + b'"}', "is larger than 256 KiB"),
        (b" " * (MAX_BYTES + 1), "is larger than 256 KiB"),
    ],
    ids=range(18),
)  # fmt: skip
async def test_contents_that_cannot_be_used(
    client: redis.asyncio.Redis, key: str, value: bytes, problem: str
) -> None:
    """Each content that is no override has one outcome: a problem in words that hold nothing of it."""
    await client.set(key, value)

    found = await read(client, key)

    assert found == Override(problem=problem)


@pytest.mark.parametrize("once", [False, True])
async def test_another_type_of_key(client: redis.asyncio.Redis, key: str, once: bool) -> None:
    """A hash under the key is a problem of its content, not of Redis."""
    await client.hset(key, "a", "1")  # type: ignore[misc]

    assert await read(client, key, once=once) == Override(problem="is not a string in Redis")


async def test_an_override_of_a_room_is_taken(client: redis.asyncio.Redis, key: str) -> None:
    """What is read once is gone, so that the next call in the room does not inherit it."""
    await client.set(key, '{"rev": 1}')

    assert await read(client, key, once=True) == Override({"rev": 1}, rev=1)
    assert await read(client, key, once=True) is None


async def test_written_with_its_time_to_live(client: redis.asyncio.Redis, key: str) -> None:
    """What we write lives four hours from then, or from its renewal, and goes when the session does."""
    overrides = RedisOverrides(client)

    await overrides.write(key, {"a": "ü"})
    assert json.loads(await client.get(key)) == {"a": "ü"}
    assert 14_390 <= await client.ttl(key) <= 14_400
    await client.expire(key, 10)
    assert await overrides.renew(key)
    assert 14_390 <= await client.ttl(key) <= 14_400
    await overrides.remove(key)
    assert not await client.exists(key)
    assert not await overrides.renew(key)


async def test_waits_for_the_revision(client: redis.asyncio.Redis, key: str) -> None:
    """With a revision asked for, a value that is too old is not taken while there is time."""
    await client.set(key, '{"rev": 1}')
    looks = 0

    class Looking(RedisOverrides):
        async def _get(self, key: str, *, once: bool) -> bytes | str:
            nonlocal looks
            looks += 1
            if looks == 3:
                await client.set(key, '{"rev": 3}')
            return await super()._get(key, once=once)

    deadline = asyncio.get_running_loop().time() + 20
    found = await Looking(client).read(key, rev=2, once=False, deadline=deadline)

    assert (found, looks) == (Override({"rev": 3}, rev=3), 3)


@pytest.mark.parametrize("value", ['{"rev": "2"}', '{"rev": true}', '{"rev": null, "captions": false}'])
async def test_a_revision_that_is_no_number_is_not_waited_for(
    client: redis.asyncio.Redis, key: str, value: str
) -> None:
    """A `rev` of another type never becomes the one that is awaited: what there is counts at once."""
    await client.set(key, value)

    assert await read(client, key, rev=2, budget=600) == Override(json.loads(value))


async def test_a_stale_override_of_a_room_is_taken_too(client: redis.asyncio.Redis, key: str) -> None:
    """What is read once is removed also when its revision was too old, so that no later call gets it."""
    await client.set(key, '{"rev": 1}')

    found = await read(client, key, rev=2, once=True, budget=0.3)

    assert found == Override({"rev": 1}, rev=1, is_stale=True)
    assert await read(client, key) is None


@pytest.mark.parametrize("value", [None, '{"rev": 1}', "{}"])
async def test_a_revision_that_does_not_come(
    client: redis.asyncio.Redis, key: str, value: str | None
) -> None:
    """When the revision does not come in time, what there is counts, and is marked as stale."""
    if value is not None:
        await client.set(key, value)

    found = await read(client, key, rev=2, budget=0.1)

    assert found is not None
    assert found.is_stale
    assert found.values == json.loads(value or "{}")


async def _trouble(url: str, *, once: bool = False) -> StoreUnavailableError:
    client = connect(url)
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        with pytest.raises(StoreUnavailableError) as caught:
            await read(client, "session:x:config", once=once)
        assert loop.time() - began < BUDGET + 1.0  # a full second of slack for a busy machine
    finally:
        await client.aclose()
    return caught.value


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        (faulty.black_hole, "no answer within the time budget"),
        (faulty.slow, "no answer within the time budget"),
        (faulty.reset, "the connection failed (ConnectionError)"),
        (faulty.says(b"-LOADING Redis is loading the dataset\r\n"), "no answer within the time budget"),
        (faulty.says(b"-NOAUTH Authentication required.\r\n"), "it refused the user or password"),
        (faulty.says(b"-ERR something\r\n"), "it answered"),
    ],
    ids=["black hole", "slow", "reset", "loading", "password", "error"],
)  # fmt: skip
@pytest.mark.parametrize("once", [False, True])
async def test_trouble_ends_within_the_budget(behave: faulty.Behaviour, cause: str, once: bool) -> None:
    """A Redis in trouble is told as unavailable, with its cause, within the time budget."""
    async with faulty.serving(behave) as url:
        error = await _trouble(url, once=once)

    assert error.store == "Redis"
    assert error.cause.startswith(cause)


async def test_garbage_is_trouble() -> None:
    """Something that does not speak Redis at all is unavailable too."""
    async with faulty.serving(faulty.garbage) as url:
        error = await _trouble(url)

    assert error.cause


async def test_refused_is_trouble() -> None:
    """A port where nothing listens is unavailable at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    error = await _trouble(f"redis://user:s3cret@127.0.0.1:{port}/0")

    assert error.cause == "the connection failed (ConnectionError)"
    assert "s3cret" not in str(error)


async def test_a_connection_left_over_is_replaced(client: redis.asyncio.Redis, key: str) -> None:
    """A pooled connection that the server has dropped costs a second try, not the override."""
    await client.set(key, "{}")
    await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")

    assert await read(client, key) == Override({})
