"""What Python modules define, read from their source: nothing of them is run."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Names = Mapping[str, bool]
"""What a module defines at its top, and whether it may be the class of an agent; False: it is none."""


def python_names(modules: Iterable[str]) -> dict[str, Names | None]:
    """
    The names at the top of each module that can be found; None where reading does not tell (a compiled
    module, `from x import *`, a module's `__getattr__`). Modules that cannot be found are left out.

    Packages around a module are imported on the way, as Python does to find it.
    """
    found: dict[str, Names | None] = {}
    for module in modules:
        try:
            spec = importlib.util.find_spec(module)
        except Exception:  # noqa: BLE001, S112 - a package around it may raise anything; the module is not there
            continue
        if spec is not None:
            found[module] = _names_in(spec.origin)
    return found


def _names_in(origin: str | None) -> Names | None:
    if origin is None or not origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None  # whoever loads it says what is wrong
    names: dict[str, bool] = {}
    for name, node in _defined(tree.body):
        names[name] = names.get(name, False) or _may_be_agent(node, names)
    return None if names.keys() & {"*", "__getattr__"} else names


def _may_be_agent(node: ast.stmt | None, names: Names) -> bool:
    """Whether what is defined here may be the class of an agent, as far as the names before it tell."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return bool(node.decorator_list)
    if isinstance(node, ast.ImportFrom):  # a class of livekit's, its Agent too, is none of ours
        return (node.module or "").partition(".")[0] != "livekit" or node.level > 0
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.keywords:
        return True
    plain = {"object", *(name for name, may_be in names.items() if not may_be)}
    return any(not isinstance(base, ast.Name) or base.id not in plain for base in node.bases)


def _defined(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt | None]]:
    """Every name at the top, with the function, class or import that it is; None: something else."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            origin = node if isinstance(node, ast.ImportFrom) else None
            yield from ((alias.asname or alias.name.partition(".")[0], origin) for alias in node.names)
        else:
            # assignments, wherever they stand, and what a condition or a `try` at the top defines
            yield from (
                (inner.id, None)
                for inner in ast.walk(node)
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            )
            for field in ("body", "orelse", "finalbody"):
                yield from _defined(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _defined(handler.body)
