"""
The rules of the offline language model: what they look like and what can be wrong with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

END_TOOL = "end_call"
HANDOFF_PREFIX = "handoff_to_"
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
