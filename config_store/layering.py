"""The layers of one session laid over its bundle, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from config_store.catalog import Catalog
from config_store.choosing import Chosen
from config_store.completing import completed, given, identity_of, initial_agent
from config_store.dispatch import NotGiven
from config_store.errors import ConfigRefused
from config_store.fitting import fit
from config_store.frozen import FrozenDict
from config_store.layer import Layer
from config_store.merge import lay_plain
from config_store.policy import Gate
from config_store.provenance import Provenance
from config_store.resolved import Resolved
from config_store.span import dotted
from config_store.variables import values_for
from config_store.verdict import Verdict

Trace = list[tuple[str, Mapping[str, Any]]]
"""Origin and accepted settings of each layer, weakest first."""


def settle(chosen: Chosen, catalog: Catalog | None, trace: Trace | None = None) -> Resolved:
    """
    The session config of a choice of layers; `trace` gets what was accepted of each.

    Raises:
        ConfigRefused: A variable of the bundle has no value.
    """
    bundle = chosen.bundle
    document: dict[str, Any] = bundle.document
    known = Provenance(given(bundle.origins), dict(bundle.sourced))
    verdicts = list(chosen.verdicts)
    is_changed = False
    for layer in chosen.layers:
        accepted = _accepted(document, layer, catalog, verdicts)
        document = lay_plain(document, accepted, layer.origin, known)
        is_changed = is_changed or bool(accepted)
        if trace is not None:
            trace.append((layer.origin, accepted))
    variables = values_for(document.get("variables", {}), chosen.layers, verdicts)
    if is_changed:
        document = fit(document, verdicts, known)
    try:
        config = completed(document, known.origins)
    except ValidationError as exc:  # a bundle was valid and every layer was checked: nobody can cause this
        paths = ", ".join(dotted(error["loc"]) for error in exc.errors(include_input=False)[:3])
        raise ConfigRefused(f"the layers do not fit together at {paths}", tuple(verdicts)) from None
    digest, origins = identity_of(config, known.origins) if is_changed else (bundle.digest, bundle.origins)
    return Resolved(
        written=config,
        bundle=bundle.name,
        preset=chosen.preset.id if chosen.preset is not None else None,
        digest=digest,
        origins=FrozenDict(origins),
        verdicts=tuple(verdicts),
        variables=FrozenDict(variables),
        user_id=chosen.user_id,
        organization=chosen.organization,
        sourced=FrozenDict(known.sourced),
    )


def _accepted(
    document: dict[str, Any], layer: Layer, catalog: Catalog | None, verdicts: list[Verdict]
) -> dict[str, Any]:
    """What of a layer may be laid over the document."""
    verdicts += layer.verdicts
    has_prompt = not isinstance(layer.prompt, NotGiven)
    if not layer.settings and not has_prompt:
        return {}
    gate = Gate(document, layer.origin, catalog, verdicts)
    accepted = gate.admit(layer.settings)
    if has_prompt:
        document = lay_plain(document, accepted, layer.origin, Provenance())
        gate = Gate(document, layer.origin, catalog, verdicts)
        prompt = gate.admit(_prompt_settings(document, layer, gate))
        accepted = lay_plain(accepted, prompt, layer.origin, Provenance())
    return accepted


def _prompt_settings(document: Mapping[str, Any], layer: Layer, gate: Gate) -> dict[str, Any]:
    """The text for the initial agent, unless the same layer gives that agent's instructions by path."""
    agent = initial_agent(document)
    agents = layer.settings.get("agents")
    entry = agents.get(agent) if isinstance(agents, Mapping) else None
    if isinstance(entry, Mapping) and "instructions" in entry:
        path = f"agents.{agent}.instructions"
        gate.say((layer.prompt_word,), "unsupported", f"{path} is given too, and wins")
        return {}
    return {"agents": {agent: {"instructions": layer.prompt}}}
