"""
A change of a session that runs: a new config, a verdict for every key, and when each change takes effect.

The change goes through the same door as every override. What the schema marks for the next session stays as
it is in this one, and its verdict says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from config_store.catalog import Catalog
from config_store.completing import identity_of
from config_store.digest import digest_of
from config_store.dispatch import NOT_GIVEN, NotGiven
from config_store.fields import field_at
from config_store.fitting import fit
from config_store.frozen import freeze
from config_store.layer import Layer, Prompt, read_layer
from config_store.levels import recovery_phrase
from config_store.marks import Effect
from config_store.merge import lay_plain
from config_store.policy import Gate
from config_store.provenance import Provenance
from config_store.resolved import Resolved
from config_store.schema import SessionConfig
from config_store.span import dotted
from config_store.templates import render, texts_of
from config_store.verdict import Verdict

WHEN: Mapping[Effect, str] = {
    "now": "takes effect now",
    "next_utterance": "takes effect with the next utterance",
    "next_session": "a running session keeps its own; takes effect in the next session that asks for it",
}
"""What a verdict says of an effect."""


@dataclass(frozen=True)
class Amendment:
    """
    A session as changed.

    `verdicts` are those of this change alone; `effects` says of every path that the policy admitted when it
    takes effect. A path with the effect `next_session` is not in `resolved`.
    """

    resolved: Resolved
    verdicts: tuple[Verdict, ...]
    effects: Mapping[str, Effect]

    @property
    def changed(self) -> tuple[str, ...]:
        """The paths that are another value in this session from now on or from the next utterance on."""
        return tuple(path for path, effect in self.effects.items() if effect != "next_session")


def amend(
    resolved: Resolved,
    overrides: Mapping[str, Any],
    catalog: Catalog | None = None,
    *,
    origin: str = "command",
    prompt: Prompt = lambda _: None,
) -> Amendment:
    """
    Change a session that runs.

    Args:
        resolved: The session as it is.
        overrides: In the shape of a Redis override, flat words included, unchecked.
        catalog: What this worker can do; None: providers and voices are not checked.
        origin: What verdicts and origins call the change.
        prompt: The text of a prompt by its id; None when there is none.
    """
    document = resolved.written.model_dump(mode="json", by_alias=True, exclude_unset=True)
    layer = read_layer(overrides, origin, prompt, may_choose=True)
    _keep_choices(layer, resolved)
    verdicts = list(layer.verdicts)
    accepted = Gate(document, origin, catalog, verdicts).admit(_settings(layer, resolved))
    effects = dict(_effects(accepted))
    live = _live(accepted, effects)
    origins = {path: known for path, known in resolved.origins.items() if known != "default"}
    known = Provenance(origins, dict(resolved.sourced))
    changed = fit(lay_plain(document, live, origin, known), verdicts, known)
    if "target_language" in live and resolved.origins.get("recovery", "default") == "default":
        changed["recovery"] = recovery_phrase(changed["target_language"])
    try:
        written = SessionConfig.model_validate(changed)
    except ValidationError as exc:
        return _refused(
            resolved, verdicts, [dotted(error["loc"]) for error in exc.errors(include_input=False)]
        )
    digest, origins = identity_of(written, known.origins)
    if digest == digest_of(resolved.written):
        digest = resolved.digest  # of the session as it began, whatever the environment is by now
    new = replace(
        resolved,
        written=written,
        digest=digest,
        origins=freeze(origins),
        sourced=freeze(known.sourced),
    )
    if cut := _cut(new, effects):
        return _refused(resolved, verdicts, cut)
    said = new.without_secrets(_timed(verdict, effects) for verdict in verdicts)
    new = replace(new, verdicts=with_verdicts(resolved.verdicts, said))
    return Amendment(new, said, freeze(effects))


def with_verdicts(old: tuple[Verdict, ...], new: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """The old verdicts without those of paths that the new ones speak of, and the new ones."""
    spoken_of = {verdict.path for verdict in new}
    return (*(verdict for verdict in old if verdict.path not in spoken_of), *new)


def _keep_choices(layer: Layer, resolved: Resolved) -> None:
    """Bundle, preset and variables were settled when the session began."""
    if layer.bundle is not None and layer.bundle != resolved.bundle:
        layer.say("bundle", "refused", "a running session keeps its bundle", layer.bundle)
    if not isinstance(layer.preset, NotGiven) and layer.preset != resolved.preset:
        layer.say("preset", "refused", "a running session keeps its preset", layer.preset)
    for name, value in layer.variables.items():
        reason = "the texts were made when the session began"
        layer.say(f"variables.{name}"[:200], "unsupported", reason, value)


def _settings(layer: Layer, resolved: Resolved) -> dict[str, Any]:
    """The layer's settings, with its text for the initial agent unless that is given by path as well."""
    if isinstance(layer.prompt, NotGiven):
        return layer.settings
    agent = resolved.initial_agent
    agents = layer.settings.get("agents", {})
    entry = agents.get(agent, {}) if isinstance(agents, Mapping) else None
    if not isinstance(entry, Mapping) or "instructions" in entry:
        layer.say(layer.prompt_word, "unsupported", f"agents.{agent}.instructions is given too, and wins")
        return layer.settings
    return {**layer.settings, "agents": {**agents, agent: {**entry, "instructions": layer.prompt}}}


def _effects(accepted: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Effect]]:
    """Every field that was admitted, and its effect."""
    for key, value in accepted.items():
        here = (*path, key)
        field = field_at(here)
        if field is not None and field.mark.overridable != "never":
            yield ".".join(here), field.mark.effect
        elif isinstance(value, Mapping):
            yield from _effects(value, here)


def _live(
    accepted: Mapping[str, Any], effects: Mapping[str, Effect], path: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What of the admitted settings changes this session."""
    kept: dict[str, Any] = {}
    for key, value in accepted.items():
        here = (*path, key)
        effect = effects.get(".".join(here))
        if effect is not None and effect != "next_session":
            kept[key] = value
        elif effect is None and isinstance(value, Mapping) and (inner := _live(value, effects, here)):
            kept[key] = inner
    return kept


def _cut(new: Resolved, effects: Mapping[str, Effect]) -> list[str]:
    """The changed texts that are too long with the values of their variables, so that they would be cut."""
    texts = zip(texts_of(new.written), texts_of(new.config), strict=True)
    cut = [dotted(path) for (path, text), (_, said) in texts if len(render(text, new.variables)) > len(said)]
    return [path for path in cut if any(path.startswith(changed) for changed in effects)]


def _timed(verdict: Verdict, effects: Mapping[str, Effect]) -> Verdict:
    """The verdict with the time of its effect; what this session does not take up is not applied."""
    path = verdict.path if verdict.path in effects else verdict.path.split(".", 1)[0]
    effect = effects.get(path)
    if effect is None or verdict.verdict not in ("applied", "clamped"):
        return verdict
    if effect == "next_session":
        return replace(verdict, verdict="unsupported", reason=WHEN[effect], applied=NOT_GIVEN)
    return replace(verdict, reason=f"{verdict.reason}; {WHEN[effect]}")


def _refused(resolved: Resolved, verdicts: list[Verdict], paths: Sequence[str]) -> Amendment:
    """Nothing is changed: the admitted parts do not fit together, or a text is too long with its values."""
    reason = f"the change does not fit the session at {', '.join(paths[:3])}"
    said = tuple(
        replace(verdict, verdict="refused", reason=reason, applied=NOT_GIVEN)
        if verdict.verdict in ("applied", "clamped")
        else verdict
        for verdict in verdicts
    )
    return Amendment(resolved, said, freeze({}))
