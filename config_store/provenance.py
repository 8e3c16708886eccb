"""Where the values of a document come from, kept true while layers are laid over it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from config_store.span import Path, dotted


@dataclass
class Provenance:
    """
    The origins of a document's values by dotted path.

    `origins` has an entry for every scalar, list and empty map. `sourced` has the text as written of every
    value in which the environment has a part, inside lists too.
    """

    origins: dict[str, str] = field(default_factory=dict)
    sourced: dict[str, str] = field(default_factory=dict)

    def say(self, path: Path, origin: str) -> None:
        """The value at a path is a new one, from here."""
        self.forget(path)
        self.origins[dotted(path)] = origin

    def forget(self, path: Path) -> None:
        """What stood at a path and below it is gone."""
        at = dotted(path)
        below = (f"{at}.", f"{at}[")
        for known in (self.origins, self.sourced):
            for key in [key for key in known if key.startswith(at) and (key == at or key.startswith(below))]:
                del known[key]

    def move(self, path: Path, to: Path) -> None:
        """The scalar at a path stands at another one from now on."""
        old, new = dotted(path), dotted(to)
        self.origins[new] = self.origins.pop(old, "default")
        if old in self.sourced:
            self.sourced[new] = self.sourced.pop(old)

    def follow(self, path: Path, other: Path) -> None:
        """The scalar at a path takes the value of another one."""
        self.sourced.pop(dotted(path), None)
        if dotted(other) in self.sourced:
            self.sourced[dotted(path)] = self.sourced[dotted(other)]

    def leave_out(self, path: Path, numbers: Collection[int]) -> None:
        """These items of the list at a path are gone, and the later ones have moved up."""
        head = f"{dotted(path)}["
        kept: dict[str, str] = {}
        for key, text in self.sourced.items():
            if not key.startswith(head):
                kept[key] = text
                continue
            number, _, rest = key[len(head) :].partition("]")
            if int(number) not in numbers:
                gone_before = sum(gone < int(number) for gone in numbers)
                kept[f"{head}{int(number) - gone_before}]{rest}"] = text
        self.sourced = kept


def scalars(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar of a document, inside lists too, with its path."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from scalars(item, (*path, name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from scalars(item, (*path, number))
    else:
        yield path, value
