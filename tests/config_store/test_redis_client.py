"""From a URL to a Redis: every form, against real servers, with the same bounded patience."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from config_store.errors import StoreUnavailableError
from config_store.overrides import Override, RedisOverrides
from config_store.redis_client import open_async, open_sync
from config_store.redis_url import RedisUrlError, SentinelUrl, parse_redis_url
from tests.config_store import faulty
from tests.config_store.servers import (
    PATIENCE,
    Server,
    certificate,
    sentinel_config,
    tls_before,
    until,
    watched,
)

SECRET = "s3:cret/@ü"
QUOTED = "s3%3Acret%2F%40%C3%BC"


async def read(
    client: redis.asyncio.Redis, *, once: bool = False, budget: float = PATIENCE
) -> Override | None:
    """The override under one key, within a budget in seconds."""
    deadline = asyncio.get_running_loop().time() + budget
    return await RedisOverrides(client).read("session:x:config", rev=None, once=once, deadline=deadline)


async def works(url: str) -> None:
    """Both clients of a URL write and read."""
    client, plain = open_async(url, 5), open_sync(url, 5)
    try:
        await RedisOverrides(client).write("session:x:config", {"a": 1})
        assert await read(client) == Override({"a": 1})
        assert await asyncio.to_thread(plain.get, "session:x:config") == b'{"a":1}'
    finally:
        await client.aclose()
        plain.close()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Valkey with a password."""
    with Server(tmp_path_factory.mktemp("locked"), password=SECRET) as server:
        yield server


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://h:1/2", "rediss://u:p@h?ssl_ca_certs=/c", "unix:///s?db=1", "redis://[::1]:9"],
)
def test_plain_urls_are_taken_as_they_are(url: str) -> None:
    """What redis-py understands is handed to it."""
    assert parse_redis_url(url) == url


def test_a_sentinel_url() -> None:
    """A Sentinel URL names its Sentinels, the service, the database, and the logins of both."""
    found = parse_redis_url(f"redis+sentinel://bob:{QUOTED}@a:1,[::1],b:3/main/4?sentinel_password=x%20y")

    assert found == SentinelUrl(
        sentinels=(("a", 1), ("::1", 26379), ("b", 3)),
        service="main",
        db=4,
        username="bob",
        password=SECRET,
        sentinel_username=None,
        sentinel_password="x y",
        tls=None,
    )
    assert SECRET not in repr(found)
    assert "x y" not in repr(found)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("", "the scheme is not known"),
        ("http://:hush@h", "the scheme is not known"),
        ("redis+sentinels://:hush@h/main", "the scheme is not known"),
        ("redis://", "a host is missing"),
        ("redis://:hush@h:70000", "a port must be a number"),
        ("redis://:hush@[::1", "an address in brackets does not end"),
        ("redis://:hush@h/one", "the database must be a number"),
        ("redis://:hush@h?socket_timeout=60", "the option 'socket_timeout' is not taken with redis://"),
        ("redis://:hush@h?retry_on_timeout=1", "the option 'retry_on_timeout' is not taken with redis://"),
        ("unix://run/valkey.sock", "unix:// needs an absolute path"),
        ("redis+sentinel://:hush@h:1", "the name of the service is missing"),
        ("redis+sentinel://:hush@h:1,:2/main", "a host is missing"),
        ("redis+sentinel://:hush@h:x/main", "a port must be a number"),
        ("redis+sentinel://:hush@h:1/main/db", "the database must be a number"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_be(url: str, cause: str) -> None:
    """A wrong URL is refused before anything connects, in one line without its password."""
    for opened in (parse_redis_url, lambda url: open_async(url, 1), lambda url: open_sync(url, 1)):
        with pytest.raises(RedisUrlError) as caught:
            opened(url)
        assert str(caught.value).startswith(cause)
        assert "hush" not in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_connection_reads_nothing_from_disk(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py looks its own version up in its package for each connection: every call would pay for it."""

    def refuse(_: str) -> str:
        raise AssertionError("the package was read")

    monkeypatch.setattr("importlib.metadata.version", refuse)
    await works(valkey_url)


async def test_a_socket(valkey_url: str) -> None:
    """A Unix socket is a URL like any other."""
    assert valkey_url.startswith("unix://")
    await works(valkey_url)


async def test_a_database_that_is_not_there(valkey_url: str, locked: Server) -> None:
    """Through a socket too the cause is the one that the server named, and no connection that failed."""
    for url in (f"{valkey_url}?db=9999", f"redis://:{QUOTED}@127.0.0.1:{locked.port}/9999"):
        client = open_async(url, 5)
        with pytest.raises(StoreUnavailableError, match="it has no database of this number"):
            await read(client)
        await client.aclose()


async def test_a_password(locked: Server) -> None:
    """A password with special characters opens; none, or a wrong one, is told as refused, and not shown."""
    await works(f"redis://:{QUOTED}@127.0.0.1:{locked.port}/0")
    await works(f"redis://default:{QUOTED}@127.0.0.1:{locked.port}/0")
    for login in ("", ":wrong-hush@"):
        client = open_async(f"redis://{login}127.0.0.1:{locked.port}/0", 5)
        with pytest.raises(StoreUnavailableError, match="it refused the user or password") as caught:
            await read(client)
        assert "hush" not in str(caught.value)
        await client.aclose()


async def test_tls(locked: Server, tmp_path: Path) -> None:
    """With TLS the certificate is checked: one of an own authority is taken when it is named, else not."""
    pem = certificate(tmp_path)
    async with tls_before(locked.port, pem) as port:
        url = f"rediss://:{QUOTED}@127.0.0.1:{port}/0"
        await works(f"{url}?ssl_ca_certs={pem}")
        client = open_async(url, 5)
        with pytest.raises(StoreUnavailableError, match="the connection failed"):
            await read(client)
        await client.aclose()


async def test_a_replica_can_be_read_and_says_so_when_written(locked: Server, tmp_path: Path) -> None:
    """An override is read from a replica too, also one that is read once; writing to it fails at once."""
    await works(f"redis://:{QUOTED}@127.0.0.1:{locked.port}/0")
    options = ("--replicaof", "127.0.0.1", str(locked.port))
    with Server(tmp_path / "replica", *options, password=SECRET) as replica:
        until(lambda: replica.client().get("session:x:config"))
        client = open_async(f"redis://:{QUOTED}@127.0.0.1:{replica.port}/0", 5)
        assert await read(client, once=True) == Override({"a": 1})
        with pytest.raises(redis.ReadOnlyError):
            await RedisOverrides(client).write("session:x:config", {})
        await client.aclose()


async def test_a_server_that_loads_its_data(tmp_path: Path) -> None:
    """A server that is still loading its data is asked again until it answers, within the budget."""
    with Server(tmp_path) as server:
        plain = server.client()
        plain.set("session:x:config", "{}")
        plain.mset({f"k{number}": "x" * 50 for number in range(3000)})
        plain.save()
        server.stop()
        server.start("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
        url = f"redis://127.0.0.1:{server.port}"
        other = open_sync(url, 5)

        def is_loading() -> bool:
            try:
                return not other.ping()
            except redis.BusyLoadingError:
                return True

        until(is_loading)
        client = open_async(url, 5)
        with pytest.raises(StoreUnavailableError, match="no answer within the time budget"):
            await read(client, budget=0.3)
        reading = asyncio.create_task(read(client))
        other.config_set("key-load-delay", 0)
        assert await reading == Override({})
        await client.aclose()
        other.close()


async def test_sentinels_and_a_failover(tmp_path: Path) -> None:
    """The master that Sentinels name is used; after a failover the next, with one failed command at most."""
    with watched(tmp_path, SECRET) as (first, second, sentinel):
        asked: Any = sentinel.client(decode_responses=True)
        with socket.socket() as gone:  # a Sentinel that is down, named first
            gone.bind(("127.0.0.1", 0))
            hosts = f"127.0.0.1:{gone.getsockname()[1]},127.0.0.1:{sentinel.port}"
            url = f"redis+sentinel://:{QUOTED}@{hosts}/main/1"
            await works(url)
            client, plain = open_async(url, 5), open_sync(url, 5)
            await RedisOverrides(client).write("session:x:config", {"n": 1})
            assert plain.get("session:x:config")
            until(lambda: second.client(db=1).get("session:x:config"))

            until(lambda: asked.execute_command("SENTINEL", "FAILOVER", "main"))
            until(lambda: asked.sentinel_get_master_addr_by_name("main")[1] == second.port)
            until(lambda: first.client().info("replication")["role"] == "slave")

            assert await read(client) == Override({"n": 1})  # its connection was to the first
            await RedisOverrides(client).write("session:x:config", {"n": 2})
            assert second.client(db=1).get("session:x:config") == b'{"n":2}'
            failures = 0
            try:
                plain.set("after", "1")
            except redis.ConnectionError:
                failures += 1
                plain.set("after", "1")
            assert failures <= 1
            assert second.client(db=1).get("after") == b"1"
            await client.aclose()
            plain.close()


async def test_sentinels_that_know_no_master(tmp_path: Path) -> None:
    """A service that no Sentinel knows is an unavailable store, told at once."""
    with (
        Server(tmp_path / "m") as master,
        Server(tmp_path / "s", sentinel=sentinel_config(master)) as sentinel,
    ):
        client = open_async(f"redis+sentinel://127.0.0.1:{sentinel.port}/other", 5)
        with pytest.raises(StoreUnavailableError, match="the connection failed"):
            await read(client)
        await client.aclose()


async def test_a_sentinel_that_never_answers_leaves_time_for_the_next(tmp_path: Path) -> None:
    """Of two Sentinels one is a black hole: the other one is asked within the same time."""
    with (
        Server(tmp_path / "m") as master,
        Server(tmp_path / "s", sentinel=sentinel_config(master)) as sentinel,
    ):
        async with faulty.serving(faulty.black_hole) as hole:
            hosts = f"{hole.removeprefix('redis://').removesuffix('/0')},127.0.0.1:{sentinel.port}"
            client = open_async(f"redis+sentinel://{hosts}/main", 4)
            assert await read(client, budget=4) is None
            await client.aclose()


def test_no_client_tries_again_by_itself() -> None:
    """Every connection of every form has our times, and no retries of its own."""
    urls = ["redis://h", "unix:///s", "rediss://h", "redis+sentinel://a,b/main"]
    for url in urls:
        for client in (open_async(url, 3, connect_seconds=2), open_sync(url, 3, connect_seconds=2)):
            asked = client.connection_pool.connection_kwargs
            assert (asked["socket_timeout"], asked["socket_connect_timeout"]) == (3, 2)
            assert asked["retry"]._retries == 0
    for sentinel in open_sync("redis+sentinel://a,b/main", 3).sentinel_clients.sentinels:  # type: ignore[attr-defined]
        asked = sentinel.connection_pool.connection_kwargs
        assert (asked["socket_timeout"], asked["retry"]._retries) == (1.5, 0)
