"""One layer of settings from outside, in the shape of a bundle: flat words become paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from config_store.dispatch import NOT_GIVEN, NotGiven
from config_store.json_text import shape_of
from config_store.names import is_bundle_name
from config_store.verdict import Verdict, shown

ALIASES: Mapping[str, tuple[str, ...]] = {
    "llm_provider": ("models", "llm", "provider"),
    "llm_model": ("models", "llm", "model"),
    "tts_provider": ("models", "tts", "provider"),
    "tts_model": ("models", "tts", "model"),
    "tts_voice_id": ("voice_id",),
    "voiceId": ("voice_id",),
    "userName": ("variables", "user_name"),
    "correlationToken": ("metadata", "correlation_token"),
}
"""Flat words that mean one path. The canonical form wins over them, and of two the first one here."""

PROMPTS = ("system_prompt_text", "system_prompt_id")
"""Flat words for the instructions of the initial agent; the text wins over the id."""

Prompt = Callable[[str], str | None]


@dataclass
class Layer:
    """
    What one source asks for.

    `settings` has the shape of a bundle. `variables` are values, not rules. `bundle` and `preset` are the
    names it chooses (NOT_GIVEN: none). `prompt` is a text for the initial agent, whichever that will be, and
    `prompt_word` the word that gave it.
    """

    origin: str
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    bundle: str | None = None
    preset: str | NotGiven | None = NOT_GIVEN
    user_id: str | None = None
    prompt: Any = NOT_GIVEN
    prompt_word: str = ""
    verdicts: list[Verdict] = field(default_factory=list)

    def say(self, path: str, verdict: Any, reason: str, value: object = NOT_GIVEN) -> None:
        """Add a verdict of this layer; without a value, none is shown as asked for."""
        asked = value if isinstance(value, NotGiven) else shown(value)
        self.verdicts.append(Verdict(path, verdict, reason, asked=asked, source=self.origin))


def read_layer(raw: Mapping[str, Any], origin: str, prompt: Prompt, *, may_choose: bool) -> Layer:
    """
    A layer from the words of a preset, a dispatch or an override.

    Args:
        raw: As given, unchecked.
        origin: What verdicts and `explain` call the source.
        prompt: The text of a prompt by its id; None when there is none.
        may_choose: Whether `bundle` and `preset` are words of this layer.
    """
    layer = Layer(origin)
    for key, value in raw.items():
        if key in ALIASES or key in PROMPTS or key == "enable_rag":
            continue
        if key == "rev" and may_choose:
            if isinstance(value, bool) or not isinstance(value, int):
                layer.say(key, "refused", f"must be a whole number, got {shape_of(value)}", value)
        elif key in ("bundle", "preset") and may_choose:
            _choose(layer, key, value)
        elif key == "variables":
            _variables(layer, value)
        else:
            layer.settings[key] = value
    for word, path in ALIASES.items():
        if word in raw:
            _alias(layer, word, path, raw[word])
    _prompt(layer, raw, prompt)
    if "enable_rag" in raw:
        layer.say("enable_rag", "unsupported", "not available yet", raw["enable_rag"])
    return layer


def _choose(layer: Layer, key: str, value: Any) -> None:
    if key == "preset" and (value is None or (isinstance(value, str) and value)):
        layer.preset = value
    elif key == "bundle" and isinstance(value, str) and is_bundle_name(value):
        layer.bundle = value
    elif key == "bundle":
        layer.say(key, "refused", "must be the name of a bundle", value)
    else:
        got = "empty text" if value == "" else shape_of(value)
        layer.say(key, "refused", f"must be the id of a preset, or null, got {got}", value)


def _variables(layer: Layer, value: Any) -> None:
    if isinstance(value, Mapping):
        layer.variables.update(value)
    else:
        layer.say("variables", "refused", f"must be a map, got {shape_of(value)}", value)


def _alias(layer: Layer, word: str, path: tuple[str, ...], value: Any) -> None:
    if word == "userName" and isinstance(value, str) and 0 < len(value) <= 256:
        layer.user_id = value
    at = layer.variables if path[0] == "variables" else layer.settings
    for name in path[:-1] if at is layer.settings else ():
        inner = at.setdefault(name, {})
        if not isinstance(inner, Mapping):
            layer.say(word, "unsupported", f"{name} is given too, and wins", value)
            return
        at[name] = at = dict(inner)
    if path[-1] in at:
        layer.say(word, "unsupported", f"{'.'.join(path)} is given too, and wins", value)
    else:
        at[path[-1]] = value


def _prompt(layer: Layer, raw: Mapping[str, Any], prompt: Prompt) -> None:
    given = [word for word in PROMPTS if word in raw]
    if not given:
        return
    word, value = given[0], raw[given[0]]
    if len(given) > 1:
        layer.say(given[1], "unsupported", f"{word} is given too, and wins", raw[given[1]])
    if word == "system_prompt_id":
        if not isinstance(value, str) or not is_bundle_name(value):
            layer.say(word, "refused", "must be the id of a prompt", value)
            return
        text = prompt(value)
        if text is None:
            layer.say(word, "refused", "there is no prompt of that id", value)
            return
        value = text
    layer.prompt, layer.prompt_word = value, word


def merged(there: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """
    An override with more values laid over it, maps deeply.

    A flat word is entered under the path it means, because a path that is there would win over it.
    """
    result = dict(there)
    for name, value in more.items():
        path = ALIASES.get(name, (name,)) if name != "userName" else (name,)
        _lay(result, path, value)
    return result


def _lay(at: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *parents, last = path
    for name in parents:
        inner = at.get(name)
        at[name] = dict(inner) if isinstance(inner, Mapping) else {}
        at = at[name]
    old = at.get(last)
    if isinstance(value, Mapping) and isinstance(old, Mapping):
        inner = dict(old)
        for name, item in value.items():
            _lay(inner, (name,), item)
        at[last] = inner
    else:
        at[last] = value
