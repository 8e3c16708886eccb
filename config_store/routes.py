"""`routes.yaml`: which bundle serves a call that names none, by its room, its SIP trunk and its numbers."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from config_store.compose import Composed
from config_store.errors import Problem
from config_store.folder import BundleFolder, OutsideError
from config_store.names import suggestion
from config_store.parts import Part
from config_store.said import demand, got
from config_store.section import Section
from config_store.span import Node, Span, dotted
from config_store.yaml_source import read_yaml
from config_store.yaml_text import decode


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call before its bundle is. The SIP fields are None for a call that is not SIP."""

    room_name: str
    sip_trunk: str | None = None
    sip_to: str | None = None
    sip_from: str | None = None


class Route(Section):
    """One rule: every condition given must hold. Patterns know `*`, `?` and `[abc]`."""

    bundle: str
    """The startable bundle that serves the calls."""

    room: str | None = Field(None, min_length=1, max_length=500)
    """Pattern of the room's name."""

    sip_trunk: str | None = Field(None, min_length=1, max_length=200)
    """Pattern of the SIP trunk's id, such as `ST_abc` (the participant's `sip.trunkID`)."""

    sip_to: str | None = Field(None, min_length=1, max_length=200)
    """Pattern of the number that was called (`sip.trunkPhoneNumber`)."""

    sip_from: str | None = Field(None, min_length=1, max_length=200)
    """Pattern of the caller's number (`sip.phoneNumber`)."""

    def matches(self, call: Call) -> bool:
        """Whether this rule serves a call."""
        pairs = (
            (self.room, call.room_name),
            (self.sip_trunk, call.sip_trunk),
            (self.sip_to, call.sip_to),
            (self.sip_from, call.sip_from),
        )
        return all(
            pattern is None or (value is not None and fnmatch.fnmatchcase(value, pattern))
            for pattern, value in pairs
        )


class Routes(Section):
    """All rules; the first that matches serves."""

    routes: tuple[Route, ...] = Field((), strict=False)
    """The rules in order; the first that matches a call serves it."""

    def bundle_for(self, call: Call) -> str | None:
        """The bundle of the first rule that matches; None when no rule does."""
        return next((route.bundle for route in self.routes if route.matches(call)), None)


def load_routes(
    folder: BundleFolder, environ: Mapping[str, str], startable: Mapping[str, bool]
) -> tuple[Routes, tuple[Problem, ...]]:
    """
    The rules of a folder and what is wrong with them; no rules when there is no file.

    Args:
        folder: Where `routes.yaml` is.
        environ: For `${NAME}` in values.
        startable: Every bundle by name, and whether a session can start with it.
    """
    file = folder.routes()
    if file is None:
        return Routes(), ()
    try:
        source = decode(folder.read_bundle(file), file.shown)
    except (OSError, OutsideError) as exc:
        return Routes(), (Problem(f"cannot be read: {exc}", Span(file.shown, 1, 1)),)
    if isinstance(source, Problem):
        return Routes(), (source,)
    root, problems, _ = read_yaml(source, environ)
    if root is None or problems:
        return Routes(), problems
    part = Part("routes", file, "", source, root, (), ())
    at = Composed("routes", root, (part,), {}, ())
    unknown = _unknown(at, root, startable)
    try:
        return Routes.model_validate(root.plain()), tuple(unknown)
    except ValidationError as exc:
        wrong = [_problem(at, root, dict(error)) for error in exc.errors(include_url=False)]
    return Routes(), tuple(sorted(wrong + unknown, key=_place))


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.span.line, problem.span.column) if problem.span is not None else (0, 0)


def _problem(at: Composed, root: Node, error: dict[str, Any]) -> Problem:
    path = tuple(error["loc"])
    node = root.at(path)
    if node is None:
        parent = root.at(path[:-1]) or root
        return at.problem(f"a route lacks the key '{path[-1]}'", parent.span)
    if error["type"] == "extra_forbidden":
        known = Route.model_fields if len(path) > 1 else Routes.model_fields
        message = f"unknown key '{path[-1]}'{suggestion(str(path[-1]), known)}"
        return at.problem(message, node.key or node.span)
    what = demand(error["type"], error.get("ctx", {}), error["msg"])
    return at.problem(f"{dotted(path)} {what}{got(node, '')}", node.span)


def _unknown(at: Composed, root: Node, startable: Mapping[str, bool]) -> list[Problem]:
    """Rules that name no bundle that can serve; those whose form is wrong are looked at too."""
    rules = root.at(("routes",))
    problems = []
    for number in range(len(rules.value) if rules is not None and isinstance(rules.value, list) else 0):
        node = root.at(("routes", number, "bundle"))
        if node is None or not isinstance(node.value, str):
            continue
        name = node.source or node.value  # a value of the environment is not shown
        if node.value not in startable:
            near = suggestion(node.value, startable) if node.source is None else ""
            problems.append(at.problem(f"no bundle '{name}'{near}", node.span))
        elif not startable[node.value]:
            problems.append(at.problem(f"'{name}' is partial: it has no agents", node.span))
    return problems
