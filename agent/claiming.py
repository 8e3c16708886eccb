"""Taking a session for this job, before anything else is done."""

import asyncio
import logging
import os
import time

from livekit.agents import JobContext
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent import stores
from agent.attempt import Attempt
from agent.commands import ENDED_BEFORE, end_before_claim
from agent.people import agent_identity
from agent.settings import Settings
from agent.tracing import Trace
from agent.transcripts.conversation import conversation
from agent.transcripts.entries import seconds_of
from agent.transcripts.reading import is_session_written, read_journals
from config_store.dispatch import DispatchError, parse_dispatch
from config_store.overrides import override_key
from config_store.state import Claim, SessionState, commands_key, mint_session_id, state_key

logger = logging.getLogger(__name__)


async def claim(settings: Settings, ctx: JobContext) -> Attempt:
    """
    Take the session for this job, before connecting.

    A store in trouble does not stop the call: it then runs unguarded, which the transcript says.
    """
    began = time.time_ns()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.store_budget_seconds
    refusal = None
    try:
        dispatch = parse_dispatch(ctx.job.metadata)
    except DispatchError as exc:
        dispatch, refusal = exc.known, str(exc)
    client = stores.open_redis(settings.require_redis(), settings.store_budget_seconds)
    state = SessionState(client, state_key(dispatch.session_id, ctx.job.room.name))
    session_id = dispatch.session_id or mint_session_id(ctx.job.id)
    try:
        async with asyncio.timeout_at(deadline):
            claimed = await state.claim(
                session_id=session_id,
                worker=settings.worker_id or "",
                job=ctx.job.id,
                pid=os.getpid(),
                room=ctx.job.room.name,
                identity=agent_identity(ctx.job.id),
                agent_name=ctx.job.agent_name,
                metadata=ctx.job.metadata,
            )
            if claimed.answer == "new" and dispatch.session_id is not None:
                claimed = await _unless_ended_before(claimed, state, client)
    except (RedisError, OSError, TimeoutError) as exc:
        logger.warning("the session runs unguarded: Redis failed at the claim: %s", type(exc).__name__)
        claimed = await asyncio.to_thread(_unguarded, settings, session_id)
    trace = Trace(settings, claimed.session_id, claimed.attempt, began)
    trace.note(claim=claimed.answer)
    return Attempt(
        settings, ctx, dispatch=dispatch, refusal=refusal, claimed=claimed, state=state, client=client,
        deadline=deadline, trace=trace,
    )  # fmt: skip


def _unguarded(settings: Settings, session_id: str) -> Claim:
    """
    A claim that Redis did not take. By the journal on this disk it may be a session that goes on after a
    crash, and is no new one to its user; a journal that is still written is another agent's. Blocks.
    """
    if is_session_written(settings.journals, session_id):
        return Claim("new", session_id)
    entries = read_journals(settings.journals, session_id)
    talk = conversation(entries)
    if not talk.attempts or talk.end is not None:
        return Claim("new", session_id)
    # The attempt before counted from Redis TIME: what it wrote is past, whatever this machine's clock says.
    now = max(time.time(), *(seconds_of(entry.get("at")) or 0.0 for entry in entries))
    return Claim("resume", session_id, now_ms=round(now * 1000), attempt=talk.attempts + 1)


async def _unless_ended_before(claimed: Claim, state: SessionState, client: Redis) -> Claim:
    """The claim; or `ended`, with its tombstone, of a session that was told to end before this."""
    end = await end_before_claim(client, claimed.session_id)
    if end is None:
        return claimed
    await state.end(
        end.reason,
        session_id=claimed.session_id,
        fence=claimed.fence,
        tombstone=True,
        detail=ENDED_BEFORE,
    )
    await client.delete(override_key(claimed.session_id), commands_key(claimed.session_id))
    return Claim("ended", claimed.session_id, claimed.now_ms)
