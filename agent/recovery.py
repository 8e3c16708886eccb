"""
Recovery: a session whose process crashed is given to another one, or ended and its room closed.

Another process is asked for by a dispatch like the first; whether it comes is seen in Redis.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from livekit import api
from livekit.protocol.agent import Job

from agent import logs, room
from agent.ending import CRASHED
from agent.people import agent_identity, people_of
from agent.settings import Settings, environment
from agent.sweep import Records
from agent.transcripts.conversation import conversation
from agent.transcripts.entries import Entry, iso_from_seconds
from agent.transcripts.journal import Journal
from config_store.dispatch import Dispatch, DispatchError, parse_dispatch
from config_store.state import SessionState, has_ended
from config_store.stored import Stored, StoredError

MOST_RECOVERIES = 2
"""How often a session is brought back; a third crash ends it."""
TAKE_SECONDS = 3.0
"""How long a worker has to take a session that was dispatched again."""
CLOSE_SECONDS = 3.0
"""Longest time in seconds for the one entry that is written here."""
LOOK_SECONDS = 0.05
"""Time between two looks at whether somebody took it."""
USER_LOOK_SECONDS = 0.5
"""Time between two looks at whether the user is there."""

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

    @classmethod
    def of(cls, job: Job) -> Self:
        """From LiveKit's description of the job; its participant has the name that `Admission` gives it."""
        return cls(job.id, job.room.name, agent_identity(job.id), job.agent_name, job.metadata)


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


@dataclass(frozen=True)
class _Crash:
    """A session that crashed, as it was found."""

    job: DeadJob
    state: SessionState
    found: dict[str, str]
    """The state's fields."""
    observers: set[str]
    """Identities of participants that are not the user; nobody comes back for them."""

    @property
    def session_id(self) -> str:
        return self.found["session_id"]


class Recovery:
    """
    Brings crashed sessions back.

    Args:
        settings: The worker's settings.
        lkapi: LiveKit's server API.
        records: Reads journals and makes records.
    """

    def __init__(self, settings: Settings, *, lkapi: api.LiveKitAPI, records: Records) -> None:
        self._settings = settings
        self._api = lkapi
        self._records = records
        self.running: set[str] = set()
        """Sessions that are being brought back now, so that nobody makes their record."""

    async def recover(
        self, job: DeadJob, state: SessionState, found: dict[str, str], entries: Sequence[Entry]
    ) -> None:
        """
        Have another process go on with a crashed session, or end it and close its room.

        Args:
            job: The job that died.
            state: The session's state in Redis.
            found: What was read there.
            entries: The session's journal.
        """
        if found.get("owner_job"):
            await state.release(found["owner_job"])
        observers = people_of(conversation(entries).participants, None).observers
        crash = _Crash(job, state, found, observers)
        self.running.add(crash.session_id)
        try:
            await self._recover(crash)
        finally:
            self.running.discard(crash.session_id)

    async def _recover(self, crash: _Crash) -> None:
        job, found = crash.job, crash.found
        await room.remove_participant(self._api, job.room, job.identity)
        if await self._records.is_erased(crash.session_id):
            await self._give_up(crash, "it was erased")
            return
        if int(found.get("attempts", "1")) > MOST_RECOVERIES or not _may_resume(found):
            await self._give_up(crash, "it crashed too often or is not to be resumed")
            return
        if not await self._is_waited_for(crash):
            await self._give_up(crash, "the user did not come back")
            return
        for _ in range(2):
            try:
                await room.dispatch(self._api, job.room, job.agent_name, job.metadata)
            except room.TROUBLE as exc:
                logger.warning("LiveKit could not be asked for an agent: %s", type(exc).__name__)
            if await _is_taken(crash.state):
                return
        if await self.has_another_agent(job):  # its worker is cut off from Redis; the next look tries again
            logger.warning("an agent without a claim serves a session")
            return
        await self._give_up(crash, "no worker took it")

    async def _is_waited_for(self, crash: _Crash) -> bool:
        """
        Whether somebody waits for the agent; a user who is away has the grace to come back, and those who
        only looked on do not count.

        Before anybody came it is the agent who waits, and the next one goes on with that while the room is
        there.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _grace(crash.found)
        while True:
            try:
                if not crash.observers.issuperset(await room.people_in(self._api, crash.job.room)):
                    return True
                if not crash.found.get("live_at") and await room.exists(self._api, crash.job.room):
                    return True
            except room.TROUBLE as exc:
                logger.warning("LiveKit could not be asked who is in the room: %s", type(exc).__name__)
            if loop.time() >= until:
                return False
            await asyncio.sleep(USER_LOOK_SECONDS)

    async def _give_up(self, crash: _Crash, why: str) -> None:
        """End it as crashed, and close the room so that nobody sits before a mute agent."""
        session_id = crash.session_id
        logger.warning("a crashed session is not brought back: %s", why)
        if not await asyncio.to_thread(self._records.read, session_id):
            await asyncio.to_thread(self._begin_journal, crash, await crash.state.read())
        await crash.state.end(
            CRASHED, session_id=session_id, fence=None, tombstone=is_of_its_own(crash.state)
        )
        await room.close_room(self._api, crash.job.room)
        await self._records.make(session_id)

    def _begin_journal(self, crash: _Crash, found: dict[str, str]) -> None:
        """The first entry of a session none of whose processes came to write it: it has a record, too."""
        job = crash.job
        dispatch = dispatch_of(job)
        journal = Journal(self._settings.journals, crash.session_id, int(found.get("attempts", "1")))
        journal.append(
            "start",
            session_id=crash.session_id,
            room={"name": job.room},
            job_id=job.job_id,
            worker_id=self._settings.worker_id or "",
            organization=dispatch.organization,
            user_id=dispatch.user_id,
            metadata=dict(dispatch.metadata),
            started_at=iso_from_seconds(int(found["started_at"]) / 1000) if "started_at" in found else None,
        )
        journal.close(CLOSE_SECONDS)

    async def has_another_agent(self, job: DeadJob) -> bool:
        """Whether an agent other than the dead one is in the room; False also when LiveKit cannot say."""
        try:
            return any(agent != job.identity for agent in await room.agents_in(self._api, job.room))
        except room.TROUBLE as exc:
            logger.warning(
                "LiveKit could not be asked who is in the room: %s",
                type(exc).__name__,
                extra={"job_id": job.job_id},
            )
            return False


async def _is_taken(state: SessionState) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + TAKE_SECONDS
    while loop.time() < until:
        found = await state.read()
        if found.get("owner_job") or has_ended(found.get("phase")):
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


def is_of_its_own(state: SessionState) -> bool:
    """Whether the session has an id of the application's, under which it must not come back."""
    return state.key.startswith("session:")


def dispatch_of(job: DeadJob) -> Dispatch:
    """What the job was dispatched with, as far as it can be read."""
    try:
        return parse_dispatch(job.metadata)
    except DispatchError as exc:
        return exc.known


def configured(found: dict[str, str], key: str, without: Any) -> Any:
    """One value of the session's config, as written in one of another release; `without` when it has none."""
    if "config" not in found:
        return without
    try:
        return Stored.from_json(found["config"]).value(key, environment())
    except StoredError:
        config = json.loads(found["config"]).get("config")
        return config.get(key, without) if isinstance(config, dict) else without


def log_fields(found: Mapping[str, str]) -> dict[str, str]:
    """What a line about a session says of it: its id and, once it was configured, its bundle and digest."""
    fields = {"session": found["session_id"]}
    if found.get("bundle"):
        fields["bundle"] = found["bundle"]
    with contextlib.suppress(ValueError, KeyError, TypeError):  # what is in Redis may be of another release
        fields["digest"] = json.loads(found["config"])["digest"][: logs.DIGEST_SHOWN]
    return fields


def _may_resume(found: dict[str, str]) -> bool:
    return bool(configured(found, "on_crash", "resume") == "resume")


def _grace(found: dict[str, str]) -> float:
    return float(configured(found, "rejoin_grace_seconds", 0.0))
