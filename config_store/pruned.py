"""Faulty values taken out of a document, so that what is left can be checked further."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from config_store.span import Path


@dataclass
class Pruned:
    """
    What was taken out, by the paths of the whole document.

    A list loses the item in which the fault is, because half an item would only give rise to new faults.
    """

    paths: set[Path] = field(default_factory=set)

    def touches(self, path: Path) -> bool:
        """Whether something at or below a path was taken out: a fault seen there now is a consequence."""
        return any(taken[: len(path)] == path for taken in self.paths)

    def original(self, parent: Path, segment: str | int) -> str | int:
        """The place in the whole document of an entry of what is left."""
        if not isinstance(segment, int):
            return segment
        gone = {taken[-1] for taken in self.paths if taken[:-1] == parent}
        place = -1
        for _ in range(segment + 1):
            place += 1
            while place in gone:
                place += 1
        return place

    def full(self, path: Path) -> Path:
        """The path in the whole document of a path in what is left."""
        done: Path = ()
        for segment in path:
            done = (*done, self.original(done, segment))
        return done

    def take_out(self, plain: Any, paths: Iterable[Path]) -> None:
        """Take values out of a document that earlier calls have already taken some out of."""
        wanted = {_item(path) for path in paths} - self.paths
        by_place = sorted(wanted, key=lambda path: [str(part).rjust(8) for part in path], reverse=True)
        done: set[Path] = set()
        for path in by_place:
            parent: Any = plain
            for depth, segment in enumerate(path[:-1]):
                parent = _entry(parent, self._left(path[:depth], segment))
            if not path:
                if isinstance(plain, dict):
                    plain.clear()
            elif isinstance(parent, dict):
                parent.pop(path[-1], None)
            elif isinstance(parent, list):
                place = self._left(path[:-1], path[-1])
                if isinstance(place, int) and place < len(parent):
                    del parent[place]
            done.add(path)
        self.paths |= done

    def _left(self, parent: Path, segment: str | int) -> str | int:
        """The place in what is left of an entry of the whole document."""
        if not isinstance(segment, int):
            return segment
        gone = (taken[-1] for taken in self.paths if taken[:-1] == parent)
        return segment - sum(1 for place in gone if isinstance(place, int) and place < segment)


def _item(path: Path) -> Path:
    """The path up to the first item of a list in it; the path itself when there is none."""
    for number, segment in enumerate(path):
        if isinstance(segment, int):
            return path[: number + 1]
    return path


def _entry(value: Any, segment: str | int) -> Any:
    try:
        return value[segment]
    except (KeyError, IndexError, TypeError):
        return None
