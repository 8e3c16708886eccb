"""From a claim to a session config: the stored one for a later attempt, else resolved now, in the budget."""

import asyncio
import logging
from dataclasses import dataclass

from livekit.agents import JobContext

from agent.attempt import Attempt
from agent.clock import Limits
from agent.providers import registry
from agent.transcripts.database import open_engine
from config_store.compiled import CompiledBundles
from config_store.overrides import RedisOverrides, override_key, room_override_key
from config_store.presets import PresetStore, SqlPresets
from config_store.resolve import Call, ConfigRefused, Resolved, resolve_session
from config_store.verdict import Verdict

ROOM_MARGIN_SECONDS = 2.0
"""LiveKit closes a room this close to its timeout while we still count."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refused(Exception):
    """This session cannot be configured; the reason is one line without any value of the application."""

    reason: str
    verdicts: tuple[Verdict, ...] = ()


async def configure(attempt: Attempt, ctx: JobContext) -> None:
    """
    Find out what this session is, and freeze it.

    Raises:
        Refused: It is not to start.
    """
    if attempt.refusal is not None:
        raise Refused(attempt.refusal)
    stored = attempt.claimed.state.get("config")
    if stored:
        await attempt.configured(Resolved.from_json(stored))
        return
    dispatch, settings = attempt.dispatch, attempt.settings
    engine = open_engine(settings.database())  # connects only if a preset is asked for
    key = override_key(dispatch.session_id) if dispatch.session_id else room_override_key(attempt.room_name)
    try:
        resolved = await resolve_session(
            dispatch,
            call=_call(ctx),
            override_key=key,
            compiled=CompiledBundles(settings.compiled),
            overrides=RedisOverrides(attempt.redis) if attempt.claimed.guarded else None,
            presets=SqlPresets(PresetStore(engine)),
            catalog=registry.catalog(settings, attempt.keys),
            default_bundle=settings.default_bundle,
            budget_seconds=max(0.0, attempt.deadline - asyncio.get_running_loop().time()),
        )
    except ConfigRefused as exc:
        raise Refused(exc.reason, exc.verdicts) from exc
    finally:
        engine.dispose()
    await attempt.configured(resolved)


def _call(ctx: JobContext) -> Call:
    """What is known of the call before the room is joined."""
    return Call(room_name=ctx.job.room.name, sip_trunk=None, sip_to=None, sip_from=None)


def limits_of(attempt: Attempt, ctx: JobContext) -> Limits:
    """The session's time rules, within what the room allows; a shorter room is a verdict."""
    config, room = attempt.resolved.config, ctx.job.room
    join, grace = config.join_timeout_seconds, config.rejoin_grace_seconds
    verdicts = []
    if room.empty_timeout and join > room.empty_timeout:
        join = float(room.empty_timeout)
        verdicts.append(Verdict("join_timeout_seconds", "clamped", "the room's empty_timeout is shorter",
                                asked=config.join_timeout_seconds, applied=join))  # fmt: skip
    if room.departure_timeout and grace > room.departure_timeout - ROOM_MARGIN_SECONDS:
        grace = max(0.0, room.departure_timeout - ROOM_MARGIN_SECONDS)
        verdicts.append(Verdict("rejoin_grace_seconds", "clamped", "the room's departure_timeout is shorter",
                                asked=config.rejoin_grace_seconds, applied=grace))  # fmt: skip
    if verdicts:
        attempt.journal.append("verdicts", verdicts=[verdict.as_dict() for verdict in verdicts])
    return Limits(
        idle=config.idle_timeout_seconds,
        idle_prompts=tuple(prompt.after_seconds for prompt in config.idle_prompts),
        maximum=config.max_duration_seconds,
        warnings=tuple(warning.before_seconds for warning in config.max_duration_warnings),
        join=join,
        grace=grace,
    )
