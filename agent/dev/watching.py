"""Follows every session that runs, and tells of it as it happens."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from redis.exceptions import RedisError

from agent import stores
from agent.dev import telling
from agent.dev.live import Live, look
from agent.running import live_sessions
from agent.settings import Settings
from agent.transcripts.entries import Entry, from_json
from agent.transcripts.stream import FIELD, stream_key
from config_store.state import SessionState, has_ended, state_key

LOOK_SECONDS = 0.5
"""Time in seconds between two looks for new sessions, and longest wait for news of one."""
LOOKS_FOR_STATE = 10
"""How often in that time the state is read until it has what the journal told already."""

logger = logging.getLogger(__name__)


async def watch(settings: Settings, say: Callable[[str, str], None]) -> None:
    """
    Tell of all sessions until cancelled.

    Args:
        settings: With Redis.
        say: Gets the session's id and one line.
    """
    following: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as tasks:
        while True:
            with contextlib.suppress(RedisError, OSError):
                for session in await live_sessions(settings):
                    session_id = session["session_id"]
                    if session_id and session_id not in following:
                        following[session_id] = tasks.create_task(_follow(settings, session_id, say))
            await asyncio.sleep(LOOK_SECONDS)


async def _follow(settings: Settings, session_id: str, say: Callable[[str, str], None]) -> None:
    client = stores.open_stream_reader(settings.require_redis(), 3.0)
    known: str | None = None
    try:
        async for entry in _entries(client, session_id):
            if entry.get("type") in ("start", "revision", "live") and (
                live := await _seen(client, session_id, is_live=entry.get("type") == "live")
            ):
                for line in telling.looked_at(live, known, entry.get("type")):
                    say(session_id, line)
                known = live.digest
            if news := telling.line_of(entry):
                say(session_id, news)
    except (RedisError, OSError, ValueError, KeyError) as exc:  # the last two: of another release
        logger.warning("a session is no longer followed: %s", type(exc).__name__)
    finally:
        await client.aclose()


async def _seen(client: Any, session_id: str, *, is_live: bool) -> Live | None:
    """The session as its state has it; the journal may tell a moment earlier that the user is there."""
    for _ in range(LOOKS_FOR_STATE):
        live = await look(client, session_id)
        if live is None or not is_live or live.phase not in ("claimed", "configured"):
            break
        await asyncio.sleep(LOOK_SECONDS / LOOKS_FOR_STATE)
    return live


async def _entries(client: Any, session_id: str) -> AsyncIterator[Entry]:
    """The session's journal as it grows, to its end, also when the journal was put away before we saw it."""
    key, last = stream_key(session_id), "0"
    while True:
        answer = await client.xread({key: last}, block=int(LOOK_SECONDS * 1000))
        for _, messages in answer or ():
            for identity, fields in messages:
                last = stores.text(identity)
                entry = from_json(fields[FIELD])
                if entry is not None:
                    yield entry
                    if entry.get("type") == "end":
                        return
        state = await SessionState(client, state_key(session_id, "")).read()
        if not answer and (not state or has_ended(state.get("phase"))):
            yield {"type": "end", "reason": state.get("end_reason", "over")}
            return
