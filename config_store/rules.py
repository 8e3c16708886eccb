"""What a bundle lays down about variables, overrides and its transcripts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config_store.section import Name, Names, Section


class VariableRule(Section):
    """A variable that templates of the bundle may use as `{{name}}`."""

    default: str | None = Field(None, max_length=10_000)
    """Its value when the session gives none; absent: a session without one is refused."""

    max_length: int = Field(200, ge=1, le=10_000)
    """Longest value in characters, 1 to 10 000; a longer one is cut."""

    description: str | None = Field(None, max_length=500)
    """What it is, for the people who write the application."""


class OverridableRule(Section):
    """A path that a session may change, with a narrower range than the schema's."""

    path: str = Field(min_length=1, max_length=200)
    """Dotted path; `*` stands for one name. It covers everything below it."""

    min: float | None = None
    """Smallest number allowed; absent: the schema's."""

    max: float | None = None
    """Largest number allowed; absent: the schema's."""

    choices: Names | None = None
    """The only texts allowed; absent: whatever the schema allows."""


REDACTIONS = ("credit_card", "email", "iban", "phone_number")
"""What can be taken out of transcripts by name."""


class RedactRule(Section):
    """A pattern of the bundle's own that is taken out of transcripts."""

    name: Name
    """What stands in its place: `[name]`."""

    pattern: str = Field(min_length=1, max_length=1000)
    """Regular expression, Python's syntax."""


class TranscriptRules(Section):
    """What becomes of a session's record."""

    keep_days: int | None = Field(None, ge=1, le=36_500)
    """Days after the end at which the record is erased; absent: kept until somebody erases it."""

    redact: Annotated[tuple[str | RedactRule, ...], Field(strict=False)] = ()
    """Taken out before anything is written: `credit_card`, `email`, `iban`, `phone_number`, or a pattern."""
