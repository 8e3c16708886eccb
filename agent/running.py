"""Sessions that run: what is known of them from outside, and how to end one."""

import asyncio
import contextlib
from typing import Any

from agent import stores
from agent.commands import ENDED_BEFORE, command_fields
from agent.settings import Settings
from agent.transcripts.database import DatabaseTroubleError, open_existing
from agent.transcripts.entries import iso_from_seconds
from agent.transcripts.filters import OPERATOR as ANYBODY
from agent.transcripts.history import load
from config_store.state import STATE_SECONDS, SessionState, commands_key, has_ended, state_key

WAIT_SECONDS = 30.0
"""How long `--wait` waits for the record: a goodbye, and a sweep."""
LOOK_SECONDS = 0.05


class NoSuchSessionError(Exception):
    """Nothing is known of this session."""


class RecordMissingError(Exception):
    """The session was told to end, and its record did not come in time."""


async def end_session(settings: Settings, session_id: str, *, reason: str, wait: bool) -> str:
    """
    Tell a session to end.

    A session that nobody claimed yet gets its tombstone: a job that comes later finds it ended.

    Returns:
        `asked`, `prevented` (nobody had it yet, and it has no record), `ended` (it was over already; with
        `wait`, its record is there).

    Raises:
        RecordMissingError: With `wait`, the record did not come, or there is no database to look for it in.
        RedisError: Redis does not answer.
    """
    client = stores.open_redis(settings.require_redis(), 3.0)
    try:
        found = await find_session(client, session_id)
        if not found:
            state = SessionState(client, state_key(session_id, ""))
            prevented = await state.end_unclaimed(reason, session_id=session_id, detail=ENDED_BEFORE)
            # also where it was claimed just now, or runs without a claim because Redis was away then
            await _tell_to_end(client, session_id, reason)
            if prevented:
                return "prevented"
        if found.get("end_detail") == ENDED_BEFORE:
            return "prevented"
        is_over = has_ended(found.get("phase"))
        if found and not is_over:
            await _tell_to_end(client, session_id, reason)
    finally:
        await client.aclose()
    if not wait:
        return "ended" if is_over else "asked"
    await _wait_for_record(settings, session_id)
    return "ended"


async def _tell_to_end(client: Any, session_id: str, reason: str) -> None:
    key = commands_key(session_id)
    await client.xadd(key, command_fields("end", reason=reason))
    await client.expire(key, STATE_SECONDS)


async def find_session(client: Any, session_id: str) -> dict[str, str]:
    """The state of a session; empty when nobody has claimed it."""
    state = await SessionState(client, state_key(session_id, "")).read()
    return state or await _by_room(client, session_id)


async def live_sessions(settings: Settings) -> list[dict[str, Any]]:
    """The sessions that have begun and not ended, oldest first, with what is known of each."""
    client = stores.open_redis(settings.require_redis(), 3.0)
    found = []
    try:
        for pattern in ("session:*:state", "room:*:state"):
            async for key in client.scan_iter(match=pattern, count=500):
                state = await SessionState(client, stores.text(key)).read()
                if state and not has_ended(state.get("phase")):
                    found.append(_shown(state))
    finally:
        await client.aclose()
    return sorted(found, key=lambda session: session["started_at"] or "")


def _shown(state: dict[str, str]) -> dict[str, Any]:
    return {
        "session_id": state.get("session_id"),
        "phase": state.get("phase"),
        "bundle": state.get("bundle") or None,
        "room": state.get("room") or None,
        "user_id": state.get("user_id") or None,
        "attempts": int(state.get("attempts", "0")),
        "started_at": _moment(state.get("started_at")),
        "live_at": _moment(state.get("live_at")),
        "worker": state.get("owner_worker") or None,
        "pid": int(state["pid"]) if state.get("pid") else None,
    }


def _moment(milliseconds: str | None) -> str | None:
    """Redis TIME in milliseconds as our formats have it; None: not yet."""
    return iso_from_seconds(int(milliseconds) / 1000) if milliseconds else None


async def _by_room(client: Any, session_id: str) -> dict[str, str]:
    """A session without an id of its own is found by its room's state."""
    async for key in client.scan_iter(match="room:*:state", count=500):
        state = await SessionState(client, stores.text(key)).read()
        if state.get("session_id") == session_id:
            return state
    return {}


async def _wait_for_record(settings: Settings, session_id: str) -> None:
    try:
        engine = await asyncio.to_thread(open_existing, settings.database())
    except DatabaseTroubleError as exc:
        raise RecordMissingError(
            f"{session_id} was told to end, and its record cannot be looked for: {exc}"
        ) from None
    loop = asyncio.get_running_loop()
    until = loop.time() + WAIT_SECONDS
    try:
        while loop.time() < until:
            with contextlib.suppress(DatabaseTroubleError):
                if await asyncio.to_thread(load, engine, session_id, ANYBODY) is not None:
                    return
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        engine.dispose()
    raise RecordMissingError(
        f"{session_id} was told to end, and has no record after {WAIT_SECONDS:g} s; see the worker's log"
    )
