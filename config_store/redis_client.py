"""
From a URL to a client of Redis or Valkey: the one place that makes them.

Every client gives up on each call after a bounded time and tries nothing again by itself, so that a store in
trouble costs a known time; redis-py's defaults go on for about a minute against a peer that never answers.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from config_store.redis_url import SentinelUrl, parse_redis_url

_DRIVER = DriverInfo()
"""What each connection says of its client; redis-py itself reads its version from disk for every one."""


def open_async(
    url: str, seconds: float, *, connect_seconds: float | None = None, decode_responses: bool = False
) -> redis.asyncio.Redis:
    """
    A client for coroutines; it connects at its first command. Close it with `aclose`.

    Behind Sentinels it finds the master at every new connection, and is told of a failover by the error of
    one command: the next command goes to the new master.

    Args:
        url: One of the forms of `redis_url.FORMS`.
        seconds: Longest time of one answer.
        connect_seconds: Longest time to connect, and to ask all Sentinels; None: `seconds`.
        decode_responses: Whether answers are text instead of bytes.

    Raises:
        RedisUrlError: Not such a URL.
    """
    target = parse_redis_url(url)
    options = _options(seconds, connect_seconds, AsyncRetry(NoBackoff(), 0), decode_responses)
    if isinstance(target, str):
        return redis.asyncio.from_url(target, **options)
    sentinel = redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        target.sentinels, sentinel_kwargs=_of_sentinels(target, options), **_of_master(target, options)
    )
    client: _AsyncBehindSentinel = sentinel.master_for(target.service, redis_class=_AsyncBehindSentinel)
    client.sentinel_clients = sentinel
    return client


def open_sync(
    url: str, seconds: float, *, connect_seconds: float | None = None, decode_responses: bool = False
) -> redis.Redis:
    """A client for threads; as `open_async` otherwise. Close it with `close`."""
    target = parse_redis_url(url)
    options = _options(seconds, connect_seconds, Retry(NoBackoff(), 0), decode_responses)
    if isinstance(target, str):
        return redis.Redis.from_url(target, **options)
    sentinel = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        target.sentinels, sentinel_kwargs=_of_sentinels(target, options), **_of_master(target, options)
    )
    client: _BehindSentinel = sentinel.master_for(  # type: ignore[no-untyped-call]
        target.service, redis_class=_BehindSentinel
    )
    client.sentinel_clients = sentinel
    return client


class _AsyncBehindSentinel(redis.asyncio.Redis):
    """A client whose closing closes the connections to the Sentinels too."""

    sentinel_clients: redis.asyncio.sentinel.Sentinel

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close everything."""
        await super().aclose(close_connection_pool)
        await self.sentinel_clients.aclose()


class _BehindSentinel(redis.Redis):
    """A client whose closing closes the connections to the Sentinels too."""

    sentinel_clients: redis.sentinel.Sentinel

    def close(self) -> None:
        """Close everything."""
        super().close()
        self.sentinel_clients.close()


def _options(
    seconds: float, connect_seconds: float | None, retry: Any, decode_responses: bool
) -> dict[str, Any]:
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds if connect_seconds is None else connect_seconds,
        "retry": retry,
        "driver_info": _DRIVER,
        "health_check_interval": 0,
        "decode_responses": decode_responses,
    }


def _of_master(target: SentinelUrl, options: dict[str, Any]) -> dict[str, Any]:
    login = {"username": target.username, "password": target.password, "db": target.db}
    return {**options, **login, **_tls(target)}


def _of_sentinels(target: SentinelUrl, options: dict[str, Any]) -> dict[str, Any]:
    """One Sentinel that never answers leaves time for the others: all together have the time of one."""
    share = options["socket_connect_timeout"] / len(target.sentinels)
    login = {"username": target.sentinel_username, "password": target.sentinel_password}
    return {**options, "socket_timeout": share, "socket_connect_timeout": share, **login, **_tls(target)}


def _tls(target: SentinelUrl) -> dict[str, Any]:
    if target.tls is None:
        return {}
    checked = target.tls.get("ssl_check_hostname", "true").lower() not in ("false", "0", "no")
    return {**target.tls, "ssl": True, "ssl_check_hostname": checked}
