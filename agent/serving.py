"""From settings to a running worker: everything it needs is there and right, or it says what is not."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import aiohttp
from livekit import api
from redis.exceptions import RedisError
from sqlalchemy import Engine
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_delay, wait_exponential

from agent import library, logs, room, stores, unreachable
from agent.bundles import Bundles, NoBundleError
from agent.health import PortTakenError
from agent.importing import START_SECONDS, Trial
from agent.settings import Settings, SettingsError
from agent.transcripts import migrations
from agent.transcripts.database import DatabaseTroubleError, open_engine
from agent.worker import Worker, new_worker_id

LIVEKIT_SECONDS = 8.0
"""How long a worker that starts waits for LiveKit to answer; whoever runs it starts it again."""

logger = logging.getLogger(__name__)


class StartError(Exception):
    """The worker cannot start; one line with the cause and the next step."""

    def __init__(self, message: str, *, code: str, is_wrong_use: bool = False, report: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.is_wrong_use = is_wrong_use
        self.report = report
        """More to print before it: a report on bundles, with places."""


async def serve(settings: Settings, trial: Trial | None = None) -> int:
    """
    Run a worker until it is asked to stop.

    Args:
        settings: Of this process.
        trial: The import of the modules that bundles may name, running; None: there are none.

    Returns:
        The exit status: 0 after a drain, 1 when LiveKit was lost for good.

    Raises:
        StartError: Something it needs is missing or wrong.
    """
    logs.set_up(settings)
    if missing := library.missing_parts():
        raise StartError(
            f"the installed livekit-agents lacks {', '.join(missing)}; install the version this runtime pins",
            code="livekit_agents_version",
        )
    async with _redis(settings) as settings:
        bundles = _bundles(settings)
        with _database(settings) as engine:
            await _livekit(settings)
            if trial is not None:
                await _modules(trial)
            settings = settings.model_copy(update={"worker_id": new_worker_id()})
            logger.info("starting", extra={"bundles": len(bundles.usable()), "cap": settings.session_cap})
            try:
                return await Worker(settings, bundles, engine).run()
            except PortTakenError as exc:
                raise StartError(str(exc), code="port_taken") from None


@contextlib.asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with a Redis that answers: the one that is named, or the embedded Valkey."""
    if settings.redis_url is not None:
        client = stores.open_redis(settings.redis_url.get_secret_value(), 3.0)
        try:
            await client.ping()
        except (RedisError, OSError, ValueError) as exc:
            raise StartError(
                f"REDIS_URL does not answer ({unreachable.reason(exc)}); check the address, or unset it for "
                "the embedded Valkey",
                code="redis_unreachable",
            ) from None
        finally:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()
        yield settings
        return
    from agent.services.valkey import EmbeddedValkey, ValkeyError  # 2.5 MB that only this needs

    valkey = EmbeddedValkey(settings.data)
    try:
        await asyncio.to_thread(valkey.start)
    except ValkeyError as exc:
        raise StartError(str(exc), code="valkey") from None
    except OSError as exc:
        raise _no_data(exc) from None
    logger.info("using the embedded Valkey under %s; set REDIS_URL for one of your own", settings.data)
    try:
        yield Settings(**{**dict(settings), "redis_url": valkey.url})
    finally:
        await asyncio.to_thread(valkey.stop)


def _bundles(settings: Settings) -> Bundles:
    try:
        bundles = Bundles(settings)
        bundles.compile()
    except NoBundleError as exc:
        raise StartError(str(exc), code="no_bundle", is_wrong_use=True, report=exc.report) from None
    except OSError as exc:
        raise _no_data(exc) from None
    return bundles


def _no_data(exc: OSError) -> StartError:
    return StartError(f"{exc.filename}: {exc.strerror}; set AGENT_DATA to a writable folder", code="data")


async def _modules(trial: Trial) -> None:
    try:
        problems = await asyncio.to_thread(trial.problems, START_SECONDS)
    finally:
        trial.close()
    if problems:
        raise StartError("; ".join(problems), code="module", is_wrong_use=True)
    if trial.unfinished is not None:
        logger.warning(
            "module '%s' of AGENT_MODULES is not imported after %g s; no call begins before it is",
            trial.unfinished,
            START_SECONDS,
        )


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Engine]:
    url = settings.database()
    try:
        if settings.database_is_embedded:
            migrations.upgrade(url)
            logger.info("using SQLite under %s; set DATABASE_URL for PostgreSQL", settings.data)
        elif problem := migrations.check(url).problem:
            raise StartError(problem, code="database_schema")
        engine = open_engine(url)
    except DatabaseTroubleError as exc:
        raise StartError(str(exc), code="database") from None
    try:
        yield engine
    finally:
        engine.dispose()


async def _livekit(settings: Settings) -> None:
    """Ask LiveKit one small question, so that a wrong address or key is said at once and clearly."""
    url, key, secret = settings.require_livekit()
    if not url.startswith(("ws://", "wss://", "http://", "https://")):
        raise StartError(
            "LIVEKIT_URL must begin with ws://, wss://, http:// or https://",
            code="livekit_url",
            is_wrong_use=True,
        )
    try:
        async for tried in AsyncRetrying(
            stop=stop_after_delay(LIVEKIT_SECONDS),
            wait=wait_exponential(multiplier=0.2, max=2.0),
            retry=retry_if_exception_type((aiohttp.ClientError, OSError, TimeoutError)),
        ):
            with tried:
                async with api.LiveKitAPI(url, key, secret) as lkapi:
                    await lkapi.room.list_rooms(api.ListRoomsRequest(names=["-"]))
    except RetryError:
        raise StartError(
            f"no LiveKit server answers at {url}; check LIVEKIT_URL, or run `agent dev`, which has its own",
            code="livekit_unreachable",
        ) from None
    except api.TwirpError as exc:
        if room.is_wrong_key(exc):
            raise StartError(
                f"the LiveKit server at {url} does not accept the key; check LIVEKIT_API_KEY and "
                "LIVEKIT_API_SECRET",
                code="livekit_key",
                is_wrong_use=True,
            ) from None
        raise StartError(f"LiveKit at {url} answers with {exc.code}", code="livekit") from None
    except SettingsError as exc:
        raise StartError(str(exc), code="settings", is_wrong_use=True) from None
