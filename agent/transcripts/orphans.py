"""Sessions that are over and have no record yet: on this disk, and in Redis from machines that are gone."""

import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import redis as redis_client

from agent.transcripts.entries import Entry, seconds_of
from agent.transcripts.fold import end_of
from agent.transcripts.reading import is_session_written, read_journals, sessions_on_disk
from agent.transcripts.stream import read_stream, sessions_in_streams
from config_store.state import has_ended, heartbeat_key, state_key

IDLE_SECONDS = 120.0
"""A session without an end whose journal was quiet for this long, and that nobody owns, will not go on."""


def orphans(
    journals: Path,
    redis: "redis_client.Redis | None" = None,
    *,
    idle_seconds: float = IDLE_SECONDS,
    elsewhere: bool = True,
) -> Iterator[str]:
    """
    The ids of sessions to make a record of: those that nobody can resume. Each once.

    Args:
        journals: The folder of all journals.
        redis: A client that is not asynchronous; None: only this disk is looked at.
        idle_seconds: How long a journal without an end must have been quiet.
        elsewhere: Whether to look for journals of other machines, too: through every stream in Redis.

    Raises:
        OSError: The folder cannot be read.
        redis.RedisError: Redis did not answer.
    """
    seen = set()
    for session_id in sessions_on_disk(journals):
        seen.add(session_id)
        if is_over(session_id, journals, redis, idle_seconds=idle_seconds):
            yield session_id
    if redis is None or not elsewhere:
        return
    for session_id in sessions_in_streams(redis):
        if session_id not in seen and is_over(session_id, journals, redis, idle_seconds=idle_seconds):
            yield session_id


def is_over(
    session_id: str,
    journals: Path,
    redis: "redis_client.Redis | None" = None,
    *,
    idle_seconds: float = IDLE_SECONDS,
) -> bool:
    """
    Whether nobody goes on with a session: its state says so, or its journal has an end, or it was quiet for
    `idle_seconds` and no living process or worker has it. Raises as `orphans`.
    """
    if is_session_written(journals, session_id):
        return False
    state = _state(redis, f"session:{session_id}:state") if redis is not None else {}
    if has_ended(state.get("phase")):
        return True
    if redis is not None and _beats(redis, state):
        return False
    entries = read_journals(journals, session_id)
    if redis is not None:
        entries += read_stream(redis, session_id)
        if not state and _beats(redis, _state_by_room(redis, session_id, entries)):
            return False
    if end_of(entries) is not None:
        return True
    latest = max((seconds_of(entry.get("at")) or 0.0 for entry in entries), default=0.0)
    return time.time() - latest >= idle_seconds


def is_owned(redis: redis_client.Redis, session_id: str, entries: Collection[Entry]) -> bool:
    """Whether a worker that beats has this session, which is not over. Raises redis.RedisError."""
    state = _state(redis, f"session:{session_id}:state") or _state_by_room(redis, session_id, entries)
    return not has_ended(state.get("phase")) and _beats(redis, state)


def _beats(redis: redis_client.Redis, state: Mapping[str, str]) -> bool:
    """Whether the worker that has the session beats; also while it brings the session back, without a job."""
    owner = state.get("owner_worker")
    return bool(owner and redis.exists(heartbeat_key(owner)))


def _state_by_room(
    redis: redis_client.Redis, session_id: str, entries: Collection[Entry]
) -> Mapping[str, str]:
    """The state of a call whose dispatch named no session: by its room's name, until the next call there."""
    rooms = {_room_of(entry) for entry in entries} - {None}
    states = (_state(redis, state_key(None, str(name))) for name in rooms)
    return next((state for state in states if state.get("session_id") == session_id), {})


def _room_of(entry: Entry) -> str | None:
    room = entry.get("room") if entry.get("type") == "start" else None
    name = room.get("name") if isinstance(room, dict) else None
    return name if isinstance(name, str) else None


def _state(client: redis_client.Redis, key: str) -> Mapping[str, str]:
    try:
        found = cast("dict[Any, Any]", client.hgetall(key))
    except redis_client.ResponseError:  # somebody else's value, of another type
        return {}
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
