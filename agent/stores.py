"""Connections to Redis, made so that a store in trouble costs a bounded time and never a call."""

import asyncio
from typing import Any

import redis.asyncio

from config_store.redis_client import open_async

TELL_AGAIN_SECONDS = 0.1
STREAM_BLOCK_SECONDS = 5.0
"""How long a read of a stream waits for something new."""


def open_redis(url: str, seconds: float) -> "redis.asyncio.Redis":
    """A client that gives up on each call after `seconds`."""
    return open_async(url, seconds)


def open_stream_reader(url: str, seconds: float) -> "redis.asyncio.Redis":
    """A client for blocking reads of a stream: the socket outlives the block."""
    return open_async(url, STREAM_BLOCK_SECONDS + seconds, connect_seconds=seconds)


async def end_task(task: "asyncio.Task[Any]") -> None:
    """
    Cancel a task that talks to Redis, and wait until it has ended.

    redis-py waits with `wait_for`, which before Python 3.12 swallows a cancellation that comes together with
    an answer: the task would go on for ever, so it is told again until it has heard.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=TELL_AGAIN_SECONDS)


def text(value: Any) -> str:
    """Redis's bytes as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
