"""A bundle's `overridable` list: which paths a session may change, and how far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from config_store.checks import Finding
from config_store.fields import Field, field_at, fields_of, range_text, section_at
from config_store.names import suggestion
from config_store.schema import OverridableRule, SessionConfig
from config_store.section import Section
from config_store.span import Path


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a session may do with one path. `low`, `high` and `choices` narrow the schema's own."""

    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None


def matches(pattern: str, path: Sequence[str]) -> bool:
    """Whether a pattern of the list covers a path: itself and everything below it; `*` is any one name."""
    parts = pattern.split(".")
    if len(parts) > len(path):
        return False
    return all(part in ("*", name) for part, name in zip(parts, path, strict=False))


def allowed(
    rules: Sequence[str | OverridableRule] | None, path: Sequence[str], field: Field
) -> Allowed | None:
    """
    Whether a session may change the field at a path; None when it may not.

    Without a list every field marked `default` is open; with one, exactly what it names, unless `never`.
    """
    if field.mark.overridable == "never":
        return None
    if rules is None:
        return Allowed() if field.mark.overridable == "default" else None
    found: Allowed | None = None
    for rule in rules:
        pattern = rule if isinstance(rule, str) else rule.path
        if matches(pattern, path):
            found = Allowed() if isinstance(rule, str) else Allowed(rule.min, rule.max, rule.choices)
    return found


def check_rules(config: SessionConfig) -> Iterator[Finding]:
    """Entries of the list that name nothing, name what can never change, or widen the schema's range."""
    for number, rule in enumerate(config.overridable or ()):
        is_plain = isinstance(rule, str)
        pattern = rule if isinstance(rule, str) else rule.path
        at: Path = ("overridable", number) if is_plain else ("overridable", number, "path")
        problem = _pattern_problem(pattern, config)
        if problem is not None:
            yield Finding(at, problem)
        elif isinstance(rule, OverridableRule):
            yield from _limits(rule, ("overridable", number))


def _pattern_problem(pattern: str, config: SessionConfig) -> str | None:
    parts = pattern.split(".")
    if parts[0] == "variables":
        return "a session may always give the variables that are declared; leave this out"
    field = field_at(parts)
    if field is None:
        return _unknown(parts, config)
    if parts[0] == "agents" and len(parts) > 1 and parts[1] != "*" and parts[1] not in config.agents:
        return f"no agent '{parts[1]}'{suggestion(parts[1], config.agents)}"
    section = field.section or field.entries
    if section is not None and field.mark.overridable == "never":
        return None if _has_open(section) else f"nothing in {pattern} can ever be overridden"
    if field.mark.overridable == "never":
        return f"{pattern} can never be overridden"
    return None


def _unknown(parts: list[str], config: SessionConfig) -> str | None:
    for depth in range(len(parts)):
        section = section_at(parts[:depth])
        if section is None:
            parent = field_at(parts[:depth])
            if parent is not None and parent.entries is not None:
                continue
            return _below_leaf(parts, depth)
        known = set(fields_of(section))
        if parts[depth] == "*":
            return None if _has_open(section) else f"nothing in {'.'.join(parts)} can ever be overridden"
        if parts[depth] not in known:
            return f"no field '{'.'.join(parts[: depth + 1])}'{suggestion(parts[depth], known, shown=40)}"
    if len(parts) == 2 and parts[0] == "agents" and parts[1] not in ("*", *config.agents):
        return f"no agent '{parts[1]}'{suggestion(parts[1], config.agents)}"
    return None


def _below_leaf(parts: list[str], depth: int) -> str | None:
    field = field_at(parts[:depth])
    name = ".".join(parts[:depth])
    if field is not None and field.mark.overridable != "never":
        return f"'{name}' is changed as a whole; name it without '.{'.'.join(parts[depth:])}'"
    return f"{name} can never be overridden"


def _has_open(section: type[Section]) -> bool:
    for field in fields_of(section).values():
        inner = field.section or field.entries
        if field.mark.overridable != "never" or (inner is not None and _has_open(inner)):
            return True
    return False


def _limits(rule: OverridableRule, path: Path) -> Iterator[Finding]:
    field = field_at(rule.path.split("."))
    if field is None:
        if rule.min is not None or rule.max is not None or rule.choices is not None:
            yield Finding((*path, "path"), f"a range needs one field, '{rule.path}' stands for several")
        return
    for key, bound in (("min", rule.min), ("max", rule.max)):
        if bound is None:
            continue
        if not field.is_numeric:
            yield Finding((*path, key), f"{rule.path} is not a number and takes no {key}")
        elif (field.low is not None and bound < field.low) or (field.high is not None and bound > field.high):
            yield Finding(
                (*path, key), f"{key} must be {range_text(field.low, field.high)}, the range of {rule.path}"
            )
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        yield Finding((*path, "min"), "min is larger than max")
    if rule.choices is not None and field.is_numeric:
        yield Finding((*path, "choices"), f"{rule.path} is a number; give it min and max")
    for number, choice in enumerate(rule.choices or ()):
        if field.choices is not None and choice not in field.choices:
            message = f"'{choice}' is no choice of {rule.path}{suggestion(choice, field.choices)}"
            yield Finding((*path, "choices", number), message)
