"""Where a value stands: places in files, and trees of values that know their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file: line and column count from 1, `length` in characters on that line."""

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Node:
    """
    One value of a document with its place.

    `value` is a scalar, a dict of nodes or a list of nodes. `key` is the place of its key (None in a list and
    at the top). `source` is the text as written when the environment has a part in the value, else None.
    """

    span: Span
    value: Scalar | dict[str, Node] | list[Node]
    key: Span | None = None
    source: str | None = None

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, segment: str | int) -> Node | None:
        """The entry of that name or number; None when there is none."""
        if isinstance(self.value, dict) and isinstance(segment, str):
            return self.value.get(segment)
        is_index = isinstance(segment, int) and not isinstance(segment, bool)
        if isinstance(self.value, list) and is_index and 0 <= int(segment) < len(self.value):
            return self.value[int(segment)]
        return None

    def at(self, path: Sequence[str | int]) -> Node | None:
        """The node at a path; None when the path leads nowhere."""
        node: Node | None = self
        for segment in path:
            node = node.child(segment) if node is not None else None
        return node

    def leaves(self, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """Every scalar, every list as a whole, and every empty map, with its path."""
        if isinstance(self.value, dict) and self.value:
            for name, node in self.value.items():
                yield from node.leaves((*path, name))
        elif path:
            yield path, self

    def sourced(self, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """Every scalar in which the environment has a part, inside lists too."""
        if self.source is not None:
            yield path, self
        if isinstance(self.value, dict):
            for name, node in self.value.items():
                yield from node.sourced((*path, name))
        elif isinstance(self.value, list):
            for number, node in enumerate(self.value):
                yield from node.sourced((*path, number))


def dotted(path: Sequence[str | int]) -> str:
    """A path as people write it: `agents.triage.tools[0]`."""
    text = ""
    for segment in path:
        text += f"[{segment}]" if isinstance(segment, int) else f".{segment}" if text else str(segment)
    return text
