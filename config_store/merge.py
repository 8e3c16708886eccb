"""
One layer laid over another.

Maps merge deeply; lists and scalars replace. A model whose provider changes loses the weaker layer's other
fields, and a voice that was one plain name becomes that provider's voice, because a name of one provider
means nothing to another. There are two forms: over trees with places, when a bundle is put together, and
over plain maps with origins, when a session starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config_store.models import KINDS, changes_provider, identity_of
from config_store.provenance import Provenance
from config_store.span import Node, Path


def is_model(path: Path) -> bool:
    """Whether a path is that of a model: `models.llm`, `agents.x.models.tts`."""
    in_agent = len(path) == 4 and path[0] == "agents" and path[2] == "models"
    return (in_agent or (len(path) == 2 and path[0] == "models")) and path[-1] in KINDS


def lay_nodes(weaker: Node, stronger: Node, path: Path = ()) -> Node:
    """The stronger tree over the weaker one; neither is changed."""
    if not isinstance(weaker.value, dict) or not isinstance(stronger.value, dict):
        return stronger
    below = {} if is_model(path) and changes_provider(weaker.plain(), stronger.plain()) else weaker.value
    merged = dict(below)
    if path == ():
        merged = _keep_voices(_without_orphans(merged, stronger.plain()), stronger.plain())
    for name, node in stronger.value.items():
        old = merged.get(name)
        if old is None and path == () and name == "agents" and isinstance(node.value, dict):
            old = Node(node.span, {}, node.key)
        if path == ("agents",) and node.value is None:
            merged.pop(name, None)
        elif old is None:
            merged[name] = node
        else:
            merged[name] = lay_nodes(old, node, (*path, name))
    return Node(stronger.span, merged, stronger.key)


def lay_plain(
    weaker: dict[str, Any],
    stronger: Mapping[str, Any],
    origin: str,
    known: Provenance,
    path: Path = (),
) -> dict[str, Any]:
    """The stronger map over the weaker one; `known` is brought up to date for every path that changed."""
    merged = dict(weaker)
    if is_model(path) and changes_provider(weaker, stronger):
        merged = {}
        known.forget(path)
    if path == () and stronger:
        _drop_orphans(merged, stronger, known)
        _name_voices(merged, stronger, known)
    for name, value in stronger.items():
        here = (*path, name)
        old = merged.get(name)
        if isinstance(value, Mapping) and (value or (isinstance(old, dict) and old)):
            base = old if isinstance(old, dict) else {}
            if not base:
                known.forget(here)
            merged[name] = lay_plain(base, value, origin, known, here)
        else:
            merged[name] = value
            known.say(here, origin)
    return merged


def _models(layer: object) -> Mapping[str, Any]:
    models = layer.get("models") if isinstance(layer, Mapping) else None
    return models if isinstance(models, Mapping) else {}


def _provider(models: Mapping[str, Any], kind: str) -> str | None:
    model = models.get(kind)
    return identity_of(model) if isinstance(model, Mapping) else None


def _orphans(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> list[tuple[str, str]]:
    """
    Agents' own fields of a model, as (agent, kind), whose provider was the session's or is to be another one:
    without a provider of their own they mean nothing under the new one.
    """
    found = []
    session, later = _models(weaker), _models(stronger)
    for name, agent in _agents(weaker).items():
        for kind, own in _models(agent).items():
            if not isinstance(own, Mapping) or identity_of(own) is not None:
                continue
            old = _provider(session, kind)
            new = _provider(_models(_agents(stronger).get(name)), kind) or _provider(later, kind)
            if old is not None and new is not None and old != new:
                found.append((name, kind))
    return found


def _drop_orphans(merged: dict[str, Any], stronger: Mapping[str, Any], known: Provenance) -> None:
    for agent, kind in _orphans(merged, stronger):
        entry = merged["agents"][agent]
        models = {name: model for name, model in entry["models"].items() if name != kind}
        merged["agents"] = {**merged["agents"], agent: {**entry, "models": models}}
        known.forget(("agents", agent, "models", kind))


def _without_orphans(merged: dict[str, Node], stronger: Mapping[str, Any]) -> dict[str, Node]:
    plain: dict[str, Any] = {key: merged[key].plain() for key in ("models", "agents") if key in merged}
    for agent, kind in _orphans(plain, stronger):
        merged = {**merged, "agents": _without(merged["agents"], (agent, "models", kind))}
    return merged


def _without(node: Node, path: Path) -> Node:
    """The tree without what stands at a path in it."""
    assert isinstance(node.value, dict)
    first, *rest = path
    entries = {name: child for name, child in node.value.items() if rest or name != first}
    if rest:
        entries[str(first)] = _without(entries[str(first)], tuple(rest))
    return Node(node.span, entries, node.key, node.source)


def _speaker(layer: Mapping[str, Any]) -> str | None:
    models = layer.get("models")
    tts = models.get("tts") if isinstance(models, Mapping) else None
    return identity_of(tts) if isinstance(tts, Mapping) else None


def _agents(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    agents = layer.get("agents")
    return agents if isinstance(agents, Mapping) else {}


def _voices_to_name(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str | None, str]:
    """Whose voices (an agent's; None: the session's) were plain names of a provider that no longer speaks."""
    found: dict[str | None, str] = {}
    old, new = _speaker(weaker), _speaker(stronger)
    if old is not None and new is not None and old != new:
        found[None] = old
    for name, agent in _agents(weaker).items():
        if not isinstance(agent, Mapping):
            continue
        own_old = _speaker(agent) or old
        after = _agents(stronger).get(name)
        own_new = (_speaker(after) if isinstance(after, Mapping) else None) or _speaker(agent) or new
        if own_old is not None and own_new is not None and own_old != own_new:
            found[name] = own_old
    return found


def _keep_voices(merged: dict[str, Node], stronger: Mapping[str, Any]) -> dict[str, Node]:
    plain: dict[str, Any] = {key: merged[key].plain() for key in ("models", "agents") if key in merged}
    changed = _voices_to_name(plain, stronger)
    for agent, provider in changed.items():
        if agent is None:
            _name_node_voice(merged, provider)
            continue
        agents = merged["agents"]
        entry = agents.child(agent)
        if entry is not None and isinstance(entry.value, dict) and isinstance(agents.value, dict):
            own = dict(entry.value)
            _name_node_voice(own, provider)
            merged["agents"] = Node(
                agents.span, {**agents.value, agent: Node(entry.span, own, entry.key)}, agents.key
            )
    return merged


def _name_node_voice(entries: dict[str, Node], provider: str) -> None:
    voice = entries.get("voice_id")
    if voice is not None and isinstance(voice.value, str):
        named = Node(voice.span, voice.value, voice.key, voice.source)
        entries["voice_id"] = Node(voice.span, {provider: named}, voice.key)


def _name_voices(merged: dict[str, Any], stronger: Mapping[str, Any], known: Provenance) -> None:
    for agent, provider in _voices_to_name(merged, stronger).items():
        if agent is None:
            _name_voice(merged, provider, known, ("voice_id",))
        else:
            agents = dict(merged["agents"])
            agents[agent] = dict(agents[agent])
            merged["agents"] = agents
            _name_voice(agents[agent], provider, known, ("agents", agent, "voice_id"))


def _name_voice(entries: dict[str, Any], provider: str, known: Provenance, path: Path) -> None:
    voice = entries.get("voice_id")
    if isinstance(voice, str):
        entries["voice_id"] = {provider: voice}
        known.move(path, (*path, provider))
