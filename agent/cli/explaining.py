"""How `agent bundles explain` finds out: a session that would start now, or one that ran."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis.exceptions import RedisError

from agent.cli.output import FAILED, fail
from agent.cli.records import opened
from agent.explained import Explained
from agent.providers import registry
from agent.running import find_session
from agent.services.valkey import ValkeyError, connect_only
from agent.settings import Settings, environment
from agent.stores import open_redis
from agent.transcripts.database import DatabaseTroubleError
from agent.transcripts.filters import OPERATOR
from agent.transcripts.history import load
from config_store.direct import FolderBundles
from config_store.dispatch import NOT_GIVEN, Dispatch
from config_store.history import history
from config_store.layering import Trace
from config_store.overrides import RedisOverrides, override_key
from config_store.preset import StoredPresets
from config_store.resolve import Call, resolve_session
from config_store.stored import Stored


async def would_start(
    dispatch: Dispatch, bundles: FolderBundles, settings: Settings, *, from_redis: bool, all_layers: bool
) -> Explained:
    """
    What a session would be if it started now.

    Args:
        dispatch: What the application would say.
        bundles: The folder.
        settings: Where the stores are.
        from_redis: Whether the override of the dispatch's session id is read.
        all_layers: Whether the values that lost are wanted too.
    """
    trace: Trace = []
    presets = None
    if dispatch.preset is not NOT_GIVEN or dispatch.user_id is not None or from_redis:
        presets = _presets(settings)
    client = open_redis(_named_redis(settings), settings.store_budget_seconds) if from_redis else None
    try:
        resolved = await resolve_session(
            dispatch,
            call=Call(room_name=""),
            override_key=override_key(dispatch.session_id or ""),
            compiled=bundles,
            overrides=RedisOverrides(client) if client is not None else None,
            presets=presets,
            catalog=registry.catalog(settings, environment()),
            default_bundle=settings.default_bundle,
            budget_seconds=settings.store_budget_seconds,
            trace=trace,
        )
    finally:
        if client is not None:
            await client.aclose()
    unfit = registry.tuning_verdicts(resolved.config)  # as a job adds them
    resolved = replace(resolved, verdicts=(*resolved.verdicts, *unfit))
    level = resolved.config.optimization_level
    said = history(bundles.sources, resolved.bundle, level, trace) if all_layers else {}
    return Explained(resolved.stored(), said)


def _presets(settings: Settings) -> StoredPresets:
    """The presets as a session reads them."""
    try:
        opened(settings).dispose()
    except DatabaseTroubleError as exc:
        fail(str(exc), "database", exit=FAILED)
    return StoredPresets(settings.database())


def _named_redis(settings: Settings) -> str:
    try:
        return _redis_url(settings)
    except ValkeyError as exc:
        fail(str(exc), "no_redis", exit=FAILED)


def _redis_url(settings: Settings) -> str:
    """REDIS_URL, else the embedded Redis of a running worker. Raises ValkeyError: there is none."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return connect_only(settings.data)


async def that_ran(session_id: str, settings: Settings) -> Explained | dict[str, Any]:
    """
    A session that is live, as it was frozen; else the record of one that ran.

    The frozen config is in the session's state in Redis while it lives; a record keeps digest, origins and
    verdicts, and none of the values.
    """
    stored = await _stored(session_id, settings)
    if stored:
        return Explained(Stored.from_json(stored))
    try:
        engine = opened(settings)
        record = load(engine, session_id, OPERATOR)
    except DatabaseTroubleError as exc:
        fail(str(exc), "database", exit=FAILED)
    if record is None:
        fail(f"there is no session '{session_id}'; agent transcripts list shows past ones", "unknown_session")
    return {
        key: record.get(key) for key in ("session_id", "bundle", "preset", "digest", "origins", "verdicts")
    }


async def _stored(session_id: str, settings: Settings) -> str | None:
    try:
        client = open_redis(_redis_url(settings), settings.store_budget_seconds)
    except ValkeyError:
        return None  # no worker runs here; the record may still be there
    try:
        state = await find_session(client, session_id)
    except (RedisError, OSError):
        return None  # the record may still be there
    finally:
        await client.aclose()
    return state.get("config")
