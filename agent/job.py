"""The story of one session, top to bottom: claim, configure, connect, talk, end."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable

from livekit import rtc
from livekit.agents import AutoSubscribe, JobContext

from agent import library, memory, room
from agent.attempt import Attempt, claim
from agent.clock import Clock, Due
from agent.commands import Commands
from agent.configuring import Refused, configure, limits_of
from agent.conversation import Conversation
from agent.ending import (
    CONFIG_REFUSED,
    DISCONNECT_REASONS,
    GOODBYE_REASONS,
    IDLE,
    LIVEKIT_LOST,
    MAX_DURATION,
    NO_PARTICIPANT,
    OPERATOR,
    PROVIDER_ERROR,
    ROOM_DELETED,
    USER_LEFT,
    WORKER_DRAIN,
    End,
    Ending,
)
from agent.metrics import FIGURE, RESOLVE, TIMER
from agent.people import People
from agent.providers.registry import ProviderError
from agent.revising import Revising
from agent.settings import Settings
from agent.signals import Signals
from agent.taking_over import Past, past_of
from agent.timers import Timers
from agent.watchdog import Watchdog
from config_store.personas import MODALITY_PARTS
from config_store.schema import SessionConfig
from config_store.verdict import Verdict

GOODBYE_SECONDS = 10.0
"""Longest goodbye in seconds; a session is over at most this long after its end was due."""
TELL_SECONDS = 1.0
"""Longest wait in seconds for the client to be told of the end."""
DELIVERY_SECONDS = 0.2
"""What was sent is under way for a moment, and a room that is deleted meanwhile drops it."""
ROOM_WORD_SECONDS = 0.5
"""How long after the library's word the room may still say why it was lost."""
SETTLED_SECONDS = 4.0
"""When what the start of a call needed for a moment is given back to the system."""
ARRIVAL_SECONDS = 5.0
"""How long a refused or ended session waits for somebody to tell it to."""

logger = logging.getLogger(__name__)


async def run_session(settings: Settings, ctx: JobContext) -> None:
    """
    Serve one session in this job's process.

    Everything that must survive is in the journal and in Redis before it is needed; the worker's parent
    makes the record, and takes the session up again when this process dies.
    """
    ending = Ending()
    drain = Drain(settings.drain_seconds, ending)
    library.on_shutdown_request(ctx, lambda reason: _library_end(ending, reason))

    attempt = await claim(settings, ctx)
    watchdog = Watchdog(attempt.check_owner)
    try:
        if attempt.answer == "held":
            logger.info("superseded: another job has this session", extra=attempt.log_fields)
        elif attempt.answer == "ended":
            await _turn_away(attempt, ctx, "already_ended")
        else:
            await _serve(attempt, ctx, ending, drain)
    except asyncio.CancelledError:
        # The worker is gone: the library cancels the job and exits within seconds. Leave at once and say so.
        if ending.asked is None:
            await asyncio.gather(ctx.room.disconnect(), attempt.abandon())
        raise
    finally:
        watchdog.stop()
        await attempt.close()
        ctx.shutdown(attempt.outcome)


async def _serve(attempt: Attempt, ctx: JobContext, ending: Ending, drain: "Drain") -> None:
    """Configure, connect, talk, end."""
    asked_at = time.monotonic()
    try:
        await configure(attempt, ctx)
        _figure(attempt, RESOLVE, time.monotonic() - asked_at)
    except Refused as refusal:
        logger.warning("refused: %s", refusal.reason, extra=attempt.log_fields)
        attempt.journal.append("verdicts", verdicts=[verdict.as_dict() for verdict in refusal.verdicts])
        await attempt.end(End(CONFIG_REFUSED, refusal.reason))
        await _turn_away(attempt, ctx, CONFIG_REFUSED)
        return
    past = await past_of(attempt)

    _refuse_video(ctx, attempt.resolved.config)
    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_ALL)
    try:
        session = _Session(attempt, ctx, ending, past)
        await session.begin()
    except ProviderError as exc:
        logger.error("a model cannot be made: %s", exc, extra=attempt.log_fields)
        await attempt.end(End(PROVIDER_ERROR, str(exc)))
        await _turn_away(attempt, ctx, PROVIDER_ERROR)
        return
    asyncio.get_running_loop().call_later(SETTLED_SECONDS, memory.give_back)
    drain.tell(session.drain_began)
    end = await ending.wait()
    await session.finish(end)


class Drain:
    """The parent's word that the worker drains: SIGUSR2 once when it begins, again when it is over."""

    def __init__(self, seconds: float, ending: Ending) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._ending = ending
        self._until: float | None = None
        self._tell: Callable[[float], None] | None = None
        self._loop.add_signal_handler(signal.SIGUSR2, self._signalled)

    def tell(self, tell: Callable[[float], None]) -> None:
        """Call this with the seconds left once the drain begins; now, if it has begun."""
        self._tell = tell
        if self._until is not None:
            tell(max(0.0, self._until - self._loop.time()))

    def _signalled(self) -> None:
        if self._until is not None:
            self._ending.ask(WORKER_DRAIN)
            return
        self._until = self._loop.time() + self._seconds
        self._loop.call_at(self._until, self._ending.ask, WORKER_DRAIN)
        if self._tell is not None:
            self._tell(self._seconds)


class _Session:
    """The parts of a live session, tied together; no rules of its own."""

    def __init__(self, attempt: Attempt, ctx: JobContext, ending: Ending, past: Past | None) -> None:
        loop = asyncio.get_running_loop()
        self._attempt = attempt
        self._ctx = ctx
        self._ending = ending
        self._past = past
        self._config = attempt.resolved.config
        self._signals = Signals(ctx.room, attempt.session_id)
        self._people = People(
            user_id=attempt.user_id,
            on_present=self._user_present,
            on_absent=self._user_absent,
            on_change=attempt.journal_participant,
        )
        limits, verdicts = limits_of(self._config, ctx.job.room)
        if verdicts:
            attempt.journal.append("verdicts", verdicts=[verdict.as_dict() for verdict in verdicts])
        self._clock = Clock(
            limits,
            loop.time(),
            live_seconds=past.live_seconds if past else None,
            idle_seconds=past.idle_seconds if past else 0.0,
        )
        self._timers = Timers(self._clock, self._when_due, lambda late: _figure(attempt, TIMER, late))
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
            applied=attempt.remember_command,
        )
        self._greeting: asyncio.Task[None] | None = None
        self._ghost: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Be in the room, ready to talk, and let the clock run."""
        self._ctx.room.on("disconnected", lambda reason: self._ending.ask(*_room_end(reason)))
        self._signals.attributes(state="starting", panels=list(self._config.enabled_panels))
        first = (self._past.agent if self._past else None) or self._config.initial_agent
        assert first is not None  # made explicit when the config was resolved
        await self._conversation.start(first, self._past.history() if self._past else None)
        self._people.watch(self._ctx.room)
        self._ghost = asyncio.create_task(self._leave_ghost_room(), name="ghost room")

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
        self._signals.event("config_applied", **self._attempt.applied())
        if self._past and self._greeting is None:
            self._signals.event("resumed", attempt=self._attempt.number)
            self._greeting = asyncio.create_task(
                self._conversation.resume(self._config.recovery, answer=self._past.owes_answer)
            )
        elif self._greeting is None:
            self._greeting = asyncio.create_task(self._conversation.greet())

    def _user_absent(self, kind: str, reason: str) -> None:
        logger.info("the user left", extra={"reason": reason, **self._attempt.log_fields})
        if reason == "PARTICIPANT_REMOVED":
            self._ending.ask(OPERATOR, "the user was removed from the room")
        elif kind == "sip":
            self._ending.ask(USER_LEFT, "hung up")  # a telephone does not come back into the same room
        self._clock.user_absent(asyncio.get_running_loop().time())
        self._timers.look()
        self._conversation.hush()
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
                self._ending.ask(USER_LEFT)
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
                self._conversation.say(prompt.say)
            case "max_warning":
                warning = config.max_duration_warnings[due.index]
                journal.append("event", name="max_duration_warning")
                self._signals.event("warning", kind="max_duration", seconds_left=warning.before_seconds)
                if warning.say:
                    self._conversation.say(warning.say)
                if warning.tell_agent:
                    self._conversation.tell_agent(
                        f"The call ends in {warning.before_seconds:g} seconds. Bring it to an end."
                    )

    # ------------------------------------------------------------------ the one end

    async def finish(self, end: End) -> None:
        """Goodbye, journal, client, room, in this order, each bounded."""
        await self._timers.stop()
        await self._commands.stop()
        self._signals.attributes(state="ending")
        for task in (self._greeting, self._ghost):
            if task is not None:
                task.cancel()
        if self._people.present and end.reason in GOODBYE_REASONS and self._ctx.room.isconnected():
            await self._goodbye()
        await self._conversation.close()
        await self._attempt.end(end)
        self._signals.event("ended", reason=end.reason)
        await self._signals.flush(TELL_SECONDS)
        await asyncio.sleep(DELIVERY_SECONDS)
        await self._signals.close()
        if self._config.delete_room_on_end and end.reason != ROOM_DELETED:
            await room.close_room(self._ctx.api, self._ctx.job.room.name)

    async def _goodbye(self) -> None:
        """The bundle's last words; an agent that ended the call with words of its own has said them."""
        if self._config.goodbye and not self._conversation.agent_said_goodbye:
            await self._conversation.goodbye(self._config.goodbye, GOODBYE_SECONDS)


async def _turn_away(attempt: Attempt, ctx: JobContext, reason: str) -> None:
    """Say why there is no session, and close the room so that nobody sits in it alone."""
    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
    signals = Signals(ctx.room, attempt.session_id)
    arrived = asyncio.Event()

    def present(identity: str) -> None:
        signals.user_is(identity)
        signals.event("ended", reason=reason)
        arrived.set()

    people = People(
        user_id=attempt.user_id,
        on_present=present,
        on_absent=lambda *_: None,
        on_change=lambda *_: None,
    )
    signals.attributes(state="ending")
    people.watch(ctx.room)
    try:
        async with asyncio.timeout(ARRIVAL_SECONDS):
            await arrived.wait()
    except TimeoutError:
        logger.info("nobody came to be told", extra=attempt.log_fields)
    await signals.flush(TELL_SECONDS)
    await signals.close()
    await room.close_room(ctx.api, ctx.job.room.name)


def _refuse_video(ctx: JobContext, config: SessionConfig) -> None:
    """
    Receive video and screen share only where the modality profile has them.

    Each such track is given back when it comes. Subscribing to audio alone from the start would do the same,
    but after a restart of LiveKit it leaves the agent deaf: tracks that were there are not announced again.
    """
    if MODALITY_PARTS[config.modality_profile] & {"camera", "screenshare"}:
        return

    def give_back(track: rtc.RemoteTrack, publication: rtc.RemoteTrackPublication, _: object) -> None:
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            publication.set_subscribed(False)

    ctx.room.on("track_subscribed", give_back)


def _figure(attempt: Attempt, name: str, seconds: float) -> None:
    """Something measured, for the worker's metrics; no part of the record."""
    attempt.journal.append(FIGURE, name=name, seconds=round(seconds, 4))


def _room_end(reason: int) -> tuple[str, str]:
    """Why the room was lost, in the words of our end reasons."""
    name = rtc.DisconnectReason.Name(rtc.DisconnectReason.ValueType(reason))
    return DISCONNECT_REASONS.get(name, LIVEKIT_LOST), name.lower()


def _library_end(ending: Ending, reason: str) -> None:
    """
    The library ends this job. What happened to the room says more, and may come a moment later.

    A deleted room and a deleted dispatch look the same from here (livekit-server sends a job termination for
    both), so the room's own word is waited for.
    """
    if reason != "room disconnected":
        asyncio.get_running_loop().call_later(ROOM_WORD_SECONDS, ending.ask, OPERATOR, reason)
