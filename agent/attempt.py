"""One attempt at a session: what this process knows of it, and journals."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import redis.asyncio
from livekit.agents import JobContext

from agent import logs
from agent import settings as process_settings
from agent.confidential import guard_stderr, secrets_of
from agent.ending import SUPERSEDED, End
from agent.lease import Lease
from agent.metrics import FIGURE
from agent.settings import Settings
from agent.tracing import Trace
from agent.transcripts.journal import Journal
from agent.transcripts.redaction import redactor
from agent.transcripts.shipping import Shipper
from config_store.amend import Amendment
from config_store.dispatch import Dispatch
from config_store.models import key_variables
from config_store.overrides import override_key, room_override_key
from config_store.resolve import Resolved
from config_store.state import Claim, SessionState, commands_key
from config_store.verdict import Verdict

CLOSE_SECONDS = 3.0
"""Longest time in seconds for the journal's last write and its copy in Redis."""


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
        self.redis_url = settings.require_redis()
        self.dispatch = dispatch
        self.refusal = refusal
        self.claimed = claimed
        self.deadline = deadline
        self.session_id = claimed.session_id
        self.answer = claimed.answer
        self.number = claimed.attempt
        self.user_id = dispatch.user_id
        self.room_name: str = ctx.job.room.name
        self.keys: Mapping[str, str] = process_settings.environment()
        self.outcome: str = claimed.answer
        self.log_fields: dict[str, Any] = {"session": self.session_id, "attempt": self.number}
        self.lease = Lease(
            client, state, claimed, worker=settings.worker_id or "", log_fields=self.log_fields
        )
        self._resolved: Resolved | None = None
        self._journal: Journal | None = None
        self._ctx = ctx
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
        self.log_fields |= {"bundle": resolved.bundle, "digest": resolved.digest[: logs.DIGEST_SHOWN]}
        self.trace.note(bundle=resolved.bundle, digest=resolved.digest)
        self._ctx.log_context_fields = {**self._ctx.log_context_fields, **self.log_fields}
        self.lease.enlist_soon()
        self._open_journal(resolved)
        self._journal_config(resolved)
        if not self.claimed.state.get("config"):  # a process before this one may have died before it wrote it
            await self.lease.write(
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
        self.log_fields |= {"digest": amendment.resolved.digest[: logs.DIGEST_SHOWN]}
        self._ctx.log_context_fields = {**self._ctx.log_context_fields, **self.log_fields}
        self.journal.append(
            "revision",
            digest=amendment.resolved.digest,
            changed=list(amendment.changed),
            verdicts=[verdict.as_dict() for verdict in amendment.verdicts],
        )
        await self.lease.write(
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
        guard_stderr(self.settings, variables)
        self._journal = Journal(
            self.settings.journals,
            self.session_id,
            self.number,
            redact=redactor([rule if isinstance(rule, str) else rule.model_dump() for rule in rules]),
            secrets=secrets_of(self.settings, self.keys, variables),
            shipper=Shipper(self.redis_url, self.session_id) if self.claimed.guarded else None,
            began=self.lease.now(),
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
            started_at=self._journal.time_at(time.monotonic()),
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
        self.lease.note(phase="live", live_at=self.lease.redis_ms())

    def here(self, present: bool) -> None:
        """The user went away for a moment, or came back."""
        self.lease.note(phase="live" if present else "user_away")

    def ending(self, end: End) -> None:
        """The end has begun: a process that takes over from here goes on with it."""
        self.begun_end = end
        self.lease.note(phase="ending", ending_reason=end.reason, ending_detail=end.detail)

    @property
    def was_ending(self) -> End | None:
        """The end that the process before this one had begun; None: the talk was going on."""
        state = self.claimed.state
        reason = state.get("ending_reason")
        return End(reason, state.get("ending_detail", "")) if reason else None

    # ------------------------------------------------------------------ the end

    async def end(self, end: End, tell: Callable[[], Awaitable[None]] | None = None) -> None:
        """
        Journal the end, mark the session ended, forget its keys; the journal first, it is the truth.

        Args:
            end: Why.
            tell: Tells who is there, before the session is marked: should this process die meanwhile, the
                parent finds a session that it has to settle, and closes the room.
        """
        self.outcome = end.reason
        self.trace.note(end_reason=end.reason)
        self.journal.append("end", reason=end.reason, detail=end.detail)
        await asyncio.to_thread(self.journal.flush, CLOSE_SECONDS)
        if tell is not None:
            await tell()
        await self.lease.end(end, keys=self._own_keys(), tombstone=self.dispatch.session_id is not None)

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
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close, CLOSE_SECONDS)
        await self.lease.close()
        await asyncio.to_thread(self.trace.close)
