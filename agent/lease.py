"""A session as this process holds it in Redis: written under the claim's fence, renewed, and let go of."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import redis.asyncio
from redis.exceptions import RedisError

from agent.ending import End
from agent.stores import end_task
from config_store.overrides import RedisOverrides, override_key
from config_store.state import ORPHANED_KEY, STATE_SECONDS, Claim, SessionState, worker_sessions_key

RENEW_SECONDS = 600.0
"""How often a session renews the life of its keys in Redis."""
RETRY_SECONDS = 2.0
"""Time until what Redis did not take is written again."""
LAST_WRITES_SECONDS = 1.0
"""Longest time in seconds that writes under way have when the process lets go."""

logger = logging.getLogger(__name__)


class Lease:
    """
    The claim of one session. An unguarded one, whose store was in trouble at the claim, writes nothing.

    Make it on the event loop; it renews itself from then on.

    Args:
        client: Redis, closed with this.
        state: The session's state there.
        claimed: The answer of the claim.
        worker: Id of this job's worker.
        log_fields: For each log line; looked at anew for each.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        state: SessionState,
        claimed: Claim,
        *,
        worker: str,
        log_fields: Mapping[str, Any],
    ) -> None:
        self.redis = client
        self.state = state
        self.claimed = claimed
        self._worker = worker
        self._log_fields = log_fields
        self._claimed_at = asyncio.get_running_loop().time()
        self._renewing: asyncio.Task[None] | None = None
        if claimed.guarded:
            self._renewing = asyncio.create_task(self._renew(), name="renew")
        self._writes: set[asyncio.Task[Any]] = set()
        self._writing = asyncio.Lock()  # in the order asked for, and nothing after the end
        self._over = False

    # ------------------------------------------------------------------ the state

    def redis_ms(self) -> int:
        """Redis TIME now, in milliseconds, by this process's clock since the claim; 0 when unguarded."""
        return round(self._now() * 1000) if self.claimed.guarded else 0

    def now(self) -> float | None:
        """The same in seconds, also of an unguarded claim that knows the time; None: it does not."""
        return self._now() if self.claimed.now_ms else None

    def _now(self) -> float:
        return self.claimed.now_ms / 1000 + asyncio.get_running_loop().time() - self._claimed_at

    async def write(self, **fields: str | int) -> None:
        """Write to the session's state; a store in trouble does not hold up the call."""
        async with self._writing:
            if not self.claimed.guarded or self._over:
                return
            try:
                if not await self.state.write(self.claimed.fence, **fields):
                    self._vanish()
            except (RedisError, OSError) as exc:
                logger.warning(
                    "the state could not be written: %s", type(exc).__name__, extra=dict(self._log_fields)
                )
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self.check_owner)

    def note(self, **fields: str | int) -> None:
        """The same without waiting for it."""
        self._background(self.write(**fields))

    def remember_command(self, command_id: str) -> None:
        """This command was applied; a later attempt does not apply it again."""
        self.note(command=command_id)

    # ------------------------------------------------------------------ whose it is

    async def owner(self) -> str | None:
        """The identity of the agent that holds the claim by now; None: nobody does, or Redis is away."""
        with contextlib.suppress(RedisError, OSError):
            return (await self.state.read()).get("identity") or None
        return None

    def check_owner(self) -> None:
        """After a pause, or trouble with Redis: be gone if another process has the session, else catch up."""
        self.note(renewed="@now")
        self.enlist_soon()

    async def vanish_if_replaced(self) -> None:
        """
        After this agent was removed from the room: by somebody, or by the worker that took the session over.

        Redis knows which. While it is away nobody does, and this process leaves without a word, so that
        whoever has the session goes on.
        """
        if not self.claimed.guarded:
            return
        is_ours = False
        with contextlib.suppress(RedisError, OSError):
            is_ours = await self.state.write(self.claimed.fence, renewed="@now")
        if not is_ours:
            self._vanish()

    def _vanish(self) -> NoReturn:
        """Another process has the session: nothing of ours may be heard or written any more."""
        logger.error("this attempt was replaced; it leaves at once", extra=dict(self._log_fields))
        os._exit(1)

    async def enlist(self) -> None:
        """Enter the session among those of this worker, where others look when the worker dies."""
        if not self.claimed.guarded or self._over:
            return
        key = worker_sessions_key(self._worker)
        try:
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.sadd(key, self.state.key)
                pipe.expire(key, STATE_SECONDS)
                await pipe.execute()
        except (RedisError, OSError) as exc:
            logger.warning("the worker's list of sessions was not written: %s", type(exc).__name__)

    def enlist_soon(self) -> None:
        """The same without waiting for it."""
        self._background(self.enlist())

    async def delist(self) -> None:
        """The session is over, or another job's: take it off the worker's list."""
        with contextlib.suppress(RedisError, OSError):
            await self.redis.srem(worker_sessions_key(self._worker), self.state.key)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.write(renewed="@now")
            await self.enlist()
            with contextlib.suppress(RedisError, OSError):
                await RedisOverrides(self.redis).renew(override_key(self.claimed.session_id))

    # ------------------------------------------------------------------ letting go

    async def end(self, end: End, *, keys: list[str], tombstone: bool) -> None:
        """
        Mark the session ended and forget its keys; a session that somebody else has is left alone.

        Args:
            end: Why.
            keys: Keys in Redis that are this session's alone.
            tombstone: Whether it has an id of the application's, under which it must not come back.
        """
        self._over = True  # what still waits to be written is not worth waiting for
        async with self._writing:
            with contextlib.suppress(RedisError, OSError):
                if await self._mark_ended(end, tombstone=tombstone):
                    await self.redis.delete(*keys)
                    await self.delist()

    async def _mark_ended(self, end: End, *, tombstone: bool) -> bool:
        """Mark the session ended; False for one that ran without a claim and that somebody else has."""
        about = {"session_id": self.claimed.session_id, "detail": end.detail}
        if not self.claimed.guarded:
            return tombstone and await self.state.end_unclaimed(end.reason, **about)
        ours = await self.state.end(end.reason, **about, fence=self.claimed.fence, tombstone=tombstone)
        if not ours:
            self._vanish()
        return True

    async def abandon(self, job_id: str) -> None:
        """
        This process dies because its worker did: let another worker take the session up at once.

        A few seconds remain when the parent is gone; whoever does not use them is found by the missing
        heartbeat.
        """
        if not self.claimed.guarded:
            return
        with contextlib.suppress(RedisError, OSError):
            if await self.state.release(job_id):
                await self.redis.rpush(ORPHANED_KEY, self.state.key)

    async def close(self) -> None:
        """Renew no more, wait a moment for the writes under way, close the connection."""
        if self._renewing is not None:
            await end_task(self._renewing)
        if self._writes:
            await asyncio.wait(self._writes, timeout=LAST_WRITES_SECONDS)
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()

    def _background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
