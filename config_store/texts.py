"""Instructions that stand in a file of their own: `{file: path}` and `{prompt: ID}` become text."""

from __future__ import annotations

from config_store.compose import Composed
from config_store.errors import Problem
from config_store.folder import PROMPTS, BundleFolder, OutsideError
from config_store.inputs import text_digest
from config_store.names import is_bundle_name, suggestion
from config_store.span import Node, Span
from config_store.yaml_text import SourceText

_UNREAD = "(not read)"
"""Stands for a text that could not be read; what lacks it has a problem and is never published."""


def read_texts(
    root: Node, folder: BundleFolder, composed: Composed
) -> tuple[Node, list[Problem], dict[str, str]]:
    """
    The tree with every instruction as text.

    Returns:
        The tree, the problems, and digests of the files that were read by their paths in the folder.
    """
    agents = root.child("agents")
    if agents is None or not isinstance(agents.value, dict) or not isinstance(root.value, dict):
        return root, [], {}
    problems: list[Problem] = []
    files: dict[str, str] = {}
    done: dict[str, Node] = {}
    for name, agent in agents.value.items():
        instructions = agent.child("instructions")
        if (
            instructions is None
            or not isinstance(instructions.value, dict)
            or not isinstance(agent.value, dict)
        ):
            done[name] = agent
            continue
        entry = _text(name, instructions, folder, composed, problems, files)
        done[name] = Node(agent.span, {**agent.value, "instructions": entry}, agent.key)
    new = Node(agents.span, done, agents.key)
    return Node(root.span, {**root.value, "agents": new}, root.key), problems, files


def _text(
    agent: str,
    node: Node,
    folder: BundleFolder,
    composed: Composed,
    problems: list[Problem],
    files: dict[str, str],
) -> Node:
    entries = node.value if isinstance(node.value, dict) else {}
    where = f"agents.{agent}.instructions"
    nothing = Node(node.span, _UNREAD, node.key)
    if set(entries) not in ({"file"}, {"prompt"}):
        message = f"{where} must be text, {{file: path}} or {{prompt: ID}}"
        problems.append(composed.problem(message, node.key or node.span))
        return nothing
    kind, target = next(iter(entries.items()))
    if not isinstance(target.value, str):
        problems.append(composed.problem(f"{where}.{kind} must be text", target.span))
        return nothing
    wanted, shown = target.value, target.source or target.value
    relative = wanted if kind == "file" else f"{PROMPTS}/{wanted}.md"
    if kind == "prompt" and not is_bundle_name(wanted):
        message = f"{where}.prompt: '{shown}' is not the id of a prompt"
        problems.append(composed.problem(message, target.span))
        return nothing
    files[relative] = ""
    try:
        text = folder.read_text(relative)
    except OutsideError as exc:
        message = f"{where}.{kind}: '{shown}' {exc}"
        if kind == "prompt" and wanted not in folder.prompts():
            known = suggestion(wanted, folder.prompts()) or "; the folder prompts/ holds none"
            message = f"{where}.prompt: no prompt '{shown}'{known}"
        problems.append(composed.problem(message, target.span))
        return nothing
    files[relative] = text_digest(text)
    source = SourceText(folder.shown(relative), text)
    composed.texts[source.file] = source
    return Node(Span(source.file, 1, 1), text, node.key)
