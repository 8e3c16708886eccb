"""Who may change a field for one session, and when a change is heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

Overridable = Literal["never", "listed", "default"]
Effect = Literal["now", "next_utterance", "next_session"]


@dataclass(frozen=True, slots=True)
class Mark:
    """
    What a field of the schema says about overrides.

    `default` may be changed by a preset, the dispatch or Redis unless the bundle's `overridable` list leaves
    it out; `listed` only when that list names it; a field without a mark counts as `never`.
    """

    overridable: Overridable
    effect: Effect = "next_session"

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        return {**schema, "x-overridable": self.overridable, "x-takes-effect": self.effect}


NEVER = Mark("never")


def mark_of(field: FieldInfo) -> Mark:
    """The mark of a field; `NEVER` when it has none."""
    return next((item for item in field.metadata if isinstance(item, Mark)), NEVER)
