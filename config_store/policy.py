"""The door through which every layer from outside goes: what a session may change, and how far."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config_store.catalog import Catalog
from config_store.fields import Field, fields_of, range_text
from config_store.json_text import shape_of
from config_store.merge import is_model
from config_store.model_checks import provider_problem
from config_store.models import Kind, ModelConfig, identity_of
from config_store.names import suggestion
from config_store.policy_rules import Allowed, allowed
from config_store.said import demand
from config_store.schema import OverridableRule, SessionConfig
from config_store.section import Section
from config_store.span import Path
from config_store.templates import templates_in
from config_store.verdict import Outcome, Verdict, shown

_RULES: TypeAdapter[list[str | OverridableRule] | None] = TypeAdapter(list[str | OverridableRule] | None)
_ALWAYS = frozenset({"metadata"})
"""Open whatever the list says: nothing here ever reads it."""
_NULL_IS_NO_LIMIT = frozenset({"idle_timeout_seconds", "max_duration_seconds"})
"""Elsewhere null means the default of whoever is asked."""


@dataclass
class Gate:
    """
    Admits one layer over a document.

    `document` is what all weaker layers made; `origin` what verdicts call the layer.
    """

    document: Mapping[str, Any]
    origin: str
    catalog: Catalog | None
    verdicts: list[Verdict] = field(default_factory=list)
    rules: list[str | OverridableRule] | None = field(init=False)

    def __post_init__(self) -> None:
        self.rules = _RULES.validate_python(self.document.get("overridable"))

    def admit(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What of the settings may be laid over the document; every key of them gets a verdict."""
        ordered = sorted(settings.items(), key=lambda item: item[0] != "models")
        accepted: dict[str, Any] = {}
        for key, value in ordered:
            accepted |= self._section(SessionConfig, {key: value}, (), accepted)
        return accepted

    def say(self, path: Path, verdict: Outcome, reason: str, **more: Any) -> None:
        """Add a verdict; a path is cut at 200 characters, because its names come from outside."""
        name = ".".join(str(part) for part in path)[:200]
        self.verdicts.append(Verdict(name, verdict, reason, source=self.origin, **more))

    def _section(
        self, section: type[Section], layer: Mapping[str, Any], path: Path, before: Mapping[str, Any]
    ) -> dict[str, Any]:
        accepted: dict[str, Any] = {}
        known = fields_of(section)
        for key, value in layer.items():
            here = (*path, key)
            found = known.get(key)
            if found is None:
                near = suggestion(key[:100], known) if path or key != "include" else ""
                self.say(here, "refused", f"unknown key{near}" if near else "can never be overridden")
            elif found.entries is not None and found.mark.overridable == "never":
                self._merge(accepted, key, self._entries(found, value, here))
            elif found.section is not None and found.mark.overridable == "never":
                self._merge(accepted, key, self._inner(found.section, value, here, before))
            else:
                self._leaf(accepted, found, value, here, before)
        return accepted

    @staticmethod
    def _merge(accepted: dict[str, Any], key: str, inner: dict[str, Any]) -> None:
        if inner:
            accepted[key] = inner

    def _inner(
        self, section: type[Section], value: Any, path: Path, before: Mapping[str, Any]
    ) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.say(path, "refused", f"must be a map, got {shape_of(value)}", asked=shown(value))
            return {}
        if is_model(path):
            return self._model(section, value, path, before)
        return self._section(section, value, path, before)

    def _entries(self, found: Field, value: Any, path: Path) -> dict[str, Any]:
        if not isinstance(value, Mapping) or found.entries is None:
            self.say(path, "refused", f"must be a map, got {shape_of(value)}", asked=shown(value))
            return {}
        there = self.document.get(found.key, {})
        accepted: dict[str, Any] = {}
        for name, entry in value.items():
            here = (*path, name)
            if name not in there:
                self.say(here, "refused", f"a session cannot add one{suggestion(name[:100], there)}")
            elif entry is None:
                self.say(here, "refused", "a session cannot remove one")
            else:
                self._merge(accepted, name, self._inner(found.entries, entry, here, {}))
        return accepted

    def _model(
        self, section: type[Section], value: Mapping[str, Any], path: Path, before: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A model: its provider must be usable here, and its name is that provider's."""
        kind: Kind = path[-1]  # type: ignore[assignment]
        own, session = self._at(path), self._at(("models", kind))
        current = own if isinstance(own, Mapping) else session
        if not isinstance(current, Mapping):
            self.say(path, "refused", f"the bundle has no {kind} model to change")
            return {}
        accepted: dict[str, Any] = {}
        provider = identity_of(current) or (identity_of(session) if isinstance(session, Mapping) else None)
        is_provider_refused = False
        for key in sorted(value, key=lambda name: name != "provider"):
            if key == "provider":
                part = self._section(section, {key: value[key]}, path, before)
                is_provider_refused = not part and value[key] != provider
                provider = part.get("provider", provider)
                accepted |= part
            elif key == "model" and is_provider_refused:
                self.say((*path, key), "refused", "its provider was refused", asked=shown(value[key]))
            else:
                accepted |= self._section(section, {key: value[key]}, path, {"provider": provider})
        return accepted

    def _leaf(
        self, accepted: dict[str, Any], found: Field, value: Any, path: Path, before: Mapping[str, Any]
    ) -> None:
        asked = shown(value, is_choice=self._is_choice(found, value))
        may = Allowed() if path[0] in _ALWAYS else allowed(self.rules, [str(part) for part in path], found)
        if may is None:
            never = found.mark.overridable == "never"
            reason = "can never be overridden" if never else "this bundle does not let a session change it"
            self.say(path, "refused", reason, asked=asked)
            return
        low = found.low if may.low is None else may.low
        high = found.high if may.high is None else may.high
        span = range_text(low, high) if found.is_numeric else None
        clamped = _clamp(value, low, high, found, may)
        problem = self._problem(found, clamped, path, may, before)
        if problem is not None:
            self.say(path, "refused", problem, asked=asked, range=span)
        elif clamped != value:
            self.say(path, "clamped", "out of range", asked=asked, applied=clamped, range=span)
            accepted[found.key] = clamped
        else:
            accepted[found.key] = value
            if path[0] in _ALWAYS and isinstance(value, Mapping):
                for name, item in value.items():
                    self.say((*path, name), "applied", "as asked", asked=shown(item))
                return
            self.say(path, "applied", "as asked", asked=asked, applied=asked, range=span)

    def _is_choice(self, found: Field, value: object) -> bool:
        if found.choices is not None:
            return value in found.choices
        is_name = found.key == "provider" and self.catalog is not None and isinstance(value, str)
        return is_name and self.catalog is not None and value in self.catalog.providers

    def _problem(
        self, found: Field, value: Any, path: Path, may: Allowed, before: Mapping[str, Any]
    ) -> str | None:
        try:
            found.adapter.validate_python(value)
        except ValidationError as exc:
            error = exc.errors(include_url=False, include_input=False)[0]
            return demand(error["type"], error.get("ctx", {}), error["msg"])
        if may.choices is not None and any(item not in may.choices for item in _items(value)):
            return f"must be one of {', '.join(may.choices)}"
        templates = _templates(value) if path[0] not in _ALWAYS else []
        if any(not is_name or name not in self._variables() for _, name, is_name in templates):
            return "uses a template variable that the bundle does not declare"
        if is_model(path[:-1]):
            return self._model_problem(found.key, value, path, before)
        return self._known_problem(found.key, value)

    def _variables(self) -> Mapping[str, Any]:
        declared = self.document.get("variables")
        return declared if isinstance(declared, Mapping) else {}

    def _model_problem(self, key: str, value: Any, path: Path, before: Mapping[str, Any]) -> str | None:
        if self.catalog is None or not isinstance(value, str):
            return None if value is not None else "must be text"
        kind: Kind = path[-2]  # type: ignore[assignment]
        if key == "provider":
            facts = self.catalog.providers.get(value)
            if facts is None:
                return f"unknown provider; there are {', '.join(sorted(self.catalog.providers))}"
            return provider_problem(facts, kind, self.catalog, None) or self._lacks_options(value, kind, path)
        facts = self.catalog.providers.get(str(before.get("provider")))
        known = facts.models.get(kind) if facts is not None else None
        if key == "model" and known is not None and value not in known:
            return f"unknown model; there are {', '.join(known)}"
        return None

    def _lacks_options(self, provider: str, kind: Kind, path: Path) -> str | None:
        """A provider that does not work without options, which a session can never give."""
        own, session = self._at(path[:-1]), self._at(("models", kind))
        current = [identity_of(model) for model in (own, session) if isinstance(model, Mapping)]
        asked = self.catalog.option_problems if self.catalog is not None else None
        if asked is None or provider == next(filter(None, current), None):
            return None
        for option, message in asked(kind, ModelConfig(provider=provider)):
            return f"it needs options that only a bundle can give: {option} {message}"
        return None

    def _known_problem(self, key: str, value: Any) -> str | None:
        agents = self.document.get("agents", {})
        if key == "initial_agent" and value not in agents:
            return f"no such agent; there are {', '.join(agents)}"
        if key == "modality_profile" and value != "text_only":
            return self._lacks_speech()
        if key == "instructions" and not str(value).strip():
            return "must not be empty"
        if key == "enabled_panels":
            offered = {panel for agent in agents.values() for panel in agent.get("panels", [])}
            if set(value) - offered:
                return f"not offered by any agent; there are {', '.join(sorted(offered)) or 'none'}"
        return None

    def _lacks_speech(self) -> str | None:
        """Models that a session with sound needs, and that a bundle which is held in writing may lack."""
        session = self.document.get("models", {})
        for name, agent in self.document.get("agents", {}).items():
            own = agent.get("models", {})
            if agent.get("class") or own.get("realtime") or session.get("realtime"):
                continue
            lacking = [kind for kind in ("stt", "tts") if not (own.get(kind) or session.get(kind))]
            if lacking:
                return f"agent {name} has no {' and no '.join(lacking)} model, which sound needs"
        return None

    def _at(self, path: Path) -> Any:
        value: Any = self.document
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def _clamp(value: Any, low: float | None, high: float | None, found: Field, may: Allowed) -> Any:
    if not found.is_numeric or isinstance(value, bool):
        return value
    if value is None:  # no limit at all is more than the largest the list allows
        return may.high if found.key in _NULL_IS_NO_LIMIT and may.high is not None else value
    if not isinstance(value, int | float):
        return value
    if low is not None and value < low:
        return low
    return high if high is not None and value > high else value


def _items(value: Any) -> Collection[Any]:
    """What a list of choices is held against: each entry of a list or a map."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else (value,)


def _templates(value: Any) -> list[tuple[str, str, bool]]:
    if isinstance(value, str):
        return list(templates_in(value))
    if isinstance(value, Mapping):
        return [found for item in value.values() for found in _templates(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in _templates(item)]
    return []
