"""The override of one session: a JSON object under one Redis key, written by any program with a plain SET."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import redis.asyncio
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis-py's own
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from config_store.errors import StoreUnavailableError
from config_store.json_text import JsonRefusedError, parse_object

TTL_SECONDS = 4 * 3600
"""How long an override written by us lives; renewed while its session does."""
MAX_BYTES = 256 * 1024
"""Size of the largest override that is read."""
_FIRST_WAIT = 0.005  # seconds between two looks for a revision; doubles up to the next
_LONGEST_WAIT = 0.08


def override_key(session_id: str) -> str:
    """The key of a session's override."""
    return f"session:{session_id}:config"


def room_override_key(room_name: str) -> str:
    """The key of the override for the next session in a room, for dispatches without a session id."""
    return f"room:{room_name}:config"


@dataclass(frozen=True)
class Override:
    """
    What was found under a key.

    `problem` says in one line why the value cannot be used; there are no values then. `is_stale` means that
    the revision waited for did not come in time, and this is what there was.
    """

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    rev: int | None = None
    problem: str | None = None
    is_stale: bool = False

    def is_at_least(self, rev: int) -> bool:
        """Whether nothing newer is to be waited for; a `rev` that is no whole number never becomes one."""
        return "rev" in self.values if self.rev is None else self.rev >= rev


class OverrideReader(Protocol):
    """Where overrides are read."""

    async def read(self, key: str, *, rev: int | None, once: bool, deadline: float) -> Override | None:
        """
        The override under a key; None when there is none.

        Args:
            key: From `override_key` or `room_override_key`.
            rev: Smallest revision to wait for; None: whatever is there.
            once: Whether to remove what is read.
            deadline: Time of the running loop at which to give up.

        Raises:
            StoreUnavailableError: No answer by then.
        """


class RedisOverrides:
    """Overrides in Redis or Valkey. The client belongs to the caller, who closes it."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def read(self, key: str, *, rev: int | None, once: bool, deadline: float) -> Override | None:
        """See `OverrideReader`."""
        loop = asyncio.get_running_loop()
        wait = _FIRST_WAIT
        found: Override | None = None
        while True:
            raw = await _within(deadline, lambda: self._get(key, once=once and rev is None))
            found = _parse(raw)
            if rev is None or (found is not None and found.is_at_least(rev)):
                break
            if loop.time() + wait >= deadline:
                if once and found is not None:
                    with contextlib.suppress(StoreUnavailableError):  # what was read counts all the same
                        await _within(deadline, lambda: self._client.delete(key))
                return _stale(found)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        if once and rev is not None:
            await _within(deadline, lambda: self._client.delete(key))
        return found

    async def write(self, key: str, values: Mapping[str, Any], *, ttl_seconds: int = TTL_SECONDS) -> None:
        """Write an override together with its time to live, in seconds."""
        raw = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        await self._client.set(key, raw, ex=ttl_seconds)

    async def renew(self, key: str, *, ttl_seconds: int = TTL_SECONDS) -> bool:
        """Let an override live on for this many seconds from now; False when there is none."""
        return bool(await self._client.expire(key, ttl_seconds))

    async def remove(self, key: str) -> None:
        """Take an override away, at the end of its session."""
        await self._client.delete(key)

    async def _get(self, key: str, *, once: bool) -> bytes | str:
        if not once:
            value: bytes | str = await self._client.getrange(key, 0, MAX_BYTES)
            return value
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.getrange(key, 0, MAX_BYTES)
                pipe.delete(key)
                results = await pipe.execute()
            taken: bytes | str = results[0]
            return taken
        except ReadOnlyError:  # a replica: it can be read, and a later session will read it too
            kept: bytes | str = await self._client.getrange(key, 0, MAX_BYTES)
            return kept


def _parse(raw: bytes | str | WrongType) -> Override | None:
    if isinstance(raw, WrongType):
        return Override(problem="is not a string in Redis")
    if not raw:
        return None
    try:
        values = parse_object(raw, max_bytes=MAX_BYTES)
    except JsonRefusedError as exc:
        return Override(problem=str(exc))
    rev = values.get("rev")
    is_rev = isinstance(rev, int) and not isinstance(rev, bool)
    return Override(values, rev if is_rev else None)


def _stale(found: Override | None) -> Override:
    return (
        Override(is_stale=True) if found is None else Override(found.values, found.rev, found.problem, True)
    )


class WrongType:
    """The answer of a key that holds something other than a string."""


def _refusal(exc: BaseException | None) -> str | None:
    """Why a server that was reached takes no connection, from the causes; None: nothing is known."""
    while exc is not None:
        if isinstance(exc, AuthenticationError):
            return "it refused the user or password"
        if isinstance(exc, ResponseError) and "DB index" in str(exc):
            return "it has no database of this number"
        exc = exc.__cause__ or exc.__context__
    return None


async def _within(deadline: float, call: Callable[[], Awaitable[Any]]) -> Any:
    """
    One call to Redis before the deadline.

    A server that is loading its data is asked again until then; a connection that fails is made once more,
    because the one in the pool may be left over from a server that restarted.
    """
    failures = 0
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            # the deadline is looked at, too: redis-py waits with `wait_for`, which before Python 3.12 may
            # swallow the one cancellation that comes
            while loop.time() < deadline:
                try:
                    return await call()
                except BusyLoadingError:
                    await asyncio.sleep(_LONGEST_WAIT)
                except ResponseError as exc:
                    if str(exc).startswith("WRONGTYPE") or "WRONGTYPE" in str(exc):
                        return WrongType()
                    cause = _refusal(exc) or f"it answered {str(exc).split(' ')[0]}"
                    raise StoreUnavailableError("Redis", cause) from None
                except (ConnectionError, OSError) as exc:
                    if (refusal := _refusal(exc)) is not None:
                        raise StoreUnavailableError("Redis", refusal) from None
                    failures += 1
                    if failures > 1:
                        cause = f"the connection failed ({type(exc).__name__})"
                        raise StoreUnavailableError("Redis", cause) from None
                    await asyncio.sleep(_FIRST_WAIT)
    except TimeoutError:
        pass
    except RedisError as exc:
        raise StoreUnavailableError("Redis", type(exc).__name__) from None
    raise StoreUnavailableError("Redis", "no answer within the time budget")
