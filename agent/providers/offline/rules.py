"""
The rules of the offline language model: what they look like and what can be wrong with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config_store.models import ModelConfig
from config_store.names import suggestion
from config_store.personas import HANDOFF_PREFIX
from config_store.schema import SessionConfig
from config_store.span import Path

NAME = "offline"
"""The provider's name in bundles."""
END_TOOL = "end_call"
MAX_DELAY_SECONDS = 60.0

_FIELDS = ("when", "say", "call", "arguments", "handoff", "end", "delay_seconds")
PLACEHOLDER = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")


@dataclass(frozen=True)
class Rule:
    """One rule. At most one of a tool, a handover and an end; `say` may stand beside each."""

    when: re.Pattern[str]
    """Searched, ignoring case, in the user's last words."""
    say: str = ""
    """Spoken first; `{group}` stands for what that group of `when` matched."""
    tool: str | None = None
    """Name of the tool to call: a handover and an end are tools too."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Time in seconds before the answer begins, 0 to 60."""


def problems(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the options of this model, as (path below options, message)."""
    found = [
        (name, "unknown option of the offline language model; it takes rules and fallback")
        for name in options
        if name not in ("rules", "fallback")
    ]
    rules = options.get("rules", ())
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        found.append(("rules", "must be a list of rules"))
        rules = ()
    if not isinstance(options.get("fallback", ""), str):
        found.append(("fallback", "must be text"))
    for n, rule in enumerate(rules):
        place = f"rules[{n}]"
        if not isinstance(rule, Mapping):
            found.append((place, "must be a map with when and say, call, handoff or end"))
        else:
            found += [(f"{place}.{key}" if key else place, text) for key, text in _rule_problems(rule)]
    return found


def _rule_problems(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(key, f"unknown; a rule takes {', '.join(_FIELDS)}") for key in rule if key not in _FIELDS]
    for key in ("when", "say", "call", "handoff"):
        if key in rule and not isinstance(rule[key], str):
            return [*found, (key, "must be text")]
    if not isinstance(rule.get("arguments", {}), Mapping):
        found.append(("arguments", "must be a map from argument to value"))
    if rule.get("end", True) is not True:
        found.append(("end", "can only be true"))
    delay = rule.get("delay_seconds", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= MAX_DELAY_SECONDS:
        found.append(("delay_seconds", f"must be a number from 0 to {MAX_DELAY_SECONDS:g}"))
    actions = [key for key in ("call", "handoff", "end") if key in rule]
    if len(actions) > 1:
        found.append((actions[1], f"cannot stand beside {actions[0]}"))
    if not actions and "say" not in rule:
        found.append(("", "does nothing; add say, call, handoff or end"))
    if "arguments" in rule and "call" not in rule:
        found.append(("arguments", "stands only beside call"))
    if "when" not in rule:
        return [*found, ("", "has no when: a regular expression searched in the user's words")]
    try:
        pattern = re.compile(rule["when"])
    except re.error as exc:
        return [*found, ("when", f"is not a regular expression: {exc}")]
    for key in ("say", "arguments"):
        for name in PLACEHOLDER.findall(json.dumps(rule.get(key, ""), default=str)):
            if name not in pattern.groupindex and not (name.isdigit() and int(name) <= pattern.groups):
                found.append((key, f"{{{name}}} is not a group of when; write (?P<{name}>…) there"))
    return found


def ends_by_rule(model: ModelConfig | None) -> bool:
    """Whether a model ends calls by rule: its agents need the tool for that, whatever tools they name."""
    return any("end" in rule for _, rule in _rules(model))


def unreachable(config: SessionConfig) -> Iterator[tuple[Path, str]]:
    """
    Rules that could never do what they say, as (path, message).

    One list of rules serves all agents, so a rule is fine when one of the agents that answer by it has the
    handover or the tool. What an agent of a Python class has, nobody here knows.
    """
    owners: list[tuple[Path, ModelConfig | None]] = [(("models", "llm"), config.models.llm)]
    owners += [(("agents", name, "models", "llm"), agent.models.llm) for name, agent in config.agents.items()]
    for place, model in owners:
        for path, rule in _rules(model, place):
            agents = [
                agent
                for name, agent in config.agents.items()
                if any(rule is other for _, other in _rules(config.models_for(name).llm))
            ]
            if not agents or any(agent.class_ is not None for agent in agents):
                continue
            targets = {target for agent in agents for target in agent.handoffs}
            tools = {tool.called for agent in agents for tool in agent.tool_configs}
            for key, known, lacks in (
                ("handoff", targets, "no agent that answers by this rule hands over to"),
                ("call", tools, "no agent that answers by this rule has the tool"),
            ):
                wanted = rule.get(key)
                if isinstance(wanted, str) and wanted not in known:
                    yield (*path, key), f"{lacks} '{wanted}'{suggestion(wanted, known)}"


def _rules(model: ModelConfig | None, place: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The rules of a model and of its fallbacks, each with its path; what has another form is left out."""
    if model is None:
        return
    if model.provider == NAME:
        rules = model.options.get("rules", ())
        for n, rule in enumerate(rules if isinstance(rules, list | tuple) else ()):
            if isinstance(rule, Mapping):
                yield (*place, "options", "rules", n), rule
    for n, other in enumerate(model.fallback):
        yield from _rules(other, (*place, "fallback", n))


def parse(options: Mapping[str, Any]) -> list[Rule]:
    """
    The rules in `options`.

    Raises:
        ValueError: Something is wrong with them; names the first place.
    """
    for place, text in problems(options):
        raise ValueError(f"options.{place} {text}")
    return [_rule(rule) for rule in options.get("rules", ())]


def _rule(rule: Mapping[str, Any]) -> Rule:
    tool = rule.get("call")
    if "handoff" in rule:
        tool = HANDOFF_PREFIX + rule["handoff"]
    elif "end" in rule:
        tool = END_TOOL
    return Rule(
        when=re.compile(rule["when"], re.IGNORECASE),
        say=rule.get("say", ""),
        tool=tool,
        arguments=rule.get("arguments", {}),
        delay_seconds=float(rule.get("delay_seconds", 0)),
    )
