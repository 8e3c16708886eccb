"""From a claim to a session config: the stored one for a later attempt, else resolved now, in the budget."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from livekit.agents import JobContext
from livekit.protocol import models

from agent import room
from agent.attempt import Attempt
from agent.clock import Limits
from agent.providers import registry
from config_store.compiled import CompiledBundles
from config_store.overrides import RedisOverrides, override_key, room_override_key
from config_store.preset import StoredPresets
from config_store.resolve import Call, ConfigRefused, Resolved, resolve_session
from config_store.schema import SessionConfig
from config_store.stored import StoredError
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
        try:
            await attempt.configured(Resolved.from_json(stored, attempt.keys))
        except StoredError as exc:
            raise Refused(f"the session cannot go on here: {exc}") from None
        return
    dispatch, settings = attempt.dispatch, attempt.settings
    compiled = CompiledBundles(settings.compiled)
    key = override_key(dispatch.session_id) if dispatch.session_id else room_override_key(attempt.room_name)
    try:
        resolved = await resolve_session(
            dispatch,
            call=await _call(attempt, ctx, compiled),
            override_key=key,
            compiled=compiled,
            overrides=RedisOverrides(attempt.lease.redis) if attempt.claimed.guarded else None,
            presets=StoredPresets(settings.database()),
            catalog=registry.catalog(settings, attempt.keys),
            default_bundle=settings.default_bundle,
            budget_seconds=max(0.0, attempt.deadline - asyncio.get_running_loop().time()),
        )
    except ConfigRefused as exc:
        raise Refused(exc.reason, exc.verdicts) from exc
    unfit = tuple(registry.tuning_verdicts(resolved.config))
    await attempt.configured(replace(resolved, verdicts=(*resolved.verdicts, *unfit)))


async def _call(attempt: Attempt, ctx: JobContext, compiled: CompiledBundles) -> Call:
    """
    What is known of the call before the room is joined.

    A telephone call's trunk and numbers are on its participant, who is asked for only when there are rules
    about them and the dispatch names no bundle.
    """
    call = Call(room_name=ctx.job.room.name)
    rules = () if attempt.dispatch.bundle else compiled.routes().routes
    if not any(rule.sip_trunk or rule.sip_to or rule.sip_from for rule in rules):
        return call
    try:
        async with asyncio.timeout_at(attempt.deadline):
            sip = await room.sip_attributes(ctx.api, call.room_name)
    except room.TROUBLE as exc:
        logger.warning("the call's SIP attributes are not known: %s", type(exc).__name__)
        return call
    return sip_call(call.room_name, sip)


def sip_call(room_name: str, attributes: Mapping[str, str]) -> Call:
    """A call as LiveKit's SIP service describes its participant (`sip.trunkID`, `sip.trunkPhoneNumber` …)."""
    return Call(
        room_name=room_name,
        sip_trunk=attributes.get("sip.trunkID"),
        sip_to=attributes.get("sip.trunkPhoneNumber"),
        sip_from=attributes.get("sip.phoneNumber"),
    )


def limits_of(config: SessionConfig, timeouts: models.Room) -> tuple[Limits, list[Verdict]]:
    """A config's time rules within what the room allows; a room that is shorter is a verdict."""
    join, grace = config.join_timeout_seconds, config.rejoin_grace_seconds
    verdicts = []
    if timeouts.empty_timeout and join > timeouts.empty_timeout:
        join = float(timeouts.empty_timeout)
        verdicts.append(Verdict("join_timeout_seconds", "clamped", "the room's empty_timeout is shorter",
                                asked=config.join_timeout_seconds, applied=join))  # fmt: skip
    if timeouts.departure_timeout and grace > timeouts.departure_timeout - ROOM_MARGIN_SECONDS:
        grace = max(0.0, timeouts.departure_timeout - ROOM_MARGIN_SECONDS)
        verdicts.append(Verdict("rejoin_grace_seconds", "clamped", "the room's departure_timeout is shorter",
                                asked=config.rejoin_grace_seconds, applied=grace))  # fmt: skip
    limits = Limits(
        idle=config.idle_timeout_seconds,
        idle_prompts=tuple(prompt.after_seconds for prompt in config.idle_prompts),
        maximum=config.max_duration_seconds,
        warnings=tuple(warning.before_seconds for warning in config.max_duration_warnings),
        join=join,
        grace=grace,
    )
    return limits, verdicts
