"""What all parts of the session config have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from config_store.frozen import freeze

Names = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of names in YAML."""

JsonObject = Annotated[dict[str, Any], AfterValidator(freeze)]
"""A map of anything JSON can say; frozen."""

Frozen = AfterValidator(freeze)
"""Freezes a map of other sections."""

NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"
"""Names of agents, panels and variables: a letter or `_` first, then letters, digits, `_` and `-`."""

Name = Annotated[str, Field(pattern=NAME, max_length=64)]


class Section(BaseModel):
    """
    A frozen part of the session config that refuses unknown keys and loose types.

    Its `repr` names the fields that were set and shows no value, so that a config can be logged.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self.model_fields_set))})"

    __str__ = __repr__
