"""The layers of one session laid over its bundle, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from config_store.catalog import Catalog
from config_store.choosing import Chosen
from config_store.digest import digest_of
from config_store.dispatch import NotGiven
from config_store.errors import ConfigRefused
from config_store.fitting import fit, voice_verdicts
from config_store.frozen import FrozenDict, freeze
from config_store.layer import Layer
from config_store.levels import fill, recovery_phrase
from config_store.merge import lay_plain
from config_store.policy import Gate
from config_store.provenance import Provenance
from config_store.resolved import Resolved
from config_store.schema import SessionConfig
from config_store.span import dotted
from config_store.variables import values_for
from config_store.verdict import Verdict

_LANGUAGE = SessionConfig.model_fields["target_language"].default
_LEVEL = SessionConfig.model_fields["optimization_level"].default


Trace = list[tuple[str, Mapping[str, Any]]]
"""Origin and accepted settings of each layer, weakest first."""


def settle(chosen: Chosen, catalog: Catalog | None, trace: Trace | None = None) -> Resolved:
    """
    The session config of a choice of layers; `trace` gets what was accepted of each.

    Raises:
        ConfigRefused: A variable of the bundle has no value.
    """
    document: dict[str, Any] = chosen.bundle.document
    known = Provenance(dict(chosen.bundle.origins), dict(chosen.bundle.sourced))
    verdicts = list(chosen.verdicts)
    for layer in chosen.layers:
        accepted = _accepted(document, layer, catalog, verdicts)
        document = lay_plain(document, accepted, layer.origin, known)
        if trace is not None:
            trace.append((layer.origin, accepted))
    variables = values_for(document.get("variables", {}), chosen.layers, verdicts)
    document = fit(document, verdicts, known)
    document = fill(document, document.get("optimization_level", _LEVEL), known.origins)
    document = _made_explicit(document)
    try:
        config = SessionConfig.model_validate(document)
    except ValidationError as exc:  # a bundle was valid and every layer was checked: nobody can cause this
        paths = ", ".join(dotted(error["loc"]) for error in exc.errors(include_input=False)[:3])
        raise ConfigRefused(f"the layers do not fit together at {paths}", tuple(verdicts)) from None
    content = config.model_dump(mode="json", by_alias=True)
    verdicts += voice_verdicts(config, catalog)
    return Resolved(
        written=config,
        bundle=chosen.bundle.name,
        preset=chosen.preset.id if chosen.preset is not None else None,
        digest=digest_of(config, content),
        origins=FrozenDict(all_origins(content, known.origins)),
        verdicts=tuple(verdicts),
        variables=freeze(variables),
        user_id=chosen.user_id,
        organization=chosen.organization,
        sourced=freeze(known.sourced),
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
    agent = _initial(document)
    agents = layer.settings.get("agents")
    entry = agents.get(agent) if isinstance(agents, Mapping) else None
    if isinstance(entry, Mapping) and "instructions" in entry:
        path = f"agents.{agent}.instructions"
        gate.say((layer.prompt_word,), "unsupported", f"{path} is given too, and wins")
        return {}
    return {"agents": {agent: {"instructions": layer.prompt}}}


def _initial(document: Mapping[str, Any]) -> str:
    return str(document.get("initial_agent") or next(iter(document["agents"])))


def _made_explicit(document: dict[str, Any]) -> dict[str, Any]:
    made = {**document, "initial_agent": _initial(document)}
    if "recovery" not in made:
        made["recovery"] = recovery_phrase(document.get("target_language", _LANGUAGE))
    return made


def all_origins(content: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """The origin of every value of a config as dumped: what is known, else `default`."""
    found: dict[str, str] = {}
    _collect("", content, known, found)
    return found


def _collect(prefix: str, values: Mapping[str, Any], known: Mapping[str, str], found: dict[str, str]) -> None:
    for key, value in values.items():
        at = prefix + key
        if type(value) is dict and value:
            _collect(f"{at}.", value, known, found)
        else:
            found[at] = known.get(at, "default")
