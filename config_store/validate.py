"""A composed bundle against the schema: every mistake of form at once, each at its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config_store.compose import Composed
from config_store.errors import Problem
from config_store.fields import fields_of, range_text, section_at
from config_store.names import suggestion
from config_store.pruned import Pruned
from config_store.said import HIDDEN, demand, got, hint
from config_store.schema import SessionConfig
from config_store.span import Node, Path, dotted

_ROUNDS = 4
_BOUNDS = frozenset({"greater_than_equal", "greater_than", "less_than_equal", "less_than"})


@dataclass(frozen=True, slots=True)
class _Found:
    """One error of pydantic with the place it means. `branch` is the alternative of a union it tried."""

    error: ErrorDetails
    path: Path
    missing: str | None
    branch: str | None
    branch_at: Path


@dataclass
class Validated:
    """
    What the schema says of a bundle.

    `config` is made of what is left when the faulty values are taken out, so that the checks that follow can
    find more; None when nothing sensible is left. `pruned` are the paths taken out.
    """

    config: SessionConfig | None
    problems: list[Problem]
    pruned: Pruned


def validate(composed: Composed, root: Node) -> Validated:
    """Check the form of a bundle."""
    plain = root.plain()
    problems: list[Problem] = []
    pruned = Pruned()
    for _ in range(_ROUNDS):
        try:
            return Validated(SessionConfig.model_validate(plain), problems, pruned)
        except ValidationError as exc:
            errors = [_locate(error, root, pruned) for error in exc.errors(include_url=False)]
        found = _chosen(errors, root)
        problems += [_problem(composed, root, item) for item in found if not pruned.touches(item.path)]
        pruned.take_out(plain, [item.path for item in found])
    return Validated(None, problems, pruned)


def _locate(error: ErrorDetails, root: Node, pruned: Pruned) -> _Found:
    node: Node = root
    path: Path = ()
    branch: str | None = None
    branch_at: Path = ()
    missing = None
    for number, found in enumerate(error["loc"]):
        segment = pruned.original(path, found)
        child = node.child(segment)
        if child is not None:
            node, path = child, (*path, segment)
        elif number == len(error["loc"]) - 1 and error["type"] == "missing":
            missing = str(segment)
        elif segment != "[key]" and branch is None:
            branch, branch_at = str(segment), path
    return _Found(error, path, missing, branch, branch_at)


def _chosen(found: list[_Found], root: Node) -> list[_Found]:
    """Of the errors of a union's alternatives, those of the one that was meant."""
    chosen: list[_Found] = []
    shapes: set[Path] = set()
    for item in found:
        if item.branch is None:
            chosen.append(item)
            continue
        node = root.at(item.branch_at)
        takes_text = "str" in item.branch and not item.branch.startswith(("dict", "function-after"))
        is_text = node is not None and isinstance(node.value, str)
        is_map = node is not None and isinstance(node.value, dict)
        if is_text or is_map:
            if takes_text == is_text:
                chosen.append(item)
        elif item.branch_at not in shapes:
            shapes.add(item.branch_at)
            chosen.append(item)
    return chosen


def _problem(composed: Composed, root: Node, item: _Found) -> Problem:
    kind, context = item.error["type"], item.error.get("ctx", {})
    node = root.at(item.path) or root
    key = str(item.path[-1]) if item.path else ""
    show = key not in HIDDEN
    if item.missing is not None:
        return composed.problem(f"{_name(item.path)} lacks the key '{item.missing}'", node.key or node.span)
    if kind == "extra_forbidden":
        message = f"unknown key '{key}' in {_name(item.path[:-1])}{_meant(item.path)}"
        return composed.problem(message, node.key or node.span)
    if item.error["loc"] and item.error["loc"][-1] == "[key]":
        what = demand(kind, context, item.error["msg"])
        return composed.problem(f"the name '{key[:40]}' {what}", node.key or node.span)
    takes = "text or true" if _takes_truth(item.path) else "text or a map"
    is_other = not isinstance(node.value, str if takes == "text or true" else str | dict)
    if item.branch is not None and item.path == item.branch_at and is_other:
        message = f"{_name(item.path)} must be {takes}{got(node, key)}"
        return composed.problem(message, node.span, show=show)
    what = demand(kind, context, item.error["msg"])
    bounds = _range(item.path) if kind in _BOUNDS else None
    if bounds is not None:
        what = f"must be {bounds}"
    more = hint(kind, node, context, composed.written(node.span))
    return composed.problem(f"{_name(item.path)} {what}{got(node, key)}{more}", node.span, show=show)


def _name(path: Path) -> str:
    return dotted(path) or "the bundle"


def _range(path: Path) -> str | None:
    section = section_at(path[:-1])
    field = fields_of(section).get(str(path[-1])) if section is not None else None
    if field is None or field.low is None or field.high is None:
        return None
    return range_text(field.low, field.high, is_low_excluded=field.is_low_excluded)


def _takes_truth(path: Path) -> bool:
    section = section_at(path[:-1])
    field = fields_of(section).get(str(path[-1])) if section is not None and path else None
    kinds = get_args(field.info.annotation) if field is not None else ()
    return bool in kinds and len(kinds) > 2  # more than true, false and null


def _meant(path: Path) -> str:
    section = section_at(path[:-1])
    if section is None:
        return ""
    known = set(fields_of(section))
    if section is SessionConfig:
        known.add("include")
    return suggestion(str(path[-1]), known, shown=40)
