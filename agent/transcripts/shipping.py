"""The second copy of a journal: a Redis stream, so that another machine can go on when this one is gone."""

import logging
import math
import random
import threading
import time
from collections import deque
from pathlib import Path

import redis

from agent.transcripts.entries import from_line, to_json
from agent.transcripts.stream import (
    FIELD,
    newest_first,
    stream_key,
)
from config_store.redis_client import open_sync

logger = logging.getLogger(__name__)

TTL_SECONDS = 172_800
"""How long a stream outlives its last entry: two days."""

_BLOCK_BYTES = 1 << 18
_MOST_OFFERED = 500
_LONGEST_LOOK = 2_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_EXPIRE_SECONDS = 60.0
"""How often a stream's life is renewed while it grows: with each batch it was a third of all commands."""


class Shipper:
    """
    Copies a journal's file into its stream from a thread of its own, in order, in batches.

    The file is the memory: an outage of any length costs nothing here, and afterwards the shipper asks the
    stream what arrived and goes on behind that, so that nothing is missing and nothing is there twice. Only
    entries that the disk refused are held here (at most 500) and shipped directly.
    """

    def __init__(self, redis_url: str, session_id: str, *, ttl_seconds: int = TTL_SECONDS) -> None:
        """
        Touches neither network nor disk; the thread starts with the first entry.

        Args:
            redis_url: In one of the forms of `config_store.redis_url`.
            session_id: Any text.
            ttl_seconds: How long the stream outlives its last entry, to within a minute.
        """
        self._url = redis_url
        self._key = stream_key(session_id)
        self._ttl_seconds = ttl_seconds
        self._wake = threading.Event()
        self._path: Path | None = None
        self._offered: deque[tuple[int, bytes]] = deque(maxlen=_MOST_OFFERED)
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None
        self._tail = _Tail()
        self._refused: dict[int, bytes] = {}
        self._direct: set[int] = set()
        self._is_behind = False
        self._expire_at = -math.inf

    @property
    def is_behind(self) -> bool:
        """Whether Redis did not take the last batch; entries wait in the file."""
        return self._is_behind

    def wake(self, path: Path) -> None:
        """There is more in this file. Returns at once."""
        self._path = path
        self._start()
        self._wake.set()

    def offer(self, number: int, line: bytes) -> None:
        """An entry that the disk does not take at present. Returns at once; the oldest give way."""
        self._offered.append((number, line))
        self._start()
        self._wake.set()

    def close(self, timeout: float = 2.0) -> bool:
        """Ship what is left, for at most `timeout` seconds; True if all of it arrived. Blocks; idempotent."""
        self._closing_at = time.monotonic() + timeout
        self._wake.set()
        if self._thread is None:
            return True
        self._thread.join(timeout + 0.5)
        return not self._thread.is_alive() and not self._is_behind

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal-shipper", daemon=True)
            self._thread.start()

    # --- the shipping thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        client = open_sync(self._url, 2.0)
        pause = _FIRST_PAUSE
        try:
            while True:
                self._wake.clear()
                try:
                    if self._is_behind:
                        self._resume(client)
                    while self._ship_batch(client):
                        pass
                    self._is_behind, pause = False, _FIRST_PAUSE
                except (redis.RedisError, OSError) as exc:
                    if not self._is_behind:
                        logger.warning("journal stream is behind: %s", type(exc).__name__)
                    self._is_behind = True
                if self._closing_at is not None and (
                    not self._is_behind or time.monotonic() >= self._closing_at
                ):
                    return
                if self._is_behind:
                    self._pause(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                else:
                    self._wake.wait()
        finally:
            client.close()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; new entries do not shorten it, closing does."""
        until = time.monotonic() + seconds * random.uniform(0.7, 1.3)  # noqa: S311
        while (left := until - time.monotonic()) > 0 and self._closing_at is None:
            time.sleep(min(left, 0.1))
        if self._closing_at is not None:
            time.sleep(0.02)

    def _ship_batch(self, client: redis.Redis) -> bool:
        """Ship the next lines of the file and what was offered; False when there was nothing."""
        while self._offered and len(self._refused) < _MOST_OFFERED:
            number, line = self._offered.popleft()
            if number not in self._direct:
                self._refused[number] = line
        lines, position = self._tail.read(self._path)
        known = self._direct | self._refused.keys()
        batch = [*self._refused.values(), *(line for number, line in lines if number not in known)]
        if batch:
            pipeline = client.pipeline(transaction=False)
            for line in batch:
                entry = from_line(line)
                assert entry is not None
                pipeline.xadd(self._key, {FIELD: to_json(entry)})
            now = time.monotonic()
            if is_due := self._closing_at is not None or now >= self._expire_at:
                pipeline.expire(self._key, self._ttl_seconds)
            pipeline.execute()
            if is_due:
                self._expire_at = now + _EXPIRE_SECONDS
        self._direct.update(self._refused)
        self._refused.clear()
        self._tail.position = position
        return bool(lines)

    def _resume(self, client: redis.Redis) -> None:
        """After an error: find out what the stream holds of this journal, and go on behind that."""
        self._expire_at = -math.inf  # it may be another Redis, without the stream
        if self._path is None:
            return
        writer = self._path.stem.rpartition("-")[2]
        arrived = 0
        for place, entry in enumerate(newest_first(client, self._key)):
            number = entry.get("n")
            if entry.get("w") == writer and isinstance(number, int):
                if self._refused.pop(number, None) is not None:
                    self._direct.add(number)
                elif number not in self._direct:
                    arrived = arrived or number
            if arrived and (not self._refused or place > _LONGEST_LOOK):
                break
        self._tail.seek_behind(self._path, arrived)


class _Tail:
    """Reads whole lines of a growing file."""

    def __init__(self) -> None:
        self.position = 0
        self._path: Path | None = None

    def read(self, path: Path | None) -> tuple[list[tuple[int, bytes]], int]:
        """The numbers and lines behind the position, and the position after them. Raises OSError."""
        if path is None:
            return [], self.position
        try:
            with path.open("rb") as file:
                file.seek(self.position)
                block = file.read(_BLOCK_BYTES)
        except FileNotFoundError:
            return [], self.position  # deleted; its writer brings it back with the same content
        end = block.rfind(b"\n") + 1
        if not end and len(block) == _BLOCK_BYTES:
            end = _BLOCK_BYTES  # no line is that long: damage, which readers drop too
        lines = []
        for line in block[:end].split(b"\n"):
            entry = from_line(line)
            if entry is not None and isinstance(entry.get("n"), int) and entry["n"] >= 1:
                lines.append((entry["n"], line))
        return lines, self.position + end

    def seek_behind(self, path: Path, number: int) -> None:
        """Put the position behind the line of this entry; at the start if it is not there. Raises OSError."""
        self.position = 0
        if number < 1:
            return
        offset = 0
        with path.open("rb") as file:
            for line in file:
                offset += len(line)
                entry = from_line(line)
                if entry is not None and entry.get("n") == number:
                    self.position = offset
                    return
