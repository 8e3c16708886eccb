"""
Dead jobs: the parent hears of a job process that is gone and brings the session back, or closes it.

A crash is a process that is gone while the journal has no `end`. Exit codes say nothing: livekit reports
success for an entrypoint that raised.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from livekit import api
from redis.exceptions import RedisError

from agent import room
from agent.ending import CRASHED, ROOM_DELETED
from agent.people import agent_identity, people_of
from agent.settings import Settings, environment
from agent.stores import text
from agent.sweep import Records
from agent.transcripts.conversation import conversation
from agent.transcripts.entries import Entry, iso_from_seconds
from agent.transcripts.fold import end_of
from agent.transcripts.journal import Journal
from agent.transcripts.reading import is_session_written
from config_store.dispatch import Dispatch, DispatchError, parse_dispatch
from config_store.state import (
    STATE_SECONDS,
    SessionState,
    mint_session_id,
    state_key,
    worker_sessions_key,
)
from config_store.stored import Stored, StoredError

MOST_RECOVERIES = 2
"""How often a session is brought back; a third crash ends it."""
TAKE_SECONDS = 3.0
"""How long a worker has to take a session that was dispatched again."""
OUTAGE_SECONDS = 20.0
"""How long Redis is waited for, in seconds, before a call that crashed meanwhile is given up."""
OUTAGE_LOOK_SECONDS = 0.2
CLOSE_SECONDS = 3.0
"""Longest time in seconds for the one entry that is written here."""
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
        self._worker = settings.worker_id or ""
        # State keys that are being judged now; state keys and jobs without a process at the last look.
        self._judged: set[str] = set()
        self._lost: set[tuple[str, str]] = set()
        self.recovering: set[str] = set()
        """Sessions that are being brought back now, so that nobody makes their record."""

    async def judge(self, job: DeadJob) -> None:
        """Make the record of a session that ended, bring back one that crashed."""
        dispatch = _dispatch_of(job)
        state = SessionState(self._redis, state_key(dispatch.session_id, job.room))
        with self._judging(state):
            found = await _found(state)
            session_id = (found or {}).get("session_id") or dispatch.session_id or mint_session_id(job.job_id)
            if not found:
                await self._judge_unknown(job, state, session_id, is_away=found is None)
            elif found.get("owner_job") == job.job_id:
                await self._settle(job, state, found)
            elif found.get("phase") in ("ended", "over"):
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
                logger.warning("a session of a dead worker is taken", extra={"session": found["session_id"]})
                await self._settle(job, state, found)

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
            if owner != self._worker or phase in ("ended", "over"):
                await self._redis.srem(mine, key)
            elif key not in self._judged and not (job_id and runs(job_id)):
                lost.add((key, job_id))
        again, self._lost = lost & self._lost, lost
        for key, job_id in again:
            state = SessionState(self._redis, key)
            with self._judging(state):
                found = await state.read()
                if found.get("owner_job") == job_id and (job := dead_job_of(found)) is not None:
                    logger.warning("a session was left behind", extra={"session": found["session_id"]})
                    await self._settle(job, state, found)

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

    async def _settle(self, job: DeadJob, state: SessionState, found: dict[str, str]) -> None:
        """A session of this worker without a process: its record when it was over, else its return."""
        session_id = found["session_id"]
        entries = await self._entries(session_id)
        if end := end_of(entries):
            await state.end("", session_id=session_id, fence=None, tombstone=_is_of_its_own(state))
            if end.get("reason") != ROOM_DELETED and _configured(found, "delete_room_on_end", True):
                await room.close_room(self._api, job.room)
            await self._records.make(session_id)
            return
        logger.warning("a job crashed", extra={"session": session_id, "job": job.job_id})
        await self._remember(state.key)
        if found.get("owner_job"):
            await state.release(found["owner_job"])
        self.recovering.add(session_id)
        try:
            observers = people_of(conversation(entries).participants, None).observers
            await self._recover(job, state, found, session_id, observers)
        finally:
            self.recovering.discard(session_id)

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
        if not end_of(entries) and not await self._another_agent(job):
            if not entries and not is_away:
                await self._claim_late(job, state, session_id)
                return
            if entries:
                logger.warning("a session that ran without Redis crashed", extra={"session": session_id})
                await room.close_room(self._api, job.room)
        await self._records.make(session_id)

    async def _claim_late(self, job: DeadJob, state: SessionState, session_id: str) -> None:
        claimed = await state.claim(
            session_id=session_id, worker=self._worker, job=job.job_id, pid=0, room=job.room,
            identity=job.identity, agent_name=job.agent_name, metadata=job.metadata,
        )  # fmt: skip
        if claimed.answer == "new":
            await self._settle(job, state, await state.read())

    async def _another_agent(self, job: DeadJob) -> bool:
        try:
            return any(agent != job.identity for agent in await room.agents_in(self._api, job.room))
        except (api.TwirpError, OSError) as exc:
            logger.warning("LiveKit could not be asked who is in the room: %s", type(exc).__name__)
            return False

    async def _entries(self, session_id: str) -> list[Entry]:
        """The journal as far as it is here; a dead worker on another machine left a copy in Redis."""
        return await asyncio.to_thread(self._records.read, session_id)

    async def _recover(
        self,
        job: DeadJob,
        state: SessionState,
        found: dict[str, str],
        session_id: str,
        observers: set[str],
    ) -> None:
        await room.remove_participant(self._api, job.room, job.identity)
        if await asyncio.to_thread(self._records.is_erased, session_id):
            await self._give_up(job, state, session_id, "it was erased")
            return
        if int(found.get("attempts", "1")) > MOST_RECOVERIES or not _may_resume(found):
            await self._give_up(job, state, session_id, "it crashed too often or is not to be resumed")
            return
        if not await self._is_waited_for(job, found, observers):
            await self._give_up(job, state, session_id, "the user did not come back")
            return
        for _ in range(2):
            try:
                await room.dispatch(self._api, job.room, job.agent_name, job.metadata)
            except (api.TwirpError, OSError) as exc:
                logger.warning("LiveKit could not be asked for an agent: %s", type(exc).__name__)
            if await self._taken(state):
                return
        if await self._another_agent(job):  # of a worker that Redis cannot reach; the next look tries again
            logger.warning("an agent without a claim serves a session", extra={"session": session_id})
            return
        await self._give_up(job, state, session_id, "no worker took it")

    async def _is_waited_for(self, job: DeadJob, found: dict[str, str], observers: set[str]) -> bool:
        """
        Whether somebody waits for the agent; a user who is away has the grace to come back, and those who
        only looked on do not count.

        Before anybody came it is the agent who waits, and the next one goes on with that while the room is
        there.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _grace(found)
        while True:
            try:
                if not observers.issuperset(await room.people_in(self._api, job.room)):
                    return True
                if not found.get("live_at") and await room.exists(self._api, job.room):
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

    async def _give_up(self, job: DeadJob, state: SessionState, session_id: str, why: str) -> None:
        """End it as crashed, and close the room so that nobody sits before a mute agent."""
        logger.warning("a crashed session is not brought back: %s", why, extra={"session": session_id})
        if not await self._entries(session_id):
            await asyncio.to_thread(self._begin_journal, job, session_id, await state.read())
        await state.end(CRASHED, session_id=session_id, fence=None, tombstone=_is_of_its_own(state))
        await room.close_room(self._api, job.room)
        await self._records.make(session_id)

    def _begin_journal(self, job: DeadJob, session_id: str, found: dict[str, str]) -> None:
        """The first entry of a session none of whose processes came to write it: it has a record, too."""
        dispatch = _dispatch_of(job)
        journal = Journal(self._settings.journals, session_id, int(found.get("attempts", "1")))
        journal.append(
            "start",
            session_id=session_id,
            room={"name": job.room},
            job_id=job.job_id,
            worker_id=self._worker,
            organization=dispatch.organization,
            user_id=dispatch.user_id,
            metadata=dict(dispatch.metadata),
            started_at=iso_from_seconds(int(found["started_at"]) / 1000) if "started_at" in found else None,
        )
        journal.close(CLOSE_SECONDS)


def _is_of_its_own(state: SessionState) -> bool:
    """Whether the session has an id of the application's, under which it must not come back."""
    return state.key.startswith("session:")


async def _found(state: SessionState) -> dict[str, str] | None:
    """The state of a dead job's session, empty when there is none; None: Redis does not come back in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + OUTAGE_SECONDS
    while True:
        try:
            return await state.read()
        except (RedisError, OSError) as exc:
            if loop.time() >= until:
                logger.warning("a job is gone and Redis stays away: %s", type(exc).__name__)
                return None
        await asyncio.sleep(OUTAGE_LOOK_SECONDS)


def _dispatch_of(job: DeadJob) -> Dispatch:
    try:
        return parse_dispatch(job.metadata)
    except DispatchError as exc:
        return exc.known


def _configured(found: dict[str, str], key: str, without: Any) -> Any:
    """One value of the session's config, as written in one of another release; `without` when it has none."""
    if "config" not in found:
        return without
    try:
        return Stored.from_json(found["config"]).value(key, environment())
    except StoredError:
        config = json.loads(found["config"]).get("config")
        return config.get(key, without) if isinstance(config, dict) else without


def _may_resume(found: dict[str, str]) -> bool:
    return bool(_configured(found, "on_crash", "resume") == "resume")


def _grace(found: dict[str, str]) -> float:
    return float(_configured(found, "rejoin_grace_seconds", 0.0))
