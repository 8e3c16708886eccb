"""The newest messages that match a search, from the full-text index of either database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, column, select, table, text

from agent.transcripts.tables import items, transcripts

MOST_MATCHES = 500
"""The newest matches that are ranked: a word that everybody says is not looked up in all of history."""

_FREQUENT = 0.006
"""Part of all messages from which a search is frequent; of unknown words PostgreSQL expects 0.005."""

_NEWEST, _ENOUGH = 40_000, 100


@dataclass(frozen=True)
class Term:
    """Words that must stand together; the last one may be the begin of a word."""

    words: tuple[str, ...]
    is_prefix: bool = False


def newest_matches(
    connection: Connection, terms: list[Term], whose: str | None, narrow: Callable[[Any], Any]
) -> Sequence[Any]:
    """
    At most `MOST_MATCHES` messages in which all terms stand, newest first, with what is shown of them.

    Args:
        connection: In a transaction.
        terms: What is searched for; words are letters, digits and marks only, so quoting them is enough.
        whose: The word of the owner in the index; None: everyone's.
        narrow: Adds the conditions of owner and filters to a query.
    """
    if connection.dialect.name == "postgresql":
        return _on_postgresql(connection, terms, whose, narrow)
    parts = [f'"{" ".join(term.words)}"' + ("*" if term.is_prefix else "") for term in terms]
    asked = " AND ".join([*parts, *([f'"{whose}"'] if whose else [])])
    # The index first: it gives its rows in order, so that the newest are found without looking at the others.
    found = table("items_by_words", column("rowid"))
    rows = _rows().select_from(
        found.join(items, items.c.id == found.c.rowid).join(transcripts, _of_session())
    )
    rows = rows.where(text("items_by_words MATCH :query").bindparams(query=asked))
    return connection.execute(narrow(rows).order_by(found.c.rowid.desc()).limit(MOST_MATCHES)).all()


def _on_postgresql(
    connection: Connection, terms: list[Term], whose: str | None, narrow: Callable[[Any], Any]
) -> Sequence[Any]:
    """
    Through the newest messages for what is said often, through the index for what is not.

    The planner alone goes through all of history for a word that nobody said (it expects to find some on the
    way), or collects every match of a word that everybody says; `+ 0` keeps it from the former.
    """
    parts = [
        " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.is_prefix else "") for term in terms
    ]
    asked = " & ".join([*(f"({part})" for part in parts), *([f"'{whose}'"] if whose else [])])
    matches = text("items.words @@ CAST(:query AS tsquery)").bindparams(query=asked)
    rows = narrow(_rows().join_from(items, transcripts, _of_session()).where(matches))
    # Starting workers and compiling take longer than the search itself.
    settings = "set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)"
    count, newest = (
        "(SELECT reltuples FROM pg_class WHERE oid = 'items'::regclass)",
        "(SELECT max(id) FROM items)",
    )
    total, last = connection.execute(text(f"SELECT {count}, {newest}, {settings}")).one()[:2]
    plan = text("EXPLAIN (FORMAT JSON) SELECT FROM items WHERE words @@ CAST(:query AS tsquery)")
    expected = connection.execute(plan, {"query": asked}).scalar_one()[0]["Plan"]["Plan Rows"]
    if expected > _FREQUENT * total:
        of_newest = rows.where(items.c.id > (last or 0) - _NEWEST).order_by(items.c.id.desc())
        found = connection.execute(of_newest.limit(MOST_MATCHES)).all()
        if len(found) >= _ENOUGH:
            return found
    return connection.execute(rows.order_by((items.c.id + 0).desc()).limit(MOST_MATCHES)).all()


def _rows() -> Any:
    columns = transcripts.c
    return select(
        columns.session_id,
        columns.started_at,
        columns.user_id,
        columns.bundle,
        columns.title,
        columns.given_title,
        items.c.seq,
        items.c.item,
    )


def _of_session() -> Any:
    return transcripts.c.session_id == items.c.session_id
