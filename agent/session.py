"""A live session: its people, its clock, its talk and its end, tied together."""

import asyncio
import logging

from livekit.agents import JobContext

from agent import room
from agent.attempt import Attempt
from agent.clock import Clock, Due
from agent.commands import Commands
from agent.configuring import limits_of
from agent.conversation import Conversation
from agent.ending import (
    GOODBYE_REASONS,
    IDLE,
    LIVEKIT_LOST,
    MAX_DURATION,
    NO_PARTICIPANT,
    OPERATOR,
    ROOM_DELETED,
    SUPERSEDED,
    USER_LEFT,
    End,
    Ending,
    is_lost,
)
from agent.leaving import leave_quietly
from agent.metrics import TIMER
from agent.people import UNKNOWN_REASON, People
from agent.providers.sentences import goodbye_words, idle_words, warning_words
from agent.revising import Revising
from agent.signals import Signals
from agent.silence import Silence
from agent.taking_over import Past
from agent.timers import Timers
from agent.twins import Twins
from config_store.schema import SessionConfig
from config_store.verdict import Verdict

GOODBYE_SECONDS = 10.0
"""Longest goodbye in seconds; a session is over at most this long after its end was due."""

logger = logging.getLogger(__name__)


class Session:
    """The parts of a live session, tied together; no rules of its own."""

    def __init__(self, attempt: Attempt, ctx: JobContext, ending: Ending, past: Past | None) -> None:
        loop = asyncio.get_running_loop()
        self._attempt = attempt
        self._ctx = ctx
        self._ending = ending
        self._past = past
        self._config = attempt.resolved.config
        self._signals = Signals(ctx.room, attempt.session_id, attempt.number)
        self._people = People(
            user_id=attempt.user_id,
            on_present=self._user_present,
            on_absent=self._user_absent,
            on_change=attempt.journal_participant,
            user=past.user if past else None,
            observers=set(past.observers) if past else set(),
        )
        limits, verdicts = limits_of(self._config, ctx.job.room)
        if verdicts:
            attempt.journal.append("verdicts", verdicts=[verdict.as_dict() for verdict in verdicts])
        self._clock = Clock(
            limits,
            loop.time(),
            waited_seconds=attempt.claimed.age_seconds,
            live_seconds=past.live_seconds if past else None,
            idle_seconds=past.idle_seconds if past else 0.0,
        )
        silence = Silence(self._clock, redis_ms=attempt.lease.redis_ms, append=attempt.journal.append)
        self._timers = Timers(
            self._clock, self._when_due, lambda late: attempt.figure(TIMER, late), silence.look
        )
        self._conversation = Conversation(
            ctx,
            self._config,
            keys=attempt.keys,
            turn_detector=attempt.settings.turn_detector,
            journal=attempt.journal,
            clock=self._clock,
            timers=self._timers,
            people=self._people,
            signals=self._signals,
            ending=ending,
        )
        self._revising = Revising(attempt, self._signals, allow=self._allowed, apply=self._change)
        self._commands = Commands(
            attempt.redis_url,
            attempt.session_id,
            since=attempt.claimed.state.get("command", "0"),
            ending=ending,
            override=self._revising.override,
            applied=attempt.lease.remember_command,
        )
        self._greeting: asyncio.Task[None] | None = None
        self._ghost: asyncio.Task[None] | None = None
        self._twins: Twins | None = None

    async def begin(self) -> None:
        """Be in the room, ready to talk, and let the clock run."""
        self._signals.attributes(state="starting", panels=list(self._config.enabled_panels))
        first = (self._past.agent if self._past else None) or self._config.initial_agent
        assert first is not None  # made explicit when the config was resolved
        await self._conversation.start(first, self._past)
        self._people.watch(self._ctx.room)
        self._ghost = asyncio.create_task(self._leave_ghost_room(), name="ghost room")
        if not self._attempt.claimed.guarded:
            self._twins = Twins(
                self._ctx.room,
                self._attempt.session_id,
                owner=self._attempt.lease.owner,
                leave=lambda: self._ending.ask(SUPERSEDED),
            )

    async def _leave_ghost_room(self) -> None:
        """
        End at once in a room that was deleted between the dispatch and now.

        Connecting makes such a room anew under another sid, and nobody would come (livekit-server 1.13.5).
        """
        sid, expected = await self._ctx.room.sid, self._ctx.job.room.sid
        if expected and sid != expected and self._past is None and not self._ctx.room.remote_participants:
            self._ending.ask(ROOM_DELETED, "before the agent came")
            await room.close_room(self._ctx.api, self._ctx.job.room.name)

    # ------------------------------------------------------------------ the user comes and goes

    def _user_present(self, identity: str) -> None:
        first = self._clock.user_present(asyncio.get_running_loop().time())
        self._timers.look()
        self._conversation.link(identity)
        self._signals.user_is(identity)
        self._signals.attributes(state="live")
        if first:
            self._attempt.live()
        else:
            self._attempt.here(True)
        self._signals.event("config_applied", **self._attempt.applied())
        if self._past and self._greeting is None:
            self._signals.event("resumed", attempt=self._attempt.number)
            self._greeting = asyncio.create_task(
                self._conversation.resume(self._config.recovery, answer=self._past.owes_answer)
            )
        elif self._greeting is None:
            self._greeting = asyncio.create_task(self._conversation.greet())
        else:
            self._conversation.welcome_back()

    def _user_absent(self, kind: str, reason: str) -> None:
        logger.info("the user left", extra={"reason": reason, **self._attempt.log_fields})
        if reason == "PARTICIPANT_REMOVED":
            self._ending.ask(OPERATOR, "the user was removed from the room")
        elif kind == "sip" and reason != UNKNOWN_REASON:
            # A telephone does not come back into the same room. Without a reason it may be our own connection
            # that was restarted: everybody leaves and joins again then.
            self._ending.ask(USER_LEFT, "hung up")
        self._clock.user_absent(asyncio.get_running_loop().time())
        self._timers.look()
        self._conversation.hush()
        self._attempt.here(False)
        self._signals.user_is(None)
        self._signals.attributes(state="user_away")

    def drain_began(self, seconds_left: float) -> None:
        """The worker drains: the client may want to start anew elsewhere."""
        self._signals.event("warning", kind="drain", seconds_left=round(seconds_left, 1))

    # ------------------------------------------------------------------ another config

    def _allowed(self, config: SessionConfig) -> list[Verdict]:
        """What a changed config asks for and the room does not have."""
        verdicts = limits_of(config, self._ctx.job.room)[1]
        known = self._config.model_dump(include={verdict.path for verdict in verdicts})
        return [verdict for verdict in verdicts if verdict.asked != known.get(verdict.path)]

    def _change(self, config: SessionConfig) -> None:
        """The session is this from now on."""
        self._config = config
        self._clock.change(limits_of(config, self._ctx.job.room)[0], asyncio.get_running_loop().time())
        self._timers.look()
        self._conversation.change(config)

    # ------------------------------------------------------------------ time

    def _when_due(self, due: Due) -> None:
        config, journal = self._config, self._attempt.journal
        match due.kind:
            case "no_participant":
                self._ending.ask(NO_PARTICIPANT)
            case "user_left":
                self._ending.ask(LIVEKIT_LOST if is_lost(self._ctx.room) else USER_LEFT)
            case "idle":
                self._ending.ask(IDLE)
            case "max_duration":
                self._ending.ask(MAX_DURATION)
            case "idle_prompt":
                prompt = config.idle_prompts[due.index]
                journal.append("event", name="idle_prompt")
                if config.idle_timeout_seconds is not None:
                    left = max(0.0, config.idle_timeout_seconds - prompt.after_seconds)
                    self._signals.event("warning", kind="idle", seconds_left=round(left, 1))
                self._conversation.say(idle_words(config, prompt))
            case "max_warning":
                warning = config.max_duration_warnings[due.index]
                journal.append("event", name="max_duration_warning")
                self._signals.event("warning", kind="max_duration", seconds_left=warning.before_seconds)
                if words := warning_words(config, warning):
                    self._conversation.say(words)
                if warning.tell_agent:
                    self._conversation.tell_agent(
                        f"The call ends in {warning.before_seconds:g} seconds. Bring it to an end."
                    )

    # ------------------------------------------------------------------ the one end

    async def finish(self, end: End) -> None:
        """Goodbye, journal, client, room, in this order, each bounded."""
        await self._stop()
        self._signals.attributes(state="ending")
        self._attempt.ending(end)
        if self._people.present and end.reason in GOODBYE_REASONS and self._ctx.room.isconnected():
            await self._goodbye()
        await self._conversation.close()
        await self._attempt.end(end, lambda: self._tell(end))
        if self._config.delete_room_on_end and end.reason != ROOM_DELETED:
            leave_quietly()
            await room.close_room(self._ctx.api, self._ctx.job.room.name)

    async def _tell(self, end: End) -> None:
        """The user's last event, and time for it to arrive."""
        self._signals.event("ended", reason=end.reason)
        await self._signals.deliver()
        await self._signals.close()

    async def vanish(self) -> None:
        """Another agent serves this session: leave at once, without a word and without a record."""
        await self._stop()
        self._conversation.hush()
        await asyncio.gather(self._ctx.room.disconnect(), self._signals.close())
        await self._conversation.close()
        await self._attempt.discard()

    async def _stop(self) -> None:
        """Nothing more is due, and nobody is to be greeted."""
        await self._timers.stop()
        await self._commands.stop()
        for task in (self._greeting, self._ghost):
            if task is not None:
                task.cancel()

    async def _goodbye(self) -> None:
        """The bundle's last words; an agent that ended the call with words of its own has said them."""
        words = goodbye_words(self._config)
        if words and not self._conversation.agent_said_goodbye:
            await self._conversation.goodbye(words, GOODBYE_SECONDS)
