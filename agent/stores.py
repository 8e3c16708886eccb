"""Connections to Redis, made so that a store in trouble costs a bounded time and never a call."""

from typing import Any

import redis.asyncio

from config_store.redis_client import open_async

STREAM_BLOCK_SECONDS = 5.0
"""How long a read of a stream waits for something new."""


def open_redis(url: str, seconds: float) -> "redis.asyncio.Redis":
    """A client that gives up on each call after `seconds`."""
    return open_async(url, seconds)


def open_stream_reader(url: str, seconds: float) -> "redis.asyncio.Redis":
    """A client for blocking reads of a stream: the socket outlives the block."""
    return open_async(url, STREAM_BLOCK_SECONDS + seconds, connect_seconds=seconds)


def text(value: Any) -> str:
    """Redis's bytes as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
