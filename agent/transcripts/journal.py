"""The journal of one attempt of a session: written as the session happens, off the turn path."""

import itertools
import logging
import queue
import secrets as tokens
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.transcripts.acknowledged import Acknowledged
from agent.transcripts.append_file import AppendFile
from agent.transcripts.entries import VERSION, Entry, iso_from_seconds, to_line
from agent.transcripts.masking import Redact, mask
from agent.transcripts.paths import SUFFIX, session_folder
from agent.transcripts.shipping import Shipper

logger = logging.getLogger(__name__)

_MOST_QUEUED = 10_000
_MOST_HELD_BYTES = 1 << 20
_RETRY_SECONDS = 0.5


class Journal:
    """
    Takes entries from any thread and has one thread of its own write them, in order, one `write` each.

    A disk that cannot be written (full, read-only, folder gone) never reaches the caller: up to 1 MiB of
    entries is held and written when there is space again; what does not fit is counted in `lost`.
    """

    def __init__(
        self,
        folder: Path,
        session_id: str,
        attempt: int,
        *,
        redact: Redact | None = None,
        secrets: Sequence[str] = (),
        shipper: Shipper | None = None,
        began: float | None = None,
    ) -> None:
        """
        Starts the writing thread; touches no disk.

        Args:
            folder: The folder of all journals; made when missing, owner-only.
            session_id: Any text.
            attempt: Which attempt of the session this process is, from 1.
            redact: What is done to words before they are written; None: nothing.
            secrets: Values that are replaced by `[secret]` wherever they turn up.
            shipper: Where a second copy goes; closed with the journal. None: nowhere.
            began: Seconds since 1970 now, by the clock that all attempts of the session share; None: by this
                machine's. Time is counted on from there, so that a clock that is wrong here, or set while the
                session runs, neither reorders it nor stretches it.
        """
        self._zero = (time.time() if began is None else began) - time.monotonic()
        self.session_id = session_id
        self.attempt = attempt
        self.writer = tokens.token_hex(4)
        self.path = session_folder(folder, session_id) / f"{attempt}-{self.writer}{SUFFIX}"
        self._redact = redact
        self._secrets = tuple(secrets)
        self._shipper = shipper
        self._latest_at = ""
        header = {**self._frame(0, "journal"), "session_id": session_id}
        self._file = AppendFile(self.path, to_line(header))
        self._numbers = itertools.count(1)
        self._queue: queue.SimpleQueue[Entry | int | _Mark] = queue.SimpleQueue()
        self._acknowledged = Acknowledged()
        self._held: deque[tuple[int, bytes]] = deque()
        self._held_bytes = 0
        self._lost = 0
        self._unsaid: list[list[int]] = []
        self._saying: int | None = None
        self._failed_at: float | None = None
        self._closed = False
        self._closing = _Mark()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def time_at(self, moment: float) -> str:
        """The journal's time at a moment of `time.monotonic`, ISO 8601 in UTC with milliseconds."""
        return iso_from_seconds(self._zero + moment)

    def time_of(self, seconds: float) -> str:
        """The same of a time of this machine's wall clock, seconds since 1970; never later than now."""
        return self.time_at(time.monotonic() - max(0.0, time.time() - seconds))

    @property
    def lost(self) -> int:
        """Entries that the disk did not take and that are no longer held."""
        return self._lost

    @property
    def is_writable(self) -> bool:
        """Whether the last write worked (or none was needed yet)."""
        return self._failed_at is None

    def append(self, entry_type: str, /, **fields: Any) -> int:
        """
        Hand over one entry; returns its number at once. Does no I/O and never raises.

        Values are read a moment later by the writing thread: do not change them afterwards. Appending to a
        closed journal counts as a loss.
        """
        number = next(self._numbers)
        if self._closed:
            self._lost += 1
        elif self._queue.qsize() >= _MOST_QUEUED:
            self._queue.put(number)
        else:
            self._queue.put({**fields, **self._frame(number, entry_type)})
        return number

    async def written(self, number: int) -> bool:
        """
        Wait until the `write` of this entry has returned.

        Returns:
            True: it is on disk (in the system's cache: it survives this process). False, without waiting
            further: the disk takes nothing at present, or the entry was lost.
        """
        return await self._acknowledged.wait(number)

    def flush(self, timeout: float = 5.0) -> bool:
        """Block until what was appended so far is written; False: not all of it in `timeout` seconds."""
        if self._closed:
            return self.close(timeout)
        mark = _Mark()
        self._queue.put(mark)
        return mark.done.wait(timeout) and mark.succeeded

    def close(self, timeout: float = 5.0) -> bool:
        """
        Write what is left, have the disk hold it (`fsync`), ship it, stop both threads. Blocks; idempotent.

        Returns:
            Whether everything appended is on disk, within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if not self._closed:
            self._closed = True
            self._queue.put(self._closing)
        done = self._closing.done.wait(timeout) and self._closing.succeeded
        if self._shipper is not None:
            self._shipper.close(max(0.0, deadline - time.monotonic()))
        return done

    def _frame(self, number: int, entry_type: str) -> Entry:
        # Never earlier than the entry before: several threads append.
        self._latest_at = max(self._latest_at, self.time_at(time.monotonic()))
        return {
            "v": VERSION,
            "attempt": self.attempt,
            "w": self.writer,
            "n": number,
            "at": self._latest_at,
            "type": entry_type,
        }

    # --- the writing thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                job = self._queue.get(timeout=_RETRY_SECONDS if self._held else None)
            except queue.Empty:
                self._drain()
                continue
            if isinstance(job, dict):
                self._take(job)
            elif isinstance(job, int):
                self._lose(job)
            else:
                self._drain()
                job.succeeded = self._finish() if job is self._closing else not self._held
                job.done.set()
                if job is self._closing:
                    return

    def _take(self, entry: Entry) -> None:
        number: int = entry["n"]
        try:
            line = to_line(mask(entry, self._redact, self._secrets))
        except Exception as exc:  # noqa: BLE001
            # Its type only: the text of the error may hold what was said.
            logger.error("journal entry could not be encoded: %s", type(exc).__name__)
            self._lose(number)
            return
        if self._held_bytes + len(line) > _MOST_HELD_BYTES and entry["type"] != "end":
            self._offer(number, line)
            self._lose(number)
            return
        self._held.append((number, line))
        self._held_bytes += len(line)
        if self._failed_at is None or time.monotonic() - self._failed_at >= _RETRY_SECONDS:
            self._drain()
        if self._failed_at is not None:
            self._acknowledged.broken()
            self._offer(number, line)

    def _drain(self) -> None:
        """Write what is held, oldest first, until it is written or the disk refuses."""
        while self._held:
            number, line = self._held[0]
            if not self._write(line):
                self._acknowledged.broken()
                return
            self._held.popleft()
            self._held_bytes -= len(line)
            self._acknowledged.written(number)
        self._say_lost()
        if self._shipper is not None and self._file.is_open:
            self._shipper.wake(self.path)

    def _write(self, line: bytes) -> bool:
        try:
            self._file.write(line)
        except OSError as exc:
            if self._failed_at is None:
                logger.warning("journal cannot be written: %s; the session goes on", exc.strerror or exc)
            self._failed_at = time.monotonic()
            return False
        if self._failed_at is not None:
            self._failed_at = None
            logger.warning("journal can be written again", extra={"lost": self._lost})
        return True

    def _say_lost(self) -> None:
        """After a loss, and once there is space again: how many entries are missing, and which."""
        if not self._unsaid:
            return
        count = sum(high - low + 1 for low, high in self._unsaid)
        if self._saying is None:
            self._saying = next(self._numbers)
        entry = {**self._frame(self._saying, "lost"), "count": count, "numbers": self._unsaid}
        if self._write(to_line(entry)):
            self._acknowledged.written(self._saying)
            self._unsaid, self._saying = [], None

    def _lose(self, number: int) -> None:
        self._lost += 1
        self._acknowledged.lost(number)
        if self._unsaid and self._unsaid[-1][1] == number - 1:
            self._unsaid[-1][1] = number
        else:
            self._unsaid.append([number, number])

    def _offer(self, number: int, line: bytes) -> None:
        if self._shipper is not None:
            self._shipper.offer(number, line)

    def _finish(self) -> bool:
        for number, _ in self._held:
            self._lose(number)
        self._held.clear()
        try:
            self._file.sync()
        except OSError as exc:
            logger.warning("journal could not be synced: %s", exc.strerror or exc)
            return False
        finally:
            self._file.close()
        return self._lost == 0


class _Mark:
    """A place in the queue that somebody waits for."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.succeeded = False
