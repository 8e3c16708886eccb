"""Numbers over many records: how many sessions, how long, how much was said and used."""

from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.database import trouble
from agent.transcripts.filters import Filters, Owner
from agent.transcripts.tables import transcripts

Grouping = Literal["day", "bundle", "reason"]


def statistics(
    engine: Engine, owner: Owner, filters: Filters | None = None, *, by: Grouping = "day"
) -> list[dict[str, Any]]:
    """
    One row per day (UTC, newest first), bundle or end reason (most sessions first).

    Returns:
        Rows with the group under its name, `sessions`, `duration_seconds`, `turns` (of users), `tokens` and
        `characters` (as the models reported them).

    Raises:
        WrongQuestionError: A time in the filters is none.
        DatabaseTroubleError: The database does not answer.
    """
    columns = transcripts.c
    groups: dict[str, ColumnElement[Any]] = {
        "day": func.substr(columns.started_at, 1, 10),
        "bundle": columns.bundle,
        "reason": columns.end_reason,
    }
    group = groups[by].label("of")
    count = func.count().label("sessions")
    query: Any = select(
        group,
        count,
        func.sum(columns.duration_seconds).label("duration_seconds"),
        func.sum(columns.user_turns).label("turns"),
        func.sum(columns.tokens).label("tokens"),
        func.sum(columns.characters).label("characters"),
    ).select_from(transcripts)
    query = (filters or Filters(silent=True)).apply(query, owner).group_by(group)
    query = query.order_by(group.desc()) if by == "day" else query.order_by(count.desc(), group)
    try:
        with engine.connect() as connection:
            return [
                {
                    by: row["of"],
                    "sessions": row["sessions"],
                    "duration_seconds": round(float(row["duration_seconds"]), 3),
                    "turns": int(row["turns"]),
                    "tokens": int(row["tokens"]),
                    "characters": int(row["characters"]),
                }
                for row in connection.execute(query).mappings()
            ]
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
