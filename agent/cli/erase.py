"""`agent transcripts erase`: a session or a user, everywhere it is kept."""

from typing import Annotated, Any, NoReturn

import redis
import typer

from agent.cli.output import FAILED, fail, print_json
from agent.cli.record_options import Json
from agent.cli.records import live_store, owner_of, records
from agent.settings import load as load_settings
from agent.transcripts.erasure import Erasure, erase_session, erase_user, is_marked, is_of


def erase(
    session: Annotated[str | None, typer.Option(help="Erase this session.")] = None,
    user: Annotated[str | None, typer.Option(help="Erase all sessions and presets of this user.")] = None,
    organization: Annotated[str | None, typer.Option(help="Only in this organization; '' for none.")] = None,
    json: Json = False,
) -> None:
    """
    Erase a session or a user: database, search index, journals, and what Redis holds; a user's presets too.

    It says what was removed.

    Nothing brings it back: what a machine that was cut off still has of it is removed when it turns up, also
    when nothing of it was here.

    Example: agent transcripts erase --user u1
    """
    if (session is None) == (not user):
        fail("name one of --session ID and --user U", code="usage")
    settings = load_settings()
    with live_store(settings) as client, records(settings) as engine:
        try:
            if session is not None:
                kept: dict[str, Any] = {"engine": engine, "journals": settings.journals, "redis": client}
                if organization is not None and not is_of(session, owner_of(organization, None), **kept):
                    _nothing_of(session)
                before = is_marked(session, engine)
                done = erase_session(session, **kept)
                if not done.sessions and not before:
                    _nothing_of(session)
            else:
                owner = owner_of(organization, user)
                done = erase_user(owner, engine=engine, journals=settings.journals, redis=client)
        except OSError as exc:
            fail(f"journals: {exc.strerror or exc}; erase again when that is mended", "journals", FAILED)
        except redis.RedisError as exc:
            fail(f"Redis does not answer ({type(exc).__name__}); erase again when it does", "redis", FAILED)
    if json:
        print_json(
            {
                "sessions": list(done.sessions),
                "records": done.records,
                "items": done.items,
                "journals": done.journals,
                "redis_keys": done.redis_keys,
                "presets": done.presets,
                "live": list(done.live),
                "compacted": done.compacted,
            }
        )
    else:
        _print(done)


def _nothing_of(session_id: str) -> NoReturn:
    fail(
        f"nothing is kept of session {session_id!r}; agent transcripts list shows records", "unknown_session"
    )


def _print(done: Erasure) -> None:
    typer.echo(
        f"removed: {done.records} records with {done.items} items, {done.journals} journals, "
        f"{done.redis_keys} keys in Redis, {done.presets} presets"
    )
    for session_id in done.live:
        typer.echo(f"session {session_id} goes on; what it leaves is removed when it ends")
    if not done.compacted:
        typer.echo(
            "the database file could not be rewritten now; erase again to clear its free space", err=True
        )
