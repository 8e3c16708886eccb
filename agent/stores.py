"""Connections to Redis, made so that a store in trouble costs a bounded time and never a call."""

from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

STREAM_BLOCK_SECONDS = 5.0
"""How long a read of a stream waits for something new."""


def open_redis(url: str, seconds: float) -> "redis.asyncio.Redis":
    """
    A client that gives up on each call after `seconds`.

    redis-py's defaults retry for about a minute against a peer that accepts and never answers.
    """
    return redis.asyncio.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


def open_stream_reader(url: str, seconds: float) -> "redis.asyncio.Redis":
    """A client for blocking reads of a stream: the socket outlives the block."""
    return redis.asyncio.from_url(
        url,
        socket_timeout=STREAM_BLOCK_SECONDS + seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )


def text(value: Any) -> str:
    """Redis's bytes as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
