"""Marks of what was erased: hashes that keep a late machine from bringing a session or a user back."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from agent.transcripts.entries import iso, iso_from_seconds, seconds_of, utc_now
from agent.transcripts.tables import erased

MARK_DAYS = 30
"""How long a mark is respected, in days: longer than any journal survives elsewhere."""


def mark_session(connection: Connection, session_id: str) -> None:
    """From now on, nothing that is known or will be found of this session may come into the database."""
    _mark(connection, _digest("session", session_id))


def mark_user(
    connection: Connection, organization: str | None, user_id: str, *, everywhere: bool = False
) -> None:
    """
    From now on, no session of this user that started before now may come into the database.

    Args:
        organization: The user's; None: none.
        everywhere: The user of this id in every organization, whatever `organization` says.
    """
    _mark(connection, _digest("user", *([] if everywhere else [organization or ""]), user_id))


def is_erased(connection: Connection, session_id: str, entries: Iterable[Mapping[str, Any]] = ()) -> bool:
    """
    Whether a session was erased: itself, or all of its user's sessions up to some time after it started.

    Args:
        connection: At the current schema.
        session_id: The session.
        entries: What is known of it; its start says whose it is.
    """
    owners = _owners(entries)
    query = select(erased.c.digest, erased.c.erased_at).where(
        erased.c.digest.in_([_digest("session", session_id), *owners]), erased.c.expires_at > utc_now()
    )
    by_digest = {row.digest: row.erased_at for row in connection.execute(query)}
    if _digest("session", session_id) in by_digest:
        return True
    return any(owners[digest] <= at for digest, at in by_digest.items() if digest in owners)


def forget_marks(connection: Connection) -> int:
    """Delete marks that have expired; returns how many."""
    return connection.execute(delete(erased).where(erased.c.expires_at <= utc_now())).rowcount


def _owners(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Digest of each user that a start entry names, and when that session started."""
    owners: dict[str, str] = {}
    for entry in entries:
        user_id = entry.get("user_id")
        if entry.get("type") != "start" or not isinstance(user_id, str) or not user_id:
            continue
        organization = entry.get("organization")
        started_at = iso(entry.get("started_at")) or iso(entry.get("at")) or utc_now()
        for where in ([], [organization if isinstance(organization, str) else ""]):
            digest = _digest("user", *where, user_id)
            owners[digest] = min(started_at, owners.get(digest, started_at))
    return owners


def _mark(connection: Connection, digest: str) -> None:
    now = utc_now()
    expires_at = iso_from_seconds((seconds_of(now) or 0.0) + MARK_DAYS * 86_400)
    connection.execute(delete(erased).where(erased.c.digest == digest))
    connection.execute(insert(erased), {"digest": digest, "erased_at": now, "expires_at": expires_at})


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
