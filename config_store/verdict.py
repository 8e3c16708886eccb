"""What became of one key that a session was asked to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from config_store.dispatch import NOT_GIVEN, NotGiven

Outcome = Literal["applied", "clamped", "refused", "unsupported"]
Shown = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome for one path.

    `asked` and `applied` show numbers, booleans, choices and null; of a text only its length; NOT_GIVEN: no
    value is meant. `range` is what the bundle allows, in words such as `0.3 to 3.0`. `path` is empty when
    it is about the override as a whole.
    """

    path: str
    verdict: Outcome
    reason: str
    asked: Shown | NotGiven = NOT_GIVEN
    applied: Shown | NotGiven = NOT_GIVEN
    range: str | None = None
    source: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON; what there is not is left out, and a null that was asked for stays."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: value
            for name, value in found.items()
            if not isinstance(value, NotGiven) and (value is not None or name in ("asked", "applied"))
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `as_dict` gave; keys of a newer version are left out."""
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in data.items() if name in known})


def shown(value: object, *, is_choice: bool = False) -> Shown:
    """A value as a verdict may show it: numbers, booleans and choices; of anything else its size."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if is_choice else f"text of {_counted(len(value), 'character')}"
    if isinstance(value, Mapping):
        return f"map of {_counted(len(value), 'key')}"
    if isinstance(value, list | tuple):
        return f"list of {_counted(len(value), 'item')}"
    return type(value).__name__


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
