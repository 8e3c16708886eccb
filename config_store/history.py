"""Every layer's value for every path, for people who ask why a value is what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config_store.compose import compose
from config_store.fields import default_at, field_at
from config_store.levels import LEVEL_ORIGIN, fill
from config_store.parts import Sources
from config_store.span import Node, Path, dotted


@dataclass(frozen=True, slots=True)
class Said:
    """What one layer says of a path. A value from the environment is the text as written."""

    value: Any
    origin: str


def history(
    sources: Sources, name: str, level: str, layers: Iterable[tuple[str, Mapping[str, Any]]]
) -> dict[str, list[Said]]:
    """
    What each layer says of each path, the strongest first; the winner stands first.

    Args:
        sources: The folder of the bundle.
        name: The bundle.
        level: The optimization level of the session.
        layers: Origin and accepted settings of each layer over the bundle, weakest first.
    """
    found: dict[str, list[Said]] = {}
    composed = compose(sources, name)
    if composed is None or composed.root is None:
        return found
    for path, said in _chosen_by_level(composed.root.plain(), level):
        found.setdefault(path, []).insert(0, said)
    for part in composed.parts:
        for path, said in _of_part(part.root):
            found.setdefault(path, []).insert(0, said)
    for origin, settings in layers:
        for path, value in _leaves(settings):
            found.setdefault(path, []).insert(0, Said(value, origin))
    for path, entries in found.items():
        if field_at(path.split(".")) is not None:
            entries.append(Said(default_at(path), "default"))
    return found


def _of_part(root: Node | None) -> Iterator[tuple[str, Said]]:
    for path, node in root.leaves() if root is not None else ():
        is_text = len(path) == 4 and path[0] == "agents" and path[2] == "instructions"
        shown = dotted(path[:3] if is_text else path)
        value = f"{{{path[3]}: {node.plain()}}}" if is_text else _shown(node)
        named = root.at(path[:3]) if is_text and root is not None else None
        place = node if named is None else named
        yield shown, Said(value, str(place.key or place.span))


def _shown(node: Node) -> Any:
    if node.source is not None:
        return node.source
    if isinstance(node.value, list):
        return [_shown(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: _shown(item) for key, item in node.value.items()}
    return node.value


def _chosen_by_level(document: dict[str, Any], level: str) -> Iterator[tuple[str, Said]]:
    """What the table says of everything it knows, whoever has said something stronger."""
    open_document = {key: value for key, value in document.items() if key != "turn_taking"}
    open_document["models"] = _without_model(open_document.get("models"))
    agents = open_document.get("agents")
    if isinstance(agents, dict):
        open_document["agents"] = {
            name: {**agent, "models": _without_model(agent.get("models"))}
            for name, agent in agents.items()
            if isinstance(agent, dict)
        }
    origins: dict[str, str] = {}
    filled = fill(open_document, level, origins)
    for path, value in _leaves(filled):
        if origins.get(path) == LEVEL_ORIGIN:
            yield path, Said(value, LEVEL_ORIGIN)


def _without_model(models: Any) -> Any:
    if not isinstance(models, dict):
        return {}
    return {
        kind: {key: value for key, value in model.items() if key != "model"}
        for kind, model in models.items()
        if isinstance(model, dict)
    }


def _leaves(value: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, (*path, key))
        else:
            yield dotted((*path, key)), item
