"""Sessions of workers that are gone: every worker looks, and one brings each session back."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.exceptions import RedisError

from agent.heartbeat import Heartbeat
from agent.judging import Judge
from agent.stores import text
from config_store.state import (
    HEARTBEAT_SECONDS,
    LOOKOUT_KEY,
    ORPHANED_KEY,
    WORKERS_KEY,
    heartbeat_key,
    worker_sessions_key,
)

LOOK_SECONDS = 0.5
"""Time between two looks at the other workers."""
TURN_SHARE = 0.8
"""Share of that time for which one worker's look is enough for all."""

logger = logging.getLogger(__name__)


class Adoption:
    """
    Looks for dead workers, while this one can take their calls.

    A heartbeat that lapsed because Redis was away is not a death: after an outage, seen by our own beats, one
    full period passes before anybody is called dead. The same holds while our own beats are not where we
    look, as in a failover, when they still go to the former master and succeed.
    """

    def __init__(self, client: Any, heartbeat: Heartbeat, judge: Judge, *, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._redis = client
        self._heartbeat = heartbeat
        self._judge = judge
        self._missed_at = float("-inf")
        """When our own beat was last not found, on the monotonic clock."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self._look()
            except (RedisError, OSError) as exc:
                logger.debug("the other workers could not be looked at: %s", type(exc).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        if not self._heartbeat.is_beating or not self._ready():
            return  # a worker that starts would dispatch before it can take the job itself
        while (key := await cast(Awaitable[Any], self._redis.lpop(ORPHANED_KEY))) is not None:
            await self._orphaned(text(key))
        if time.monotonic() - self._heartbeat.beating_since < HEARTBEAT_SECONDS:
            return
        if not await self._redis.set(LOOKOUT_KEY, "1", nx=True, px=int(LOOK_SECONDS * 1000 * TURN_SHARE)):
            return  # one looks for all: with each looking at each, cost would grow with the workers' square
        if not await self._redis.exists(self._heartbeat.key):
            self._missed_at = time.monotonic()
        if time.monotonic() - self._missed_at < HEARTBEAT_SECONDS:
            return
        for worker in [text(name) for name in await cast(Awaitable[Any], self._redis.smembers(WORKERS_KEY))]:
            if not await self._redis.exists(heartbeat_key(worker)):
                await self._take_over(worker)

    async def _orphaned(self, key: str) -> None:
        """A session whose job said while dying that its worker is gone."""
        owner = await cast(Awaitable[Any], self._redis.hmget(key, "owner_worker", "owner_job"))
        if owner[0] is not None and not owner[1]:
            await self._adopt(key, text(owner[0]))

    async def _take_over(self, worker: str) -> None:
        """All sessions of a worker that beats no more; the last one to look removes its traces."""
        sessions = worker_sessions_key(worker)
        keys = [text(key) for key in await cast(Awaitable[Any], self._redis.smembers(sessions))]
        if keys:
            logger.warning("a worker is gone with %d sessions on its list", len(keys))
        for key in keys:
            await self._adopt(key, worker)  # on this worker's list before the dead one's is gone
        await self._redis.delete(sessions)
        await cast(Awaitable[Any], self._redis.srem(WORKERS_KEY, worker))

    async def _adopt(self, key: str, worker: str) -> None:
        if not await self._judge.take(key, worker):
            return
        task = asyncio.create_task(self._judge.bring_back(key), name=f"adopt {key}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error(
                "a session could not be taken over; the next sweep tries again",
                exc_info=exc,
                extra={"task": task.get_name()},  # it ends with the key of the state
            )
