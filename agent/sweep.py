"""Sessions whose record is missing: found again and again, whatever became of the process that had them."""

import asyncio
import logging
from collections.abc import Collection

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from agent.settings import Settings
from agent.transcripts.database import DatabaseTroubleError
from agent.transcripts.entries import Entry
from agent.transcripts.erased import is_erased
from agent.transcripts.finalize import RecordNotMadeError, finalize
from agent.transcripts.journal import read_journals
from agent.transcripts.orphans import orphans
from agent.transcripts.retention import expire
from agent.transcripts.shipping import read_stream

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
        assert settings.redis_url is not None
        self._redis = redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=2.0, retry=Retry(NoBackoff(), 0)
        )
        self.problem: str | None = None
        """Why the last record could not be made; None: it could."""

    async def make(self, session_id: str) -> None:
        """Make one session's record; when that fails, the sweep tries again later."""
        await asyncio.to_thread(self._make, session_id)

    def read(self, session_id: str) -> list[Entry]:
        """A session's journal, from this disk and from Redis; what is away is left out. Blocks."""
        entries = read_journals(self._settings.journals, session_id)
        try:
            return entries + read_stream(self._redis, session_id)
        except (redis.RedisError, OSError) as exc:
            logger.warning("a journal in Redis could not be read: %s", type(exc).__name__)
            return entries

    def is_erased(self, session_id: str) -> bool:
        """Whether somebody had this session erased: then nothing of it is taken up again. Blocks."""
        try:
            with self._engine.connect() as connection:
                return is_erased(connection, session_id, self.read(session_id))
        except SQLAlchemyError as exc:
            logger.warning("marks of erasure could not be read: %s", type(exc).__name__)
            return False

    async def sweep(self, busy: Collection[str]) -> None:
        """Make the records of all sessions here and in Redis that nobody serves, except the busy ones."""
        await asyncio.to_thread(self._sweep, frozenset(busy))

    def close(self) -> None:
        """Let go of Redis."""
        self._redis.close()

    def _sweep(self, busy: frozenset[str]) -> None:
        try:
            for session_id in orphans(self._settings.journals, self._redis):
                if session_id not in busy:
                    self._make(session_id)
        except (redis.RedisError, OSError) as exc:
            logger.warning("the sweep is put off: %s", type(exc).__name__)
        try:
            if removed := expire(self._engine):
                logger.info("%d records were past their days and are removed", removed)
        except (SQLAlchemyError, DatabaseTroubleError) as exc:
            logger.warning("records past their days stay: %s", type(exc).__name__)

    def _make(self, session_id: str) -> None:
        try:
            finalize(session_id, engine=self._engine, journals=self._settings.journals, redis=self._redis)
        except RecordNotMadeError as exc:
            if self.problem is None:
                logger.error("a record waits: %s", exc)
            self.problem = str(exc)
        else:
            self.problem = None
