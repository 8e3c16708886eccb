"""Whose records a read sees, and what it is narrowed to."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_

from agent.transcripts.entries import iso
from agent.transcripts.tables import agents, transcripts


class Everyone:
    """Says that a read is not limited to one organization: for operators, never for users."""


EVERYONE = Everyone()


class WrongQuestionError(ValueError):
    """A read asks for what cannot be: a time, a page or a query that is none; one line."""


@dataclass(frozen=True)
class Owner:
    """Whose records a read may see."""

    organization: str | Everyone | None
    """One organization; None: sessions without one; EVERYONE: all, for operators."""
    user_id: str | None = None
    """One user of it; None: all of its users."""

    def condition(self) -> ColumnElement[bool]:
        """The rows of `transcripts` that this owner has."""
        conditions: list[ColumnElement[bool]] = []
        if not isinstance(self.organization, Everyone):
            conditions.append(transcripts.c.organization == (self.organization or ""))
        if self.user_id is not None:
            conditions.append(transcripts.c.user_id == self.user_id)
        return and_(True, *conditions)


OPERATOR = Owner(EVERYONE)
"""Sees every record."""


@dataclass(frozen=True)
class Filters:
    """What a list is narrowed to; None: not by this."""

    bundle: str | None = None
    end_reason: str | None = None
    agent: str | None = None
    since: str | None = None
    """Started at this ISO 8601 time or later."""
    until: str | None = None
    """Started before this ISO 8601 time."""
    silent: bool | None = None
    """True: also sessions in which the user said nothing. None: those too, unless the owner is one user."""

    def apply(self, query: Select[Any], owner: Owner) -> Select[Any]:
        """The query, narrowed; raises WrongQuestionError for a time that is none."""
        query = query.where(owner.condition())
        columns = transcripts.c
        if self.bundle is not None:
            query = query.where(columns.bundle == self.bundle)
        if self.end_reason is not None:
            query = query.where(columns.end_reason == self.end_reason)
        if self.agent is not None:
            query = query.join(agents, agents.c.session_id == columns.session_id)
            query = query.where(agents.c.agent == self.agent)
        if self.since is not None:
            query = query.where(columns.started_at >= _time(self.since))
        if self.until is not None:
            query = query.where(columns.started_at < _time(self.until))
        if not (owner.user_id is None if self.silent is None else self.silent):
            query = query.where(columns.user_turns > 0)
        return query


def _time(value: str) -> str:
    time = iso(value)
    if time is None:
        raise WrongQuestionError(f"{value!r} is no time; write it like 2026-01-31 or 2026-01-31T09:00:00Z")
    return time
