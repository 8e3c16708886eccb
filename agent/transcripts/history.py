"""Reading records: lists, pages, one transcript. Every read says who asks; what is another's is not found."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine, func, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.database import trouble, writing
from agent.transcripts.filters import Filters, Owner, WrongQuestionError
from agent.transcripts.tables import agents, items, transcripts


@dataclass(frozen=True)
class Page:
    """One page of a list, newest first."""

    transcripts: tuple[dict[str, Any], ...]
    """Each with session_id, organization, user_id, bundle, title, agents, started_at, live_at, ended_at,
    duration_seconds, end_reason, items (their number)."""
    next: str | None
    """What to hand in as `after` for the next page; None: this was the last one."""


def list_transcripts(
    engine: Engine,
    owner: Owner,
    filters: Filters | None = None,
    *,
    limit: int = 50,
    after: str | None = None,
) -> Page:
    """
    Records, newest first by start. Pages stay right while records arrive: none is shown twice or left out.

    The history of one user, of whichever organization, leaves out sessions in which the user said nothing,
    unless the filters ask for them (`silent=True`); `count_hidden` tells how many those are.

    Args:
        owner: Whose.
        filters: Narrowed to what; None: nothing.
        limit: Most rows, 1 to 1000.
        after: `next` of the page before; None: from the newest.

    Raises:
        WrongQuestionError: `after` or a time in the filters is none; one line.
        DatabaseTroubleError: The database does not answer.
    """
    by_agent = filters is not None and filters.agent is not None
    started_at, session_id = (agents.c if by_agent else transcripts.c)["started_at", "session_id"]
    limit = min(max(limit, 1), 1000)
    query = (filters or Filters()).apply(select(*_LISTED), owner)
    if after is not None:
        query = query.where(tuple_(started_at, session_id) < tuple_(*_place(after)))
    query = query.order_by(started_at.desc(), session_id.desc()).limit(limit + 1)
    try:
        with engine.connect() as connection:
            rows = [_summary(row._mapping) for row in connection.execute(query)]
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(tuple(rows), _cursor(rows[-1]["started_at"], rows[-1]["session_id"]) if more else None)


def every_transcript(
    engine: Engine, owner: Owner, filters: Filters | None = None
) -> Iterator[dict[str, Any]]:
    """All rows of a list, page by page. Raises as `list_transcripts`."""
    after: str | None = None
    while True:
        page = list_transcripts(engine, owner, filters, limit=500, after=after)
        yield from page.transcripts
        if page.next is None:
            return
        after = page.next


def count_transcripts(engine: Engine, owner: Owner, filters: Filters | None = None) -> int:
    """How many rows a list has. Raises as `list_transcripts`."""
    query: Any = select(func.count()).select_from(transcripts)
    try:
        with engine.connect() as connection:
            return int(connection.scalar((filters or Filters()).apply(query, owner)) or 0)
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc


def count_hidden(engine: Engine, owner: Owner, filters: Filters | None = None) -> int:
    """How many rows a list leaves out by default, for the user said nothing. Raises as `list_transcripts`."""
    wanted = filters or Filters()
    if wanted.silent is not None or owner.user_id is None:
        return 0
    everything = count_transcripts(engine, owner, replace(wanted, silent=True))
    return max(0, everything - count_transcripts(engine, owner, wanted))


def load(engine: Engine, session_id: str, owner: Owner) -> dict[str, Any] | None:
    """
    One transcript (`transcript/v1`), or None if there is none that this owner may see.

    Raises:
        DatabaseTroubleError: The database does not answer.
    """
    query = select(transcripts.c.record, transcripts.c.given_title).where(
        transcripts.c.session_id == session_id, owner.condition()
    )
    try:
        with engine.connect() as connection:
            found = connection.execute(query).one_or_none()
            if found is None:
                return None
            of_session = select(items.c.item).where(items.c.session_id == session_id).order_by(items.c.seq)
            listed = list(connection.execute(of_session).scalars())
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    record: dict[str, Any] = dict(found.record)
    metadata = record.pop("metadata", {})
    if found.given_title is not None:
        record["title"] = found.given_title
    return {**record, "items": listed, "metadata": metadata}


def rename(engine: Engine, session_id: str, owner: Owner, title: str | None) -> bool:
    """
    Give a session a title that stays whatever entries still come; None: the user's first words again.

    Returns:
        False: there is no such session that this owner may see.

    Raises:
        DatabaseTroubleError: The database does not answer.
    """
    change = (
        update(transcripts)
        .where(transcripts.c.session_id == session_id, owner.condition())
        .values(given_title=title)
    )
    try:
        with writing(engine) as connection:
            return bool(connection.execute(change).rowcount)
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc


_LISTED = (
    transcripts.c.session_id,
    transcripts.c.organization,
    transcripts.c.user_id,
    transcripts.c.bundle,
    transcripts.c.title,
    transcripts.c.given_title,
    transcripts.c.started_at,
    transcripts.c.live_at,
    transcripts.c.ended_at,
    transcripts.c.duration_seconds,
    transcripts.c.end_reason,
    transcripts.c.item_count,
    transcripts.c.record,
)


def _summary(row: Any) -> dict[str, Any]:
    return {
        "session_id": row["session_id"],
        "organization": row["organization"] or None,
        "user_id": row["user_id"] or None,
        "bundle": row["bundle"],
        "title": row["given_title"] or row["title"],
        "agents": row["record"]["agents"],
        "started_at": row["started_at"],
        "live_at": row["live_at"],
        "ended_at": row["ended_at"],
        "duration_seconds": row["duration_seconds"],
        "end_reason": row["end_reason"],
        "items": row["item_count"],
    }


def _cursor(started_at: str, session_id: str) -> str:
    text = json.dumps([started_at, session_id], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode(errors="replace")).decode().rstrip("=")


def _place(after: str) -> tuple[str, str]:
    try:
        text = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
        started_at, session_id = json.loads(text)
        return str(started_at), str(session_id)
    except (ValueError, TypeError):
        raise WrongQuestionError(
            "after: not the `next` of a page; leave it out to begin with the newest"
        ) from None
