"""The stream of a session's entries in Redis: its key, what is in it, which there are."""

from collections.abc import Iterator
from typing import Any, cast

import redis

from agent.transcripts.entries import Entry, from_json, union

FIELD = b"entry"
"""The field of a stream's message that holds the JSON of the entry."""

_PAGE = 500


def stream_key(session_id: str) -> str:
    """The key of a session's stream."""
    return f"session:{session_id}:journal"


def newest_first(client: redis.Redis, key: str) -> Iterator[Entry]:
    """The entries of a stream from its end. Raises redis.RedisError."""
    end = "+"
    while True:
        page = cast("list[Any]", client.xrevrange(key, max=end, count=_PAGE))
        for _, fields in page:
            entry = _entry_in(fields)
            if entry is not None:
                yield entry
        if len(page) < _PAGE:
            return
        end = "(" + _text(page[-1][0])


def read_stream(client: redis.Redis, session_id: str) -> list[Entry]:
    """
    All entries of a session that reached Redis, each once, by attempt and number; empty if there are none.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    return list(union(read_whole_stream(client, session_id)[0]).values())


def read_whole_stream(client: redis.Redis, session_id: str) -> tuple[list[Entry], str | None]:
    """The entries as they lie in the stream, and the id of the last one (None: no stream)."""
    entries: list[Entry] = []
    last: str | None = None
    start = "-"
    while True:
        page = cast("list[Any]", client.xrange(stream_key(session_id), min=start, count=_PAGE))
        for identity, fields in page:
            last = _text(identity)
            entry = _entry_in(fields)
            if entry is not None:
                entries.append(entry)
        if len(page) < _PAGE:
            return entries, last
        start = f"({last}"


def sessions_in_streams(client: redis.Redis) -> Iterator[str]:
    """The ids of all sessions that have a stream. Raises redis.RedisError."""
    for key in client.scan_iter(match="session:*:journal", count=1000):
        yield _text(key).removeprefix("session:").removesuffix(":journal")


def delete_stream(client: redis.Redis, session_id: str, last: str) -> bool:
    """Delete a stream if `last` still is its last entry; False if it has grown. Raises redis.RedisError."""
    key = stream_key(session_id)
    with client.pipeline() as pipeline:
        try:
            cast("Any", pipeline).watch(key)
            newest = cast("list[Any]", pipeline.xrevrange(key, count=1))
            if not newest or _text(newest[0][0]) != last:
                return False
            pipeline.multi()
            pipeline.delete(key)
            pipeline.execute()
        except redis.WatchError:
            return False
    return True


def _entry_in(fields: Any) -> Entry | None:
    text = fields.get(FIELD, fields.get(FIELD.decode()))
    return None if text is None else from_json(text)


def _text(value: Any) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
