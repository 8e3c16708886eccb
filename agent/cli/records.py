"""What the commands about records stand on: the database at its schema, and this worker's Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import redis
from sqlalchemy import Engine

from agent.cli.output import FAILED, fail
from agent.settings import Settings
from agent.transcripts.database import DatabaseTroubleError, open_engine, open_existing
from agent.transcripts.filters import EVERYONE, Owner, WrongQuestionError
from agent.transcripts.finalize import RecordNotMadeError
from agent.transcripts.migrations import check_engine, upgrade_engine
from config_store.redis_client import open_sync
from config_store.redis_url import RedisUrlError


def opened(settings: Settings) -> Engine:
    """
    The database; the embedded one is made, and brought to the schema that this version needs, on the way.

    Raises:
        DatabaseTroubleError: It does not answer, is not there, or cannot be upgraded.
    """
    if not settings.database_is_embedded:
        return open_existing(settings.database())
    engine = open_engine(settings.database())
    upgrade_engine(engine)
    return engine


@contextmanager
def records(settings: Settings) -> Iterator[Engine]:
    """
    The database, at the schema that this version needs; the embedded one is upgraded on the way.

    Trouble with it, here or inside the block, ends the command with one line; so does a wrong question.
    """
    try:
        engine = opened(settings)
        try:
            if not settings.database_is_embedded and (problem := check_engine(engine).problem):
                fail(problem, code="database_schema", exit=FAILED)
            yield engine
        finally:
            engine.dispose()
    except (DatabaseTroubleError, RecordNotMadeError) as exc:
        fail(str(exc), code="database", exit=FAILED)
    except WrongQuestionError as exc:
        fail(str(exc), code="usage")


@contextmanager
def live_store(settings: Settings) -> Iterator["redis.Redis | None"]:
    """The Redis of REDIS_URL, else the embedded one if a worker runs on this AGENT_DATA, else None."""
    url = _redis_url(settings)
    if url is None:
        yield None
        return
    try:
        client = open_sync(url, 5.0, connect_seconds=2.0)
    except RedisUrlError as exc:
        fail(f"REDIS_URL: {exc}", code="settings")
    try:
        yield client
    except redis.RedisError as exc:
        from agent.unreachable import of_redis

        fail(of_redis(exc), code="redis", exit=FAILED)
    finally:
        client.close()


def owner_of(organization: str | None, user: str | None) -> Owner:
    """Whose records a command reads: without an organization those of all, as only operators run commands."""
    return Owner(EVERYONE if organization is None else organization, user)


def local_time(value: str | None) -> str:
    """A time of a record for people: in this machine's time zone, to the second; a dash for None."""
    if value is None:
        return "-"
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _redis_url(settings: Settings) -> str | None:
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    from agent.services.valkey import ValkeyError, connect_only

    try:
        return connect_only(settings.data)
    except (ValkeyError, OSError):
        return None
