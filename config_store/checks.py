"""What must hold between the parts of a bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from config_store.catalog import Catalog
from config_store.names import suggestion
from config_store.personas import HANDOFF_PREFIX, MODALITY_PARTS, REFERENCE, AgentConfig
from config_store.rules import REDACTIONS, RedactRule
from config_store.schema import SessionConfig
from config_store.span import Path
from config_store.templates import templates_in, texts_of

_REFERENCE = re.compile(REFERENCE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. `at_key` points at the key instead of the value."""

    path: Path
    message: str
    is_warning: bool = False
    at_key: bool = False
    words: str = ""
    """Words of the text at the path that are meant; the place is theirs."""


def check(config: SessionConfig, catalog: Catalog | None) -> Iterator[Finding]:
    """Everything that does not fit in a bundle whose form is right, but for its models and its policy."""
    yield from _agents(config)
    yield from _reach(config)
    yield from _panels(config)
    yield from _modality(config)
    yield from _times(config)
    yield from _templates(config)
    yield from _redaction(config)
    yield from _collisions(config)
    if catalog is not None:
        yield from _python(config, catalog)


def _agents(config: SessionConfig) -> Iterator[Finding]:
    known = config.agents
    if config.initial_agent is not None and known and config.initial_agent not in known:
        yield Finding(
            ("initial_agent",), f"no agent '{config.initial_agent}'{suggestion(config.initial_agent, known)}"
        )
    for name, agent in config.agents.items():
        for number, target in enumerate(agent.handoffs):
            path: Path = ("agents", name, "handoffs", number)
            if target == name:
                yield Finding(path, f"agent '{name}' hands over to itself")
            elif target not in known:
                yield Finding(path, f"no agent '{target}'{suggestion(target, known)}")
        if not agent.instructions.strip() and agent.class_ is None:
            yield Finding(("agents", name), f"agents.{name} has no instructions", at_key=True)


def _reach(config: SessionConfig) -> Iterator[Finding]:
    """An agent that nobody hands over to; with Python agents about nobody can know."""
    if not config.agents or any(agent.class_ for agent in config.agents.values()):
        return
    first = config.initial_agent or next(iter(config.agents))
    reached: set[str] = set()
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name in config.agents and name not in reached:
            reached.add(name)
            waiting.extend(config.agents[name].handoffs)
    for name in config.agents:
        if name not in reached and first in config.agents:
            message = f"agent '{name}' is never reached: no handover leads to it from '{first}'"
            yield Finding(("agents", name), message, is_warning=True, at_key=True)


def _panels(config: SessionConfig) -> Iterator[Finding]:
    offered = {panel for agent in config.agents.values() for panel in agent.panels}
    for number, panel in enumerate(config.enabled_panels):
        if config.agents and panel not in offered:
            known = suggestion(panel, offered) or "; no agent has panels"
            yield Finding(("enabled_panels", number), f"no agent offers the panel '{panel}'{known}")


def _modality(config: SessionConfig) -> Iterator[Finding]:
    has = MODALITY_PARTS[config.modality_profile]
    for name, agent in config.agents.items():
        needs = MODALITY_PARTS[agent.modality] if agent.modality is not None else frozenset[str]()
        lacking = sorted(needs - has)
        if lacking:
            yield Finding(
                ("agents", name, "modality"),
                f"agent '{name}' needs {' and '.join(lacking)}, "
                f"which modality_profile {config.modality_profile} does not give",
            )


def _times(config: SessionConfig) -> Iterator[Finding]:
    idle, longest, turns = config.idle_timeout_seconds, config.max_duration_seconds, config.turn_taking
    for number, prompt in enumerate(config.idle_prompts):
        if idle is not None and prompt.after_seconds >= idle:
            yield Finding(
                ("idle_prompts", number, "after_seconds"),
                f"an idle prompt after {prompt.after_seconds:g} s never comes: "
                f"the session ends after {idle:g} s (idle_timeout_seconds)",
            )
    for number, warning in enumerate(config.max_duration_warnings):
        path: Path = ("max_duration_warnings", number, "before_seconds")
        if longest is None:
            yield Finding(path, "a warning before the end needs max_duration_seconds")
        elif warning.before_seconds >= longest:
            yield Finding(
                path,
                f"a warning {warning.before_seconds:g} s before the end never comes: "
                f"the session lasts {longest:g} s (max_duration_seconds)",
            )
    if turns.min_delay > turns.max_delay:
        yield Finding(
            ("turn_taking", "min_delay"),
            f"turn_taking.min_delay ({turns.min_delay:g} s) is longer than max_delay ({turns.max_delay:g} s)",
        )


def _templates(config: SessionConfig) -> Iterator[Finding]:
    for name, rule in config.variables.items():
        if rule.default is not None and len(rule.default) > rule.max_length:
            yield Finding(
                ("variables", name, "default"),
                f"variables.{name}.default: {len(rule.default)} characters, max_length is {rule.max_length}",
            )
    for path, text in texts_of(config):
        for written, inside, is_name in dict.fromkeys(templates_in(text)):
            if not is_name:
                message = f"'{written[:40]}' is not a template; only {{{{name}}}} is"
                yield Finding(path, message, words=written)
            elif inside not in config.variables:
                known = suggestion(inside, config.variables) or f"; declare it: variables: {{{inside}: {{}}}}"
                yield Finding(path, f"{written} is not a declared variable{known}", words=written)


def _redaction(config: SessionConfig) -> Iterator[Finding]:
    for number, rule in enumerate(config.transcript.redact):
        path: Path = ("transcript", "redact", number)
        if isinstance(rule, RedactRule):
            try:
                re.compile(rule.pattern)
            except (re.error, OverflowError) as exc:
                yield Finding((*path, "pattern"), f"not a regular expression: {exc}")
        elif rule not in REDACTIONS:
            yield Finding(path, f"nothing called '{rule}' can be redacted{suggestion(rule, REDACTIONS)}")


def _collisions(config: SessionConfig) -> Iterator[Finding]:
    """What a model could not tell apart: tools and handovers of an agent that it calls by the same name."""
    for name, agent in config.agents.items():
        taken: dict[str, str] = {}
        for number, target in enumerate(agent.handoffs):
            called = f"{HANDOFF_PREFIX}{target}"
            if called in taken:
                path: Path = ("agents", name, "handoffs", number)
                yield Finding(path, f"agent '{name}' hands over to '{target}' twice; leave one out")
            taken[called] = f"the handover to '{target}'"
        for number, tool in enumerate(agent.tool_configs):
            if (first := taken.get(tool.called)) is not None:
                both = f"two tools called '{tool.called}': {first} and '{tool.name}'"
                message = f"agent '{name}' has {both}; leave one out or rename its function"
                yield Finding(_place_of_tool(name, agent, number), message)
            taken.setdefault(tool.called, f"'{tool.name}'")


def _place_of_tool(name: str, agent: AgentConfig, number: int) -> Path:
    path: Path = ("agents", name, "tools", number)
    return path if isinstance(agent.tools[number], str) else (*path, "name")


def _python(config: SessionConfig, catalog: Catalog) -> Iterator[Finding]:
    for name, agent in config.agents.items():
        if agent.class_ is not None:
            yield from _reference(agent.class_, ("agents", name, "class"), catalog, is_class=True)
        for number, tool in enumerate(agent.tool_configs):
            path = _place_of_tool(name, agent, number)
            if ":" in tool.name:
                yield from _reference(tool.name, path, catalog)
            elif tool.name not in catalog.tools:
                known = suggestion(tool.name, catalog.tools)
                yield Finding(path, f"no tool '{tool.name}'{known}; a Python function is module:function")


def _reference(reference: str, path: Path, catalog: Catalog, *, is_class: bool = False) -> Iterator[Finding]:
    if _REFERENCE.match(reference) is None:
        yield Finding(path, f"'{reference}' is not module:name, of a name at the top of the module")
        return
    module, _, name = reference.partition(":")
    if module not in catalog.modules:
        yield Finding(path, f"module '{module}' is not in AGENT_MODULES{suggestion(module, catalog.modules)}")
    elif catalog.names is not None and module not in catalog.names:
        yield Finding(
            path, f"module '{module}' of AGENT_MODULES cannot be found; is its folder on PYTHONPATH?"
        )
    elif catalog.names is not None and (known := catalog.names[module]) is not None:
        if name not in known:
            yield Finding(path, f"module '{module}' has no '{name}'{suggestion(name, known)}")
        elif is_class and not known[name]:
            yield Finding(
                path,
                f"agent class '{reference}' is no ConfiguredAgent; derive it from the one in agent.agents",
            )
