"""What the optimization level and the language fill in, read once from the tables beside this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Any

import yaml

from config_store.models import KINDS, identity_of
from config_store.span import Path, dotted

LEVEL_ORIGIN = "optimization_level"
_FALLBACK_LANGUAGE = "en"


@cache
def _table(name: str) -> Mapping[str, Any]:
    text = (FilePath(__file__).with_name(name)).read_text("utf-8")
    table: Mapping[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return table


def preload() -> None:
    """Read the tables now, so that no session does."""
    _table("optimization_levels.yaml")
    _table("recovery_phrases.yaml")


def levels() -> tuple[str, ...]:
    """The names of the levels in the table."""
    return tuple(_table("optimization_levels.yaml"))


def recovery_phrase(language: str) -> str:
    """What is said after a crash in a language; in English when the table has no words in it."""
    phrases = _table("recovery_phrases.yaml")
    found: str = phrases.get(language.split("-")[0], phrases[_FALLBACK_LANGUAGE])
    return found


def fill(document: dict[str, Any], level: str, origins: dict[str, str] | None = None) -> dict[str, Any]:
    """
    The document with what the level chooses for everything it leaves open.

    Turn-taking is laid below the document's own. A model that names a provider of the table and no model
    gets the level's. An agent's model gets one only when its provider is not the session's, whose model it
    would have inherited.
    """
    table = _table("optimization_levels.yaml").get(level)
    if table is None:
        return document
    known = origins if origins is not None else {}
    filled = dict(document)
    turn_taking = document.get("turn_taking", {})
    if isinstance(turn_taking, dict):
        filled["turn_taking"] = {**table["turn_taking"], **turn_taking}
        for key in table["turn_taking"].keys() - turn_taking.keys():
            known[f"turn_taking.{key}"] = LEVEL_ORIGIN
    choices: Mapping[str, Mapping[str, str]] = table["models"]
    session = document.get("models")
    if isinstance(session, dict):
        filled["models"] = _models(session, {}, choices, known, ("models",))
    agents = document.get("agents")
    if isinstance(agents, dict):
        filled["agents"] = dict(_agents(agents, session, choices, known))
    return filled


def _agents(
    agents: dict[str, Any], session: Any, choices: Mapping[str, Mapping[str, str]], origins: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    above = session if isinstance(session, dict) else {}
    for name, agent in agents.items():
        own = agent.get("models") if isinstance(agent, dict) else None
        if isinstance(own, dict):
            path: Path = ("agents", name, "models")
            yield name, {**agent, "models": _models(own, above, choices, origins, path)}
        else:
            yield name, agent


def _models(
    models: dict[str, Any],
    above: Mapping[str, Any],
    choices: Mapping[str, Mapping[str, str]],
    origins: dict[str, str],
    path: Path,
) -> dict[str, Any]:
    filled = dict(models)
    for kind in KINDS:
        model = models.get(kind)
        if not isinstance(model, dict):
            continue
        new = dict(model)
        inherited = above.get(kind)
        inherits = isinstance(inherited, dict) and identity_of(inherited) == identity_of(model)
        choice = choices.get(str(model.get("provider")), {}).get(kind)
        if choice is not None and "model" not in model and not inherits:
            new["model"] = choice
            origins[dotted((*path, kind, "model"))] = LEVEL_ORIGIN
        if isinstance(model.get("fallback"), list):
            new["fallback"] = [_fallback(item, kind, choices) for item in model["fallback"]]
        filled[kind] = new
    return filled


def _fallback(item: Any, kind: str, choices: Mapping[str, Mapping[str, str]]) -> Any:
    if not isinstance(item, dict) or "model" in item:
        return item
    choice = choices.get(str(item.get("provider")), {}).get(kind)
    return item if choice is None else {**item, "model": choice}
