"""
Dead jobs: the parent hears of a job process that is gone and finds out what became of its session.

A crash is a process that is gone while the journal has no `end`. Exit codes say nothing: livekit reports
success for an entrypoint that raised.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from livekit import api
from redis.exceptions import RedisError

from agent import logs, room
from agent.ending import ROOM_DELETED
from agent.recovery import DeadJob, Recovery, configured, dead_job_of, dispatch_of, is_of_its_own, log_fields
from agent.settings import Settings
from agent.stores import text
from agent.sweep import Records
from agent.transcripts.entries import Entry
from agent.transcripts.fold import end_of
from agent.transcripts.reading import is_session_written
from config_store.state import (
    STATE_SECONDS,
    SessionState,
    has_ended,
    mint_session_id,
    state_key,
    worker_sessions_key,
)

OUTAGE_SECONDS = 20.0
"""How long Redis is waited for, in seconds, before a call that crashed meanwhile is given up."""
OUTAGE_LOOK_SECONDS = 0.2

logger = logging.getLogger(__name__)


class Judge:
    """
    Judges jobs that are gone: a session that ended has its record made, one that crashed is brought back.

    Args:
        settings: The worker's settings.
        client: Redis.
        lkapi: LiveKit's server API.
        records: Reads journals and makes records.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: Any,
        lkapi: api.LiveKitAPI,
        records: Records,
    ) -> None:
        self._settings = settings
        self._redis = client
        self._api = lkapi
        self._records = records
        self._worker = settings.worker_id or ""
        self._recovery = Recovery(settings, lkapi=lkapi, records=records)
        # State keys that are being judged now; state keys and jobs without a process at the last look.
        self._judged: set[str] = set()
        self._lost: set[tuple[str, str]] = set()

    @property
    def recovering(self) -> set[str]:
        """Sessions that are being brought back now, so that nobody makes their record."""
        return self._recovery.running

    async def judge(self, job: DeadJob) -> None:
        """Make the record of a session that ended, bring back one that crashed."""
        dispatch = dispatch_of(job)
        state = SessionState(self._redis, state_key(dispatch.session_id, job.room))
        with self._judging(state):
            found = await _found(state, job)
            session_id = (found or {}).get("session_id") or dispatch.session_id or mint_session_id(job.job_id)
            if not found:
                with logs.about({"session": session_id}):
                    await self._judge_unknown(job, state, session_id, is_away=found is None)
            elif found.get("owner_job") == job.job_id:
                await self._settle(job, state, found)
            elif has_ended(found.get("phase")):
                await self._records.make(session_id)

    async def take(self, key: str, dead_worker: str) -> bool:
        """Take the place of a worker that is gone, in one of its sessions; False: somebody else has it."""
        if not await SessionState(self._redis, key).adopt(dead_worker, self._worker):
            return False
        await self._remember(key)
        return True

    async def bring_back(self, key: str) -> None:
        """Bring back a session that was taken."""
        state = SessionState(self._redis, key)
        with self._judging(state):
            found = await state.read()
            if (job := dead_job_of(found)) is not None:
                await self._settle(job, state, found, "a session of a dead worker is taken")

    async def look_after(self, runs: Callable[[str], bool]) -> None:
        """
        Settle the sessions of this worker whose job is gone and that nobody brought back, because Redis or
        LiveKit was away just then. Seen twice so, since a job that has just gone is about to be judged.

        Args:
            runs: Whether the job of this id runs here.

        Raises:
            RedisError: Redis does not answer.
        """
        mine = worker_sessions_key(self._worker)
        keys = [text(name) for name in await self._redis.smembers(mine)]
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key, "owner_worker", "owner_job", "phase")
            rows = [[text(value or b"") for value in row] for row in await pipe.execute()]
        lost: set[tuple[str, str]] = set()
        for key, (owner, job_id, phase) in zip(keys, rows, strict=True):
            if owner != self._worker or has_ended(phase):
                await self._redis.srem(mine, key)
            elif key not in self._judged and not (job_id and runs(job_id)):
                lost.add((key, job_id))
        again, self._lost = lost & self._lost, lost
        for key, job_id in again:
            state = SessionState(self._redis, key)
            with self._judging(state):
                found = await state.read()
                if found.get("owner_job") == job_id and (job := dead_job_of(found)) is not None:
                    await self._settle(job, state, found, "a session was left behind")

    @contextlib.contextmanager
    def _judging(self, state: SessionState) -> Iterator[None]:
        self._judged.add(state.key)
        try:
            yield
        finally:
            self._judged.discard(state.key)

    async def _remember(self, key: str) -> None:
        """On this worker's list a session is found again, by `look_after` or by others after its death."""
        await self._redis.sadd(worker_sessions_key(self._worker), key)
        await self._redis.expire(worker_sessions_key(self._worker), STATE_SECONDS)

    async def _settle(self, job: DeadJob, state: SessionState, found: dict[str, str], why: str = "") -> None:
        """A session of this worker without a process: its record when it was over, else its return."""
        with logs.about(log_fields(found)):
            if why:
                logger.warning(why)
            session_id = found["session_id"]
            entries = await self._entries(session_id)
            if end := end_of(entries):
                await state.end("", session_id=session_id, fence=None, tombstone=is_of_its_own(state))
                if end.get("reason") != ROOM_DELETED and configured(found, "delete_room_on_end", True):
                    await room.close_room(self._api, job.room)
                await self._records.make(session_id)
                return
            logger.warning("a job crashed", extra={"job_id": job.job_id})
            await self._remember(state.key)
            await self._recovery.recover(job, state, found, entries)

    async def _judge_unknown(
        self, job: DeadJob, state: SessionState, session_id: str, *, is_away: bool
    ) -> None:
        """
        A job that Redis knows nothing of. When there were two of them, or another worker took the session
        over, the other one serves it.

        One that has a journal ran without the store: it cannot be brought back, because nobody could tell
        whether somebody else does; a crash closes the room. One that has none died before it claimed the
        session. That is done in its name now, so that it is brought back like any other.
        """
        if is_session_written(self._settings.journals, session_id):
            return
        entries = await self._entries(session_id)
        if not end_of(entries) and not await self._recovery.has_another_agent(job):
            if not entries and not is_away:
                await self._claim_late(job, state, session_id)
                return
            if entries:
                logger.warning("a session that ran without Redis crashed")
                await room.close_room(self._api, job.room)
        await self._records.make(session_id)

    async def _claim_late(self, job: DeadJob, state: SessionState, session_id: str) -> None:
        claimed = await state.claim(
            session_id=session_id, worker=self._worker, job=job.job_id, pid=0, room=job.room,
            identity=job.identity, agent_name=job.agent_name, metadata=job.metadata,
        )  # fmt: skip
        if claimed.answer == "new":
            await self._settle(job, state, await state.read())

    async def _entries(self, session_id: str) -> list[Entry]:
        """The journal as far as it is here; a dead worker on another machine left a copy in Redis."""
        return await asyncio.to_thread(self._records.read, session_id)


async def _found(state: SessionState, job: DeadJob) -> dict[str, str] | None:
    """The state of a dead job's session, empty when there is none; None: Redis does not come back in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + OUTAGE_SECONDS
    while True:
        try:
            return await state.read()
        except (RedisError, OSError) as exc:
            if loop.time() >= until:
                logger.warning(
                    "a job is gone and Redis stays away: %s",
                    type(exc).__name__,
                    extra={"job_id": job.job_id},
                )
                return None
        await asyncio.sleep(OUTAGE_LOOK_SECONDS)
