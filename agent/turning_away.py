"""What happens to somebody who comes for a session that there is not."""

import asyncio
import logging

from livekit.agents import AutoSubscribe, JobContext

from agent import room
from agent.attempt import Attempt
from agent.people import People
from agent.signals import Signals

ARRIVAL_SECONDS = 5.0
"""How long a refused or ended session waits for somebody to tell it to."""

logger = logging.getLogger(__name__)


async def turn_away(attempt: Attempt, ctx: JobContext, reason: str) -> None:
    """Say why there is no session, and close the room so that nobody sits in it alone."""
    await tell_why(attempt, ctx, reason)
    await room.close_room(ctx.api, ctx.job.room.name)


async def tell_why(attempt: Attempt, ctx: JobContext, reason: str) -> None:
    """Wait a moment for somebody to come, and say why there is no session."""
    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE, single_peer_connection=False)
    signals = Signals(ctx.room, attempt.session_id, attempt.number)
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
    await signals.deliver()
    await signals.close()
