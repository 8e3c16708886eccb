"""The story of one session, top to bottom: claim, configure, connect, talk, end."""

import asyncio
import logging
import time

from livekit.agents import AutoSubscribe, JobContext

from agent import library, memory, room
from agent.attempt import Attempt
from agent.claiming import claim
from agent.configuring import Refused, configure
from agent.draining import Drain
from agent.ending import (
    AGENT_REMOVED,
    CONFIG_REFUSED,
    PROVIDER_ERROR,
    SUPERSEDED,
    ConnectionRestartedError,
    End,
    Ending,
    Restarts,
    library_end,
    room_end,
)
from agent.metrics import RESOLVE
from agent.providers.registry import ProviderError
from agent.session import Session
from agent.settings import Settings
from agent.taking_over import past_of
from agent.tracks import refuse_video
from agent.turning_away import tell_why, turn_away
from agent.watchdog import Watchdog

SETTLED_SECONDS = 4.0
"""When what the start of a call needed for a moment is given back to the system."""
END_SECONDS = 25.0
"""Longest an end may take, in seconds: a goodbye, closing the talk, telling the client, deleting the room."""
LEAVE_SECONDS = 10.0
"""How long the library has, in seconds, to end this process once the session is over."""

logger = logging.getLogger(__name__)


async def run_session(settings: Settings, ctx: JobContext) -> None:
    """
    Serve one session in this job's process.

    Everything that must survive is in the journal and in Redis before it is needed; the worker's parent
    makes the record, and takes the session up again when this process dies.
    """
    ending = Ending()
    drain = Drain(settings.drain_seconds, ending, ctx.room)
    restarts = Restarts(ctx.room)
    library.on_shutdown_request(ctx, lambda reason: library_end(ending, reason, restarts.just_now))

    attempt = await claim(settings, ctx)
    watchdog = Watchdog(attempt.lease.check_owner)
    leave_seconds = LEAVE_SECONDS
    try:
        if attempt.answer == "held":
            logger.info(
                "superseded: another job has this session; was it dispatched by a token and by the API?",
                extra=attempt.log_fields,
            )
        elif attempt.answer == "ended":
            await turn_away(attempt, ctx, "already_ended")
        else:
            await _serve(attempt, ctx, ending, drain, watchdog)
    except asyncio.CancelledError:
        # The worker is gone: the library cancels the job and exits within seconds. Leave at once and say so.
        if attempt.begun_end is not None:
            attempt.last_word(attempt.begun_end)
        elif ending.asked is None:
            await asyncio.gather(ctx.room.disconnect(), attempt.lease.abandon(ctx.job.id))
        raise
    except ConnectionRestartedError:
        logger.warning("the connection was restarted: another process goes on", extra=attempt.log_fields)
        leave_seconds = 0.0
    except Exception:
        # A crash like any other: the sooner this process is gone, the sooner the call goes on in another one.
        leave_seconds = 0.0
        if ending.asked is not None:
            attempt.last_word(ending.asked)
        raise
    finally:
        watchdog.leave_within(leave_seconds)
        await attempt.close()
        ctx.shutdown(attempt.outcome)


async def _serve(attempt: Attempt, ctx: JobContext, ending: Ending, drain: Drain, watchdog: Watchdog) -> None:
    """Configure while LiveKit connects, talk, end."""
    ctx.room.on("disconnected", lambda reason: ending.ask(*room_end(reason)))
    connecting = asyncio.create_task(_connect(ctx), name="connect")
    asked_at = time.monotonic()
    attempt.trace.phase("configure")
    try:
        await configure(attempt, ctx)
        attempt.figure(RESOLVE, time.monotonic() - asked_at)
    except Refused as refusal:
        logger.warning("refused: %s", refusal.reason, extra=attempt.log_fields)
        attempt.journal.append("verdicts", verdicts=[verdict.as_dict() for verdict in refusal.verdicts])
        await _refuse(attempt, ctx, End(CONFIG_REFUSED, refusal.reason))
        return
    past = await past_of(attempt)

    refuse_video(ctx.room, attempt.resolved.config)
    attempt.trace.phase("connect")
    try:
        session = Session(attempt, ctx, ending, past)
        await connecting
        attempt.trace.phase("start")
        if (begun := attempt.was_ending) is not None:
            ending.ask(begun.reason, begun.detail)
        if ctx.room.isconnected():
            await session.begin()
    except ProviderError as exc:
        logger.error("the session cannot begin: %s", exc, extra=attempt.log_fields)
        await _refuse(attempt, ctx, End(PROVIDER_ERROR, str(exc)))
        return
    asyncio.get_running_loop().call_later(SETTLED_SECONDS, memory.give_back)
    drain.tell(session.drain_began)

    end = await ending.wait()
    attempt.trace.phase("end")
    if end.detail == AGENT_REMOVED:
        await attempt.lease.vanish_if_replaced()
    if end.reason == SUPERSEDED:
        watchdog.leave_within(END_SECONDS)
        await session.vanish()
    else:
        watchdog.leave_within(END_SECONDS, lambda: attempt.last_word(end))
        await session.finish(end)


async def _refuse(attempt: Attempt, ctx: JobContext, end: End) -> None:
    """Nothing comes of this session: say so to who comes, and close the room."""
    await attempt.end(end, lambda: tell_why(attempt, ctx, end.reason))
    await room.close_room(ctx.api, ctx.job.room.name)


async def _connect(ctx: JobContext) -> None:
    """
    Join the room: about 0.1 s of waiting, in which the session is configured and its parts are made.

    Only after the claim, so that a job that lost it is never seen in the room. Over two peer connections:
    with one for both directions, which is the SDK's choice when not told (livekit 1.1.21), the same calls
    took more CPU, and on a busy machine twice as long until both were heard (benchmarks/connections.py).
    """
    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_ALL, single_peer_connection=False)
