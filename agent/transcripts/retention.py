"""Removing records when their bundle's `keep_days` are over."""

import logging

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.database import trouble, writing
from agent.transcripts.entries import utc_now
from agent.transcripts.erased import forget_marks, mark_session
from agent.transcripts.recorded import remove_record
from agent.transcripts.tables import transcripts

logger = logging.getLogger(__name__)


def expire(engine: Engine, *, now: str | None = None, batch: int = 100, most: int = 10_000) -> int:
    """
    Remove the records whose time is over, with a mark that keeps a late machine from bringing them back.

    Each batch is a transaction of its own, so that records can be made in between.

    Args:
        now: ISO 8601 in UTC with milliseconds; None: the wall clock.
        batch: Records per transaction.
        most: Records per call; the rest waits for the next one.

    Returns:
        How many records were removed.

    Raises:
        DatabaseTroubleError: The database does not answer; batches before are done.
    """
    due = (
        select(transcripts.c.session_id)
        .where(transcripts.c.keep_until <= (now or utc_now()))
        .order_by(transcripts.c.keep_until)
        .limit(batch)
    )
    removed = 0
    try:
        while removed < most:
            with writing(engine) as connection:
                session_ids = list(connection.execute(due).scalars())
                for session_id in session_ids:
                    mark_session(connection, session_id)
                    remove_record(connection, session_id)
                forget_marks(connection)
            removed += len(session_ids)
            if len(session_ids) < batch:
                break
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    if removed:
        logger.info("records removed, their time is over", extra={"records": removed})
    return removed
