"""Commands to a running session, from a stream in Redis that outlives outages and is read once."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from agent import stores
from agent.ending import OPERATOR, REASONS, End, Ending
from config_store.state import commands_key

ENDED_BEFORE = "told to end before it began"
"""The detail of a tombstone that nobody's job left; there is no record then."""
RETRY_SECONDS = 1.0
"""Pause before the next try when Redis is away."""

logger = logging.getLogger(__name__)


class Commands:
    """
    Follows a session's command stream.

    Args:
        url: Redis.
        session_id: The session.
        since: Id of the last command that was applied; `0` for a session that begins, so that a command
            sent before the claim is applied too.
        ending: Where `end` goes.
        override: Awaited with the id and the fields of each `override`.
        applied: Called with the id of each command that was applied.
    """

    def __init__(
        self,
        url: str,
        session_id: str,
        *,
        since: str,
        ending: Ending,
        override: Callable[[str, dict[str, str]], Awaitable[None]],
        applied: Callable[[str], None],
    ) -> None:
        self._url = url
        self._key = commands_key(session_id)
        self._since = since
        self._ending = ending
        self._override = override
        self._applied = applied
        self._task = asyncio.create_task(self._follow(), name="commands")

    async def stop(self) -> None:
        """Follow no longer; an override that is half way may go unanswered, because the session ends."""
        await stores.end_task(self._task)

    async def _follow(self) -> None:
        client = stores.open_stream_reader(self._url, 2.0)
        try:
            while True:
                try:
                    found: Any = await client.xread(
                        {self._key: self._since}, block=int(stores.STREAM_BLOCK_SECONDS * 1000)
                    )
                except (RedisError, OSError):
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                for _, messages in found:
                    for message_id, fields in messages:
                        self._since = stores.text(message_id)
                        await self._apply({stores.text(k): stores.text(v) for k, v in fields.items()})
                        self._applied(self._since)
        finally:
            await client.aclose()

    async def _apply(self, fields: dict[str, str]) -> None:
        name = fields.get("command")
        if name == "end":
            end = _end_asked(fields)
            self._ending.ask(end.reason, end.detail)
        elif name == "override":
            try:
                await self._override(self._since, fields)
            except Exception as exc:  # noqa: BLE001 - a change that fails must not stop later commands
                logger.error("an override failed and changed nothing: %s", type(exc).__name__)
        else:
            logger.warning("an unknown command was left alone", extra={"command": str(name)[:40]})


async def end_before_claim(client: Any, session_id: str) -> End | None:
    """The end that a session was told before anybody had claimed it; None: none. Raises redis-py's errors."""
    for _, fields in await client.xrange(commands_key(session_id)):
        command = {stores.text(k): stores.text(v) for k, v in fields.items()}
        if command.get("command") == "end":
            return _end_asked(command)
    return None


def _end_asked(fields: dict[str, str]) -> End:
    reason = fields.get("reason") or OPERATOR
    return End(reason, "command") if reason in REASONS else End(OPERATOR, f"command: {reason[:100]}")


def command_fields(name: str, **fields: Any) -> dict[str, str]:
    """A command as the stream carries it."""
    return {"command": name, **{k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}}
