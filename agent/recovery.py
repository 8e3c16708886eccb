"""
Dead jobs: the parent hears of a job process that is gone and brings the session back, or closes it.

A crash is a process that is gone while the journal has no `end`. Exit codes say nothing: livekit reports
success for an entrypoint that raised.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livekit import api
from redis.exceptions import RedisError

from agent import room
from agent.ending import CRASHED
from agent.people import agent_identity
from agent.settings import Settings, environment
from agent.sweep import Records
from agent.transcripts.append_file import is_being_written
from agent.transcripts.entries import Entry
from agent.transcripts.fold import end_of
from agent.transcripts.paths import journal_files, session_folder
from config_store.dispatch import Dispatch, DispatchError, parse_dispatch
from config_store.state import SessionState, mint_session_id, state_key
from config_store.stored import Stored, StoredError

MOST_RECOVERIES = 2
"""How often a session is brought back; a third crash ends it."""
TAKE_SECONDS = 3.0
"""How long a worker has to take a session that was dispatched again."""
OUTAGE_SECONDS = 20.0
"""How long Redis is waited for, in seconds, before a call that crashed meanwhile is given up."""
OUTAGE_LOOK_SECONDS = 0.2
LOOK_SECONDS = 0.05
"""Time between two looks at whether somebody took it, or whether the user is there."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeadJob:
    """A job whose process is gone."""

    job_id: str
    room: str
    identity: str
    """The participant it was, which LiveKit shows for about 20 s more."""
    agent_name: str
    metadata: str


def dead_job_of(found: Mapping[str, str]) -> DeadJob | None:
    """The job that a session's state names as its last owner; None when the state is too young to say."""
    if not found.get("identity"):
        return None
    return DeadJob(
        job_id=found["identity"].removeprefix(agent_identity("")),
        room=found["room"],
        identity=found["identity"],
        agent_name=found.get("agent_name", ""),
        metadata=found.get("metadata", ""),
    )


class Recovery:
    """
    Judges jobs that are gone.

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
        self.recovering: set[str] = set()
        """Sessions that are being brought back now, so that nobody makes their record."""

    async def judge(self, job: DeadJob) -> None:
        """Make the record of a session that ended, bring back one that crashed."""
        dispatch = _dispatch_of(job)
        state = SessionState(self._redis, state_key(dispatch.session_id, job.room))
        found = await _found(state)
        session_id = found.get("session_id") or dispatch.session_id or mint_session_id(job.job_id)
        if not found:
            await self._judge_unguarded(job, session_id)
            return
        if found.get("owner_job") != job.job_id:
            # Over, or taken by another job meanwhile: only a record may be due.
            if found.get("phase") in ("ended", "over"):
                await self._records.make(session_id)
            return
        if end_of(await self._entries(session_id)):
            await state.end("", session_id=session_id, fence=None, tombstone=dispatch.session_id is not None)
            await self._records.make(session_id)
            return
        logger.warning("a job crashed", extra={"session": session_id, "job": job.job_id})
        await state.release(job.job_id)
        await self._recover(job, state, found, session_id, dispatch)

    async def _judge_unguarded(self, job: DeadJob, session_id: str) -> None:
        """
        A job that Redis knows nothing of: it ran without the store, or died before it claimed anything.

        It cannot be brought back, because nobody could tell whether somebody else does; a crash closes the
        room. When there were two of them, the other one may serve the session still.
        """
        if any(
            is_written(path) for path in journal_files(session_folder(self._settings.journals, session_id))
        ):
            return
        entries = await self._entries(session_id)
        if entries and not end_of(entries):
            logger.warning("a session that ran without Redis crashed", extra={"session": session_id})
            await room.close_room(self._api, job.room)
        await self._records.make(session_id)

    async def adopt(self, key: str, dead_worker: str) -> None:
        """Bring back the session of a worker that is gone, unless somebody else does."""
        state = SessionState(self._redis, key)
        if not await state.adopt(dead_worker, self._settings.worker_id or ""):
            return
        found = await state.read()
        job = dead_job_of(found)
        if job is None:
            return
        session_id = found["session_id"]
        logger.warning("a session of a dead worker is taken", extra={"session": session_id})
        if end_of(await self._entries(session_id)):
            await state.end("", session_id=session_id, fence=None, tombstone=key.startswith("session:"))
            await self._records.make(session_id)
            return
        await self._recover(job, state, found, session_id, _dispatch_of(job))

    async def _entries(self, session_id: str) -> list[Entry]:
        """The journal as far as it is here; a dead worker on another machine left a copy in Redis."""
        return await asyncio.to_thread(self._records.read, session_id)

    async def _recover(
        self, job: DeadJob, state: SessionState, found: dict[str, str], session_id: str, dispatch: Dispatch
    ) -> None:
        self.recovering.add(session_id)
        try:
            await self._bring_back(job, state, found, session_id, dispatch)
        finally:
            self.recovering.discard(session_id)

    async def _bring_back(
        self, job: DeadJob, state: SessionState, found: dict[str, str], session_id: str, dispatch: Dispatch
    ) -> None:
        await room.remove_participant(self._api, job.room, job.identity)
        if await asyncio.to_thread(self._records.is_erased, session_id):
            await self._give_up(job, state, session_id, dispatch, "it was erased")
            return
        if int(found.get("attempts", "1")) <= MOST_RECOVERIES and _may_resume(found):
            if not await self._user_is_there(job, found):
                await self._give_up(job, state, session_id, dispatch, "the user did not come back")
                return
            for _ in range(2):
                await room.dispatch(self._api, job.room, job.agent_name, job.metadata)
                if await self._taken(state):
                    return
            await self._give_up(job, state, session_id, dispatch, "no worker took it")
            return
        await self._give_up(job, state, session_id, dispatch, "it crashed too often or is not to be resumed")

    async def _user_is_there(self, job: DeadJob, found: dict[str, str]) -> bool:
        """Whether somebody waits for the agent; a user who is away has the grace to come back."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _grace(found)
        while True:
            try:
                if await room.people_in(self._api, job.room):
                    return True
            except (api.TwirpError, OSError) as exc:
                logger.warning("LiveKit could not be asked who is in the room: %s", type(exc).__name__)
            if loop.time() >= until:
                return False
            await asyncio.sleep(min(1.0, LOOK_SECONDS * 10))

    async def _taken(self, state: SessionState) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + TAKE_SECONDS
        while loop.time() < until:
            found = await state.read()
            if found.get("owner_job") or found.get("phase") == "ended":
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _give_up(
        self, job: DeadJob, state: SessionState, session_id: str, dispatch: Dispatch, why: str
    ) -> None:
        """End it as crashed, and close the room so that nobody sits before a mute agent."""
        logger.warning("a crashed session is not brought back: %s", why, extra={"session": session_id})
        await state.end(CRASHED, session_id=session_id, fence=None, tombstone=dispatch.session_id is not None)
        await room.close_room(self._api, job.room)
        await self._records.make(session_id)


async def _found(state: SessionState) -> dict[str, str]:
    """The state of a dead job's session; empty when there is none, or Redis does not come back in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + OUTAGE_SECONDS
    while True:
        try:
            return await state.read()
        except (RedisError, OSError) as exc:
            if loop.time() >= until:
                logger.warning("a job is gone and Redis stays away: %s", type(exc).__name__)
                return {}
        await asyncio.sleep(OUTAGE_LOOK_SECONDS)


def is_written(journal: Path) -> bool:
    """Whether a living process on this machine writes this journal."""
    try:
        return is_being_written(journal)
    except FileNotFoundError:
        return False


def _dispatch_of(job: DeadJob) -> Dispatch:
    try:
        return parse_dispatch(job.metadata)
    except DispatchError as exc:
        return exc.known


def _configured(found: dict[str, str], key: str, without: Any) -> Any:
    """One value of the session's config; `without` when it has none, or one of another release."""
    try:
        stored = Stored.from_json(found["config"])
    except (KeyError, StoredError):
        return without
    return stored.value(key, environment())


def _may_resume(found: dict[str, str]) -> bool:
    return bool(_configured(found, "on_crash", "resume") == "resume")


def _grace(found: dict[str, str]) -> float:
    return float(_configured(found, "rejoin_grace_seconds", 0.0))
