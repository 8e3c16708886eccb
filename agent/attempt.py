"""One attempt at a session: the claim, and what this process knows and writes about it."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import redis.asyncio
from livekit.agents import JobContext
from redis.exceptions import RedisError

from agent import settings as process_settings
from agent.confidential import key_variables, secrets_of
from agent.ending import SUPERSEDED, End
from agent.metrics import FIGURE
from agent.settings import Settings
from agent.signals import timestamp
from agent.stores import end_task
from agent.tracing import Trace
from agent.transcripts.journal import Journal
from agent.transcripts.redaction import redactor
from agent.transcripts.shipping import Shipper
from config_store.amend import Amendment
from config_store.dispatch import Dispatch
from config_store.overrides import RedisOverrides, override_key, room_override_key
from config_store.resolve import Resolved
from config_store.state import (
    ORPHANED_KEY,
    STATE_SECONDS,
    Claim,
    SessionState,
    commands_key,
    worker_sessions_key,
)
from config_store.verdict import Verdict

RENEW_SECONDS = 600.0
"""How often a session renews the life of its keys in Redis."""
RETRY_SECONDS = 2.0
"""Time until what Redis did not take is written again."""
CLOSE_SECONDS = 3.0
"""Longest time in seconds for the journal's last write and its copy in Redis."""


logger = logging.getLogger(__name__)


class Attempt:
    """
    What one job process knows of its session.

    Args:
        settings: The worker's settings.
        dispatch: What the dispatch said; empty when it could not be read.
        refusal: Why the dispatch could not be read; None: it could.
        claimed: The answer of the claim.
        state: The session's state in Redis.
        client: Redis, for as long as this attempt lives.
        deadline: When the time for the stores at job start is over, on the event loop's time.
        trace: Of this attempt; its phase is the claim.
    """

    def __init__(
        self,
        settings: Settings,
        ctx: JobContext,
        *,
        dispatch: Dispatch,
        refusal: str | None,
        claimed: Claim,
        state: SessionState,
        client: "redis.asyncio.Redis",
        deadline: float,
        trace: Trace,
    ) -> None:
        self.settings = settings
        self.trace = trace
        self.redis_url = redis_url_of(settings)
        self.dispatch = dispatch
        self.refusal = refusal
        self.claimed = claimed
        self.state = state
        self.redis = client
        self.deadline = deadline
        self.session_id = claimed.session_id
        self.answer = claimed.answer
        self.number = claimed.attempt
        self.user_id = dispatch.user_id
        self.room_name: str = ctx.job.room.name
        self.keys: Mapping[str, str] = process_settings.environment()
        self.outcome: str = claimed.answer
        self.log_fields: dict[str, Any] = {"session": self.session_id, "attempt": self.number}
        self._claimed_at = asyncio.get_running_loop().time()
        self._resolved: Resolved | None = None
        self._journal: Journal | None = None
        self._ctx = ctx
        self._renewing: asyncio.Task[None] | None = None
        if claimed.guarded:
            self._renewing = asyncio.create_task(self._renew(), name="renew")
        self._writes: set[asyncio.Task[Any]] = set()
        self._writing = asyncio.Lock()  # in the order asked for, and nothing after the end
        self._over = False
        self.begun_end: End | None = None
        """The end that is being carried out; None: the talk goes on."""
        ctx.log_context_fields = {**ctx.log_context_fields, **self.log_fields}

    # ------------------------------------------------------------------ config

    @property
    def resolved(self) -> Resolved:
        """The frozen config; set by `configured`."""
        assert self._resolved is not None
        return self._resolved

    async def configured(self, resolved: Resolved) -> None:
        """The config is known: journal it, and freeze it in the state for later attempts."""
        self._resolved = resolved
        self.user_id = resolved.user_id or self.user_id
        self.log_fields |= {"bundle": resolved.bundle, "digest": resolved.digest[:15]}
        self.trace.note(bundle=resolved.bundle, digest=resolved.digest)
        self._ctx.log_context_fields = {**self._ctx.log_context_fields, **self.log_fields}
        self._background(self.own())
        self._open_journal(resolved)
        self._journal_config(resolved)
        if not self.claimed.state.get("config"):  # a process before this one may have died before it wrote it
            await self.write_state(
                phase="configured",
                config=resolved.to_json(),
                bundle=resolved.bundle,
                room=self.room_name,
                user_id=self.user_id or "",
            )

    def applied(self, verdicts: Sequence[Verdict] | None = None) -> dict[str, Any]:
        """What the client is told of the config; with these verdicts, or with all there are."""
        told = self.resolved.verdicts if verdicts is None else verdicts
        return {
            "digest": self.resolved.digest,
            "bundle": self.resolved.bundle,
            "verdicts": [verdict.as_dict() for verdict in told],
        }

    async def revised(self, amendment: Amendment, command_id: str, answers: list[dict[str, Any]]) -> None:
        """The config was changed: journal it, freeze it anew for later attempts, and answer who asked."""
        self._resolved = amendment.resolved
        self.log_fields |= {"digest": amendment.resolved.digest[:15]}
        self._ctx.log_context_fields = {**self._ctx.log_context_fields, **self.log_fields}
        self.journal.append(
            "revision",
            digest=amendment.resolved.digest,
            changed=list(amendment.changed),
            verdicts=[verdict.as_dict() for verdict in amendment.verdicts],
        )
        await self.write_state(
            config=amendment.resolved.to_json(), command=command_id, revisions=json.dumps(answers)
        )

    # ------------------------------------------------------------------ journal

    @property
    def journal(self) -> Journal:
        """This attempt's journal."""
        if self._journal is None:
            self._open_journal(None)
        assert self._journal is not None
        return self._journal

    def _open_journal(self, resolved: Resolved | None) -> None:
        """Opened once the redaction rules are known; a refused session has none and no words either."""
        if self._journal is not None:
            return
        rules = resolved.config.transcript.redact if resolved else ()
        variables = key_variables(resolved.config.model_dump(mode="json")) if resolved else ()
        self._journal = Journal(
            self.settings.journals,
            self.session_id,
            self.number,
            redact=redactor([rule if isinstance(rule, str) else rule.model_dump() for rule in rules]),
            secrets=secrets_of(self.settings, self.keys, variables),
            shipper=Shipper(self.redis_url, self.session_id) if self.claimed.guarded else None,
        )
        job = self._ctx.job
        self._journal.append(
            "start",
            session_id=self.session_id,
            room={"name": self.room_name, "sid": job.room.sid},
            job_id=job.id,
            worker_id=self._ctx.worker_id,
            organization=self.dispatch.organization,
            user_id=self.user_id,
            metadata=dict(self.dispatch.metadata),
            started_at=timestamp(),
        )

    def _journal_config(self, resolved: Resolved) -> None:
        self.journal.append(
            "start",
            session_id=self.session_id,
            organization=resolved.organization,
            user_id=self.user_id,
            bundle=resolved.bundle,
            preset=resolved.preset,
            digest=resolved.digest,
            origins=dict(resolved.origins),
            verdicts=[verdict.as_dict() for verdict in resolved.verdicts],
            metadata=dict(resolved.metadata),
            initial_agent=resolved.config.initial_agent,
            keep_days=resolved.config.transcript.keep_days,
        )

    def journal_participant(self, identity: str, kind: str, change: str) -> None:
        """Somebody came or went."""
        self.journal.append("participant", identity=identity, kind=kind, change=change)

    def figure(self, name: str, seconds: float) -> None:
        """Something measured, for the worker's metrics; no part of the record."""
        self.journal.append(FIGURE, name=name, seconds=round(seconds, 4))

    def live(self) -> None:
        """The user is here for the first time: maximum duration and idle count from now."""
        self.journal.append("live")
        self.trace.phase("live")
        self._background(self.write_state(phase="live", live_at=self.redis_ms()))

    def here(self, present: bool) -> None:
        """The user went away for a moment, or came back."""
        self._background(self.write_state(phase="live" if present else "user_away"))

    def ending(self, end: End) -> None:
        """The end has begun: a process that takes over from here goes on with it."""
        self.begun_end = end
        self._background(self.write_state(phase="ending", ending_reason=end.reason, ending_detail=end.detail))

    @property
    def was_ending(self) -> End | None:
        """The end that the process before this one had begun; None: the talk was going on."""
        state = self.claimed.state
        reason = state.get("ending_reason")
        return End(reason, state.get("ending_detail", "")) if reason else None

    # ------------------------------------------------------------------ state

    def redis_ms(self) -> int:
        """Redis TIME now, in milliseconds, by this process's clock since the claim; 0 when unguarded."""
        gone = asyncio.get_running_loop().time() - self._claimed_at
        return self.claimed.now_ms + round(gone * 1000) if self.claimed.guarded else 0

    async def owner(self) -> str | None:
        """The identity of the agent that holds the claim by now; None: nobody does, or Redis is away."""
        with contextlib.suppress(RedisError, OSError):
            return (await self.state.read()).get("identity") or None
        return None

    async def write_state(self, **fields: str | int) -> None:
        """Write to the session's state; a store in trouble does not hold up the call."""
        async with self._writing:
            if not self.claimed.guarded or self._over:
                return
            try:
                if not await self.state.write(self.claimed.fence, **fields):
                    self._vanish()
            except (RedisError, OSError) as exc:
                logger.warning(
                    "the state could not be written: %s", type(exc).__name__, extra=self.log_fields
                )
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self.check_owner)

    async def vanish_if_replaced(self) -> None:
        """
        After this agent was removed from the room: by somebody, or by the worker that took the session over.

        Redis knows which. While it is away nobody does, and this process leaves without a word, so that
        whoever has the session goes on.
        """
        if not self.claimed.guarded:
            return
        is_ours = False
        with contextlib.suppress(RedisError, OSError):
            is_ours = await self.state.write(self.claimed.fence, renewed="@now")
        if not is_ours:
            self._vanish()

    def _vanish(self) -> NoReturn:
        """Another process has the session: nothing of ours may be heard or written any more."""
        logger.error("this attempt was replaced; it leaves at once", extra=self.log_fields)
        os._exit(1)

    async def own(self) -> None:
        """Enter the session among those of this worker, where others look when the worker dies."""
        if not self.claimed.guarded or self._over:
            return
        key = worker_sessions_key(self.settings.worker_id or "")
        try:
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.sadd(key, self.state.key)
                pipe.expire(key, STATE_SECONDS)
                await pipe.execute()
        except (RedisError, OSError) as exc:
            logger.warning("the worker's list of sessions was not written: %s", type(exc).__name__)

    async def disown(self) -> None:
        """The session is over, or another job's: take it off the worker's list."""
        with contextlib.suppress(RedisError, OSError):
            await self.redis.srem(worker_sessions_key(self.settings.worker_id or ""), self.state.key)

    async def abandon(self) -> None:
        """
        This process dies because its worker did: let another worker take the session up at once.

        A few seconds remain when the parent is gone; whoever does not use them is found by the missing
        heartbeat.
        """
        if not self.claimed.guarded:
            return
        with contextlib.suppress(RedisError, OSError):
            if await self.state.release(self._ctx.job.id):
                await self.redis.rpush(ORPHANED_KEY, self.state.key)

    def check_owner(self) -> None:
        """After a pause, or trouble with Redis: be gone if another process has the session, else catch up."""
        self._background(self.write_state(renewed="@now"))
        self._background(self.own())

    def remember_command(self, command_id: str) -> None:
        """This command was applied; a later attempt does not apply it again."""
        self._background(self.write_state(command=command_id))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.write_state(renewed="@now")
            await self.own()
            with contextlib.suppress(RedisError, OSError):
                await RedisOverrides(self.redis).renew(override_key(self.session_id))

    # ------------------------------------------------------------------ the end

    async def end(self, end: End) -> None:
        """Journal the end, mark the session ended, forget its keys; the journal first, it is the truth."""
        self.outcome = end.reason
        self.trace.note(end_reason=end.reason)
        self.journal.append("end", reason=end.reason, detail=end.detail)
        await asyncio.to_thread(self.journal.flush, CLOSE_SECONDS)
        self._over = True  # what still waits to be written is not worth waiting for
        async with self._writing:
            with contextlib.suppress(RedisError, OSError):
                if await self._mark_ended(end):
                    await self.redis.delete(*self._own_keys())
                    await self.disown()

    async def _mark_ended(self, end: End) -> bool:
        """Mark the session ended; False for one that ran without a claim and that somebody else has."""
        if not self.claimed.guarded:
            return self.dispatch.session_id is not None and await self.state.end_unclaimed(
                end.reason, session_id=self.session_id, detail=end.detail
            )
        ours = await self.state.end(
            end.reason,
            session_id=self.session_id,
            fence=self.claimed.fence,
            tombstone=self.dispatch.session_id is not None,
            detail=end.detail,
        )
        if not ours:
            self._vanish()
        return True

    def last_word(self, end: End) -> None:
        """The same in short, from any thread, where `end` did not come to it: this process is over now."""
        if end.reason == SUPERSEDED:
            return  # another agent's session, and its record
        self.journal.append("end", reason=end.reason, detail=end.detail)
        self.journal.flush(CLOSE_SECONDS)

    async def discard(self) -> None:
        """Leave no trace: another agent serves the session, and its record is the only one."""
        self.outcome = SUPERSEDED
        await asyncio.to_thread(self.journal.close, CLOSE_SECONDS)
        self.journal.path.unlink(missing_ok=True)

    def _own_keys(self) -> list[str]:
        """
        Keys in Redis that are this session's alone.

        The override of a room is removed by who reads it; one that a refused session never read would meet
        the next call in that room.
        """
        keys = [override_key(self.session_id), commands_key(self.session_id)]
        if self.dispatch.session_id is None and self._resolved is None:
            keys.append(room_override_key(self.room_name))
        return keys

    async def close(self) -> None:
        """Let go of everything this process holds."""
        if self._renewing is not None:
            await end_task(self._renewing)
        if self._writes:
            await asyncio.wait(self._writes, timeout=1.0)
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close, CLOSE_SECONDS)
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()
        await asyncio.to_thread(self.trace.close)

    def _background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def redis_url_of(settings: Settings) -> str:
    """Redis; the worker sets it for its jobs, also for the embedded Valkey."""
    assert settings.redis_url is not None
    return settings.redis_url.get_secret_value()
