"""
From a dispatch to a session config: the verb of this package.

Everything asked of Redis and the database shares one deadline. What is refused or missing becomes a verdict,
and whether the session then starts is the bundle's own word.
"""

from __future__ import annotations

import asyncio

from config_store.catalog import Catalog
from config_store.choosing import BundleReader, Chosen, Stores, choose
from config_store.dispatch import Dispatch
from config_store.errors import ConfigRefused
from config_store.layering import Trace, settle
from config_store.overrides import OverrideReader
from config_store.preset import PresetReader
from config_store.resolved import Resolved
from config_store.routes import Call
from config_store.verdict import Verdict

__all__ = ["Call", "ConfigRefused", "Resolved", "resolve_session"]


async def resolve_session(
    dispatch: Dispatch,
    *,
    call: Call,
    override_key: str,
    compiled: BundleReader,
    overrides: OverrideReader | None,
    presets: PresetReader | None,
    catalog: Catalog | None,
    default_bundle: str | None,
    budget_seconds: float,
    trace: Trace | None = None,
) -> Resolved:
    """
    Work out what a session is.

    Args:
        dispatch: What the application said.
        call: What is known of the call, for the routing rules.
        override_key: The Redis key of this session's override. Without a session id in the dispatch it is the
            room's, and what is read is removed.
        compiled: The published bundles.
        overrides: Where the override is read; None: there are none.
        presets: Where presets are read; None: there are none.
        catalog: What this worker can do; None: providers of overrides are not checked.
        default_bundle: The bundle of a call that names none and that no rule matches; None: the only
            startable one there is.
        budget_seconds: Time for everything asked of Redis and the database, in seconds.
        trace: Gets what was accepted of each layer over the bundle, for those who explain it; None: nobody.

    Raises:
        ConfigRefused: The session must not start.
    """
    stores = Stores(
        overrides=overrides,
        presets=presets,
        deadline=asyncio.get_running_loop().time() + budget_seconds,
    )
    chosen = await choose(
        dispatch,
        call=call,
        override_key=override_key,
        compiled=compiled,
        stores=stores,
        default_bundle=default_bundle,
    )
    _refuse_without_stores(chosen, stores)
    resolved = settle(chosen, catalog, trace)
    _refuse_on_refusal(chosen, resolved.verdicts)
    return resolved


def _refuse_without_stores(chosen: Chosen, stores: Stores) -> None:
    if stores.failures and chosen.bundle.document.get("on_store_unavailable") == "refuse_session":
        verdicts = tuple(stores.verdicts())
        raise ConfigRefused(f"{stores.failures[0]}, and the bundle refuses to start without it", verdicts)


def _refuse_on_refusal(chosen: Chosen, verdicts: tuple[Verdict, ...]) -> None:
    if chosen.bundle.document.get("on_refused_override") != "refuse_session":
        return
    refused = [verdict for verdict in verdicts if verdict.verdict == "refused"]
    if refused:
        first = refused[0]
        what = f"'{first.path}'" if first.path else "the override"
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise ConfigRefused(f"{what} was refused: {first.reason}{more}", verdicts)
