"""Sessions whose record is missing: found again and again, whatever became of the process that had them."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from agent import logs, metrics
from agent.settings import Settings
from agent.transcripts.database import DatabaseTroubleError
from agent.transcripts.entries import Entry
from agent.transcripts.erased import is_erased
from agent.transcripts.finalize import MOST_FAILURES, RecordNotMadeError, finalize
from agent.transcripts.fold import end_of
from agent.transcripts.orphans import orphans
from agent.transcripts.paths import journal_files, session_folder
from agent.transcripts.reading import is_session_written, read_journals, sessions_on_disk
from agent.transcripts.retention import expire
from agent.transcripts.stream import read_stream, stream_key
from config_store.overrides import override_key
from config_store.redis_client import open_sync
from config_store.state import SWEEP_KEY, commands_key

TURN_SHARE = 0.9
"""Share of a period after which the next worker may look: the one that did comes too early otherwise."""

THREADS = 4
"""Records that are made side by side."""
ERASED_SECONDS = 2.0
"""Longest wait in seconds for whether a session was erased, before it is brought back."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Records:
    """
    Makes records: of one session when its job is over, and of all that were left behind.

    Args:
        settings: The worker's settings.
        engine: The database.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._redis = open_sync(settings.require_redis(), 2.0)
        # Of its own: a database that hangs keeps these threads, and nothing else waits for one of them.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="records")
        self.problem: str | None = None
        """Why the last record could not be made; None: it could."""
        self._waiting: dict[str, float] = {}

    def waiting(self) -> int:
        """How many sessions are over and have no record yet."""
        return len(self._waiting)

    def waiting_seconds(self) -> float:
        """For how long the first of them has been waiting; 0 when none does."""
        first = min(list(self._waiting.values()), default=None)
        return 0.0 if first is None else time.monotonic() - first

    async def make(self, session_id: str) -> None:
        """Make one session's record; when that fails, the sweep tries again later."""
        self._waiting.setdefault(session_id, time.monotonic())
        await self._run(self._make, session_id)

    def read(self, session_id: str) -> list[Entry]:
        """A session's journal, from this disk and from Redis; what is away is left out. Blocks."""
        entries = read_journals(self._settings.journals, session_id)
        try:
            return entries + read_stream(self._redis, session_id)
        except (redis.RedisError, OSError) as exc:
            logger.warning("a journal in Redis could not be read: %s", type(exc).__name__)
            return entries

    async def is_erased(self, session_id: str) -> bool:
        """
        Whether somebody had this session erased: then nothing of it is taken up again. A database that does
        not answer in time keeps no caller waiting.
        """
        try:
            async with asyncio.timeout(ERASED_SECONDS):
                return await self._run(self._is_erased, session_id)
        except TimeoutError:
            logger.warning("marks of erasure could not be read in time")
            return False

    def _is_erased(self, session_id: str) -> bool:
        try:
            with self._engine.connect() as connection:
                return is_erased(connection, session_id, self.read(session_id))
        except SQLAlchemyError as exc:
            logger.warning("marks of erasure could not be read: %s", type(exc).__name__)
            return False

    async def sweep(self, busy: Collection[str]) -> None:
        """Make the records of all sessions here and in Redis that nobody serves, except the busy ones."""
        await self._run(self._sweep, frozenset(busy))

    async def sweep_at_last(self) -> None:
        """The same before the worker leaves; without Redis what ended is recorded from this disk alone."""
        await self._run(self._sweep, frozenset(), True)

    def close(self) -> None:
        """Let go of Redis, and of what still waits for the database."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._redis.close()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _sweep(self, busy: frozenset[str], is_last: bool = False) -> None:
        metrics.SWEEPS.inc()
        try:
            elsewhere = self._is_its_turn()
            found = list(orphans(self._settings.journals, self._redis, elsewhere=elsewhere))
            self._make_all([each for each in found if each not in busy])
            self._forget_gone(set(found))
        except (redis.RedisError, OSError) as exc:
            metrics.STORE_ERRORS.labels("redis").inc()
            logger.warning("the sweep is put off: %s", type(exc).__name__)
            if is_last:
                self._make_all(list(self._ended_here()), with_redis=False)
        try:
            if removed := expire(self._engine):
                logger.info("%d records were past their days and are removed", removed)
        except (SQLAlchemyError, DatabaseTroubleError) as exc:
            logger.warning("records past their days stay: %s", type(exc).__name__)

    def _make_all(self, found: Collection[str], *, with_redis: bool = True) -> None:
        """Make these records; all of them wait meanwhile, also those that are left to the next sweep."""
        # Those that failed before come last, so that none stands in the way of the others.
        tried = {each: place for place, each in enumerate(list(self._waiting), 1)}
        for session_id in found:
            self._waiting.setdefault(session_id, time.monotonic())
        failures = 0
        for session_id in sorted(found, key=lambda each: tried.get(each, 0)):
            failures = 0 if self._make(session_id, with_redis=with_redis) else failures + 1
            if failures == MOST_FAILURES:
                return

    def _ended_here(self) -> Iterator[str]:
        """Sessions whose journals on this disk have an end, and that nobody writes."""
        for session_id in sessions_on_disk(self._settings.journals):
            is_written = is_session_written(self._settings.journals, session_id)
            if not is_written and end_of(read_journals(self._settings.journals, session_id)) is not None:
                yield session_id

    def _forget_gone(self, found: Collection[str]) -> None:
        """What another process made or erased waits no more: it is neither on this disk nor in Redis."""
        gone = [
            each
            for each in list(self._waiting)
            if each not in found and not journal_files(session_folder(self._settings.journals, each))
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            for session_id in gone:
                pipe.exists(stream_key(session_id))
            for session_id, is_streamed in zip(gone, pipe.execute(), strict=True):
                if not is_streamed:
                    self._waiting.pop(session_id, None)
        if self.problem is not None and not self._waiting:
            logger.info("no record waits any more")
            self.problem = None

    def _is_its_turn(self) -> bool:
        """
        Whether this worker looks through what all machines have in Redis: one of them does, each period.

        With every worker looking at everything, what sweeps cost would grow with the square of the calls.
        """
        period = max(1, int(self._settings.sweep_seconds * 1000 * TURN_SHARE))
        return bool(self._redis.set(SWEEP_KEY, self._settings.worker_id or "", nx=True, px=period))

    def _forget_keys(self, session_id: str) -> None:
        """The override of a session that crashed before its end could remove it, and commands to it."""
        try:
            self._redis.delete(override_key(session_id), commands_key(session_id))
        except (redis.RedisError, OSError) as exc:
            logger.info("an override stays until its time is over: %s", type(exc).__name__)

    def _make(self, session_id: str, *, with_redis: bool = True) -> bool:
        """Make one record; whether that worked."""
        with logs.about({"session": session_id}):
            store = self._redis if with_redis else None
            try:
                outcome = finalize(
                    session_id, engine=self._engine, journals=self._settings.journals, redis=store
                )
            except (RecordNotMadeError, OSError) as exc:
                # Moved to the end: what was tried last is tried last again.
                self._waiting[session_id] = self._waiting.pop(session_id, time.monotonic())
                metrics.STORE_ERRORS.labels("database").inc()
                if self.problem is None:
                    logger.error("a record waits: %s", exc)
                self.problem = str(exc)
                return False
            else:
                if self.problem is not None:
                    logger.info("records can be made again")
                self.problem = None
                self._waiting.pop(session_id, None)
                metrics.count(outcome.action, outcome.added, outcome.end_reason)
                if with_redis and outcome.action != "nothing":
                    self._forget_keys(session_id)
                return True
