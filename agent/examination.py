"""What the doctor looks at: each part on its own, none stopped by another one's trouble."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from livekit import api
from redis.exceptions import RedisError

from agent import library, room, stores
from agent.services.valkey import ValkeyError, connect_only
from agent.settings import Settings, SettingsError
from agent.transcripts import migrations
from agent.transcripts.database import DatabaseTroubleError

LOOK_SECONDS = 3.0
"""Longest look at one part."""
LOSSY_POLICIES = ("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu",
                  "volatile-random", "volatile-ttl")  # fmt: skip
"""Eviction policies under which Redis may throw away a live session's state."""


@dataclass(frozen=True)
class Finding:
    """What was found of one part."""

    part: str
    ok: bool
    what: str
    cure: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Look at every part; takes at most a few seconds, whatever is wrong."""
    looks: list[tuple[str, Callable[[Settings], Awaitable[Finding]]]] = [
        ("library", _library),
        ("livekit", _livekit),
        ("redis", _redis),
        ("database", _database),
        ("bundles", _bundles),
        ("data", _data),
        ("port", _port),
    ]
    return list(await asyncio.gather(*(_look(part, look, settings) for part, look in looks)))


async def _look(part: str, look: Callable[[Settings], Awaitable[Finding]], settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await look(settings)
    except TimeoutError:
        return Finding(
            part, False, f"no answer within {LOOK_SECONDS:g} s", "check its address and the network"
        )


async def _library(_: Settings) -> Finding:
    missing = library.missing_parts()
    if missing:
        return Finding(
            "library", False, f"livekit-agents lacks {', '.join(missing)}", "install the pinned version"
        )
    return Finding("library", True, "livekit-agents has all that is used of it")


async def _livekit(settings: Settings) -> Finding:
    try:
        url, key, secret = settings.require_livekit()
    except SettingsError as exc:
        return Finding("livekit", False, str(exc))
    try:
        async with api.LiveKitAPI(url, key, secret) as lkapi:
            await lkapi.room.list_rooms(api.ListRoomsRequest(names=["-"]))
    except api.TwirpError as exc:
        if room.is_wrong_key(exc):
            return Finding(
                "livekit", False, f"{url} does not accept the key", "check LIVEKIT_API_KEY and _SECRET"
            )
        return Finding("livekit", False, f"{url} answers with {exc.code}")
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return Finding(
            "livekit", False, f"{url}: {type(exc).__name__}", "check LIVEKIT_URL; is the server up?"
        )
    return Finding("livekit", True, url)


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        try:
            url = connect_only(settings.data)
        except ValkeyError:
            return Finding("redis", True, "none named: a worker starts the embedded Valkey")
    else:
        url = settings.redis_url.get_secret_value()
    client = stores.open_redis(url, LOOK_SECONDS)
    try:
        await client.ping()
        policy = stores.text((await client.config_get("maxmemory-policy")).get("maxmemory-policy", ""))
    except (RedisError, OSError) as exc:
        return Finding("redis", False, f"REDIS_URL: {type(exc).__name__}", "check the address, or unset it")
    finally:
        with contextlib.suppress(RedisError, OSError):
            await client.aclose()
    if policy in LOSSY_POLICIES:
        return Finding(
            "redis", False, f"maxmemory-policy {policy} may drop live sessions", "set it to noeviction"
        )
    return Finding("redis", True, "answers")


async def _database(settings: Settings) -> Finding:
    if settings.database_is_embedded and not (settings.data / "agent.db").exists():
        return Finding("database", True, "none named: a worker makes an SQLite file")
    try:
        problem = (await asyncio.to_thread(migrations.check, settings.database())).problem
    except DatabaseTroubleError as exc:
        return Finding("database", False, str(exc), "check DATABASE_URL")
    return Finding("database", problem is None, problem or "answers, its schema is up to date")


async def _bundles(settings: Settings) -> Finding:
    from agent.bundles import check_folder

    problems, names = await asyncio.to_thread(check_folder, settings)
    if problems:
        return Finding("bundles", False, f"{problems} of them are wrong", "see `agent bundles check`")
    if not names:
        return Finding("bundles", False, f"none in {settings.bundles}", "set AGENT_BUNDLES to their folder")
    return Finding("bundles", True, f"{len(names)} in {settings.bundles}")


async def _data(settings: Settings) -> Finding:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        probe = settings.data / ".doctor"
        probe.write_text("")
        probe.unlink()
    except OSError as exc:
        return Finding(
            "data", False, f"{settings.data}: {exc.strerror}", "set AGENT_DATA to a writable folder"
        )
    return Finding("data", True, f"{settings.data} is writable")


async def _port(settings: Settings) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", settings.http_port))
        except OSError as exc:
            return Finding(
                "port", False, f"{settings.http_port}: {exc.strerror}",
                "stop what listens there (a worker?), or set AGENT_HTTP_PORT",
            )  # fmt: skip
    return Finding("port", True, f"{settings.http_port} is free")
