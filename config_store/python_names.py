"""What Python modules define, read from their source: nothing of them is run."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path


def python_names(modules: Iterable[str]) -> dict[str, frozenset[str] | None]:
    """
    The names at the top of each module that can be found; None where reading does not tell (a compiled
    module, `from x import *`, a module's `__getattr__`). Modules that cannot be found are left out.

    Packages around a module are imported on the way, as Python does to find it.
    """
    found: dict[str, frozenset[str] | None] = {}
    for module in modules:
        try:
            spec = importlib.util.find_spec(module)
        except Exception:  # noqa: BLE001, S112 - a package around it may raise anything; the module is not there
            continue
        if spec is not None:
            found[module] = _names_in(spec.origin)
    return found


def _names_in(origin: str | None) -> frozenset[str] | None:
    if origin is None or not origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None  # whoever loads it says what is wrong
    names = frozenset(_defined(tree.body))
    return None if names & {"*", "__getattr__"} else names


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        else:
            # assignments, wherever they stand, and what a condition or a `try` at the top defines
            yield from (
                inner.id
                for inner in ast.walk(node)
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            )
            for field in ("body", "orelse", "finalbody"):
                yield from _defined(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _defined(handler.body)
