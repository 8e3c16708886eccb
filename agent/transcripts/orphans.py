"""Sessions that are over and have no record yet: on this disk, and in Redis from machines that are gone."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import redis as redis_client

from agent.transcripts.append_file import is_being_written
from agent.transcripts.entries import seconds_of
from agent.transcripts.fold import end_of
from agent.transcripts.paths import journal_files, session_folder
from agent.transcripts.reading import read_journals, sessions_on_disk
from agent.transcripts.stream import read_stream, sessions_in_streams
from config_store.state import heartbeat_key

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
    for path in journal_files(session_folder(journals, session_id)):
        with suppress(FileNotFoundError):
            if is_being_written(path):
                return False
    if redis is not None:
        state = _state(redis, session_id)
        if state.get("phase") in ("ended", "over"):
            return True
        if state.get("owner_job") and redis.exists(heartbeat_key(state.get("owner_worker", ""))):
            return False
    entries = read_journals(journals, session_id)
    if redis is not None:
        entries += read_stream(redis, session_id)
    if end_of(entries) is not None:
        return True
    latest = max((seconds_of(entry.get("at")) or 0.0 for entry in entries), default=0.0)
    return time.time() - latest >= idle_seconds


def _state(client: redis_client.Redis, session_id: str) -> Mapping[str, str]:
    found = cast("dict[Any, Any]", client.hgetall(f"session:{session_id}:state"))
    return {_text(key): _text(value) for key, value in found.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
