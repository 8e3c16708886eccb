"""A change of a session that is under way: a new revision of its config, and when each part is heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from config_store.catalog import Catalog
from config_store.digest import digest_of
from config_store.errors import ConfigRefused
from config_store.fields import field_at
from config_store.fitting import fit
from config_store.frozen import FrozenDict
from config_store.layer import read_layer
from config_store.layering import all_origins
from config_store.marks import Effect
from config_store.merge import lay_plain
from config_store.policy import Gate
from config_store.resolved import Resolved
from config_store.schema import SessionConfig
from config_store.templates import rendered
from config_store.verdict import Verdict


@dataclass(frozen=True)
class Revision:
    """
    The session as changed.

    `effects` says of each path that was applied when it takes effect; what waits for the next session is not
    in `resolved`. `verdicts` are those of this change alone.
    """

    resolved: Resolved
    effects: Mapping[str, Effect]
    verdicts: tuple[Verdict, ...]


def revise(
    resolved: Resolved, settings: Mapping[str, Any], *, origin: str, catalog: Catalog | None = None
) -> Revision:
    """
    Change a session that runs, through the same door as every override.

    Args:
        resolved: The session as it is.
        settings: The change, in the shape of an override, flat words included.
        origin: What verdicts and origins call it.
        catalog: What this worker can do; None: not checked.

    Raises:
        ConfigRefused: The parts no longer fit together.
    """
    document: dict[str, Any] = resolved.config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    layer = read_layer(settings, origin, lambda _: None, may_choose=False)
    verdicts = list(layer.verdicts)
    too_late = "the texts were made when the session began"
    verdicts += [
        Verdict(f"variables.{name}"[:200], "refused", too_late, source=origin) for name in layer.variables
    ]
    gate = Gate(document, origin, catalog, verdicts)
    accepted = gate.admit(layer.settings)
    effects = dict(_effects(accepted))
    live = _only(accepted, {path for path, effect in effects.items() if effect != "next_session"})
    origins = {path: known for path, known in resolved.origins.items() if known != "default"}
    changed = fit(lay_plain(document, live, origin, origins), verdicts)
    try:
        config = SessionConfig.model_validate(changed)
    except ValidationError:
        raise ConfigRefused("the change does not fit the session", tuple(verdicts)) from None
    config = rendered(config, resolved.variables)
    content = config.model_dump(mode="json", by_alias=True)
    new = replace(
        resolved,
        config=config,
        digest=digest_of(config, content),
        origins=FrozenDict(all_origins(content, origins)),
        verdicts=(*resolved.verdicts, *verdicts),
        metadata=config.metadata,
    )
    return Revision(new, FrozenDict(effects), tuple(verdicts))


def _effects(accepted: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, Effect]]:
    found: list[tuple[str, Effect]] = []
    for key, value in accepted.items():
        here = (*path, key)
        field = field_at(here)
        if field is not None and field.mark.overridable != "never":
            found.append((".".join(here), field.mark.effect))
        elif isinstance(value, Mapping):
            found += _effects(value, here)
    return found


def _only(accepted: Mapping[str, Any], paths: set[str], path: tuple[str, ...] = ()) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in accepted.items():
        here = (*path, key)
        if ".".join(here) in paths:
            kept[key] = value
        elif isinstance(value, Mapping) and (inner := _only(value, paths, here)):
            kept[key] = inner
    return kept
