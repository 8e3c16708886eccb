"""What the doctor looks at: each part on its own, none stopped by another one's trouble."""

import asyncio
import contextlib
import email.utils
import re
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from livekit import api
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from agent import confidential, library, room, stores, unreachable
from agent.cores import usable_cores
from agent.health import unwritable
from agent.importing import Trial
from agent.services.valkey import ValkeyError, connect_only
from agent.settings import SESSIONS_PER_CORE, Settings, SettingsError
from agent.transcripts import migrations
from agent.transcripts.database import DatabaseTroubleError, require_file
from config_store.python_names import python_names

LOOK_SECONDS = 3.0
"""Longest look at one part, but for those that import."""
IMPORT_SECONDS = 30.0
"""Longest time for importing modules and plugins: with livekit 2 s, some times that on a busy machine."""
MOST_SKEW_SECONDS = 30.0
"""Difference of two clocks from which on tokens may be taken for expired or not yet valid."""
_MISSING_KEY = re.compile(r"needs a key: set (\w+)")
"""What the check of a bundle says of a provider without its key."""
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


async def examine(settings: Settings, problem: str | None = None) -> list[Finding]:
    """
    Look at every part; takes a few seconds whatever is wrong, unless a module is slow to import.

    Args:
        settings: What to look at.
        problem: Which variables have values that cannot be used, as `settings.load_usable` tells it.
    """
    about = Finding("settings", problem is None, problem or "all values can be used")
    looks: list[tuple[str, Callable[[Settings], Awaitable[Finding]]]] = [
        ("library", _library),
        ("livekit", _livekit),
        ("clock", _clock),
        ("redis", _redis),
        ("database", _database),
        ("bundles", _bundles),
        ("keys", _keys),
        ("modules", _modules),
        ("cap", _cap),
        ("data", _data),
        ("port", _port),
    ]
    return [about, *await asyncio.gather(*(_look(part, look, settings) for part, look in looks))]


async def _look(part: str, look: Callable[[Settings], Awaitable[Finding]], settings: Settings) -> Finding:
    imports = look in (_modules, _bundles, _keys)  # options of a model are checked by its plugin
    seconds = LOOK_SECONDS + (IMPORT_SECONDS if imports else 0.0)
    try:
        async with asyncio.timeout(seconds):
            return await look(settings)
    except TimeoutError:
        cure = (
            "a module or plugin takes that long to import" if imports else "check its address and the network"
        )
        return Finding(part, False, f"no answer within {seconds:g} s", cure)


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
    if urlsplit(url).scheme not in ("ws", "wss", "http", "https") or not urlsplit(url).hostname:
        return Finding(
            "livekit", False, f"{url} is no address", "LIVEKIT_URL is like wss://host or ws://host:7880"
        )
    try:
        async with api.LiveKitAPI(url, key, secret) as lkapi:
            alone = await room.without_agent(lkapi)
    except api.TwirpError as exc:
        if room.is_wrong_key(exc):
            return Finding(
                "livekit", False, f"{url} does not accept the key",
                "check LIVEKIT_API_KEY and LIVEKIT_API_SECRET, and the clock below",
            )  # fmt: skip
        return Finding(
            "livekit", False, f"{url} answers, but not as LiveKit does ({exc.code})", "check LIVEKIT_URL"
        )
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return Finding(
            "livekit", False, f"{url}: {unreachable.reason(exc)}", "check LIVEKIT_URL; is the server up?"
        )
    if alone:
        names = ", ".join(repr(name) for name in alone[:3])
        return Finding(
            "livekit",
            True,
            f"{url}; people and no agent in {len(alone)} rooms ({names}): a token brings none into one that "
            "was there before; `agent session start` does",
        )
    return Finding("livekit", True, url)


async def _clock(settings: Settings) -> Finding:
    """Tokens carry times: LiveKit refuses those of a machine whose clock is wrong."""
    url = settings.livekit_url or ""
    address = re.sub(r"^ws(s?)://", r"http\1://", url)
    try:
        async with aiohttp.ClientSession() as http, http.get(address) as answer:
            told = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
        return Finding("clock", True, "not compared: LiveKit does not tell the time")
    ahead = time.time() - told
    if abs(ahead) > MOST_SKEW_SECONDS:
        how = "ahead of" if ahead > 0 else "behind"
        return Finding(
            "clock",
            False,
            f"this machine's clock is {abs(ahead):.0f} s {how} LiveKit's",
            "set the time (NTP)",
        )
    return Finding("clock", True, "agrees with LiveKit's")


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
        policy = await _eviction_policy(client)
    except (RedisError, OSError) as exc:
        cure = "check REDIS_URL, or unset it for the embedded Valkey"
        return Finding("redis", False, f"REDIS_URL: {unreachable.reason(exc)}", cure)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await client.aclose()
    if policy in LOSSY_POLICIES:
        return Finding(
            "redis", False, f"maxmemory-policy {policy} may drop live sessions", "set it to noeviction"
        )
    if not policy:
        return Finding(
            "redis", True, "answers; its maxmemory-policy could not be read, see that it is noeviction"
        )
    return Finding("redis", True, "answers")


async def _eviction_policy(client: Redis) -> str:
    """From INFO, as managed servers forbid CONFIG; empty where that is forbidden too, or does not say."""
    try:
        return str((await client.info("memory")).get("maxmemory_policy", ""))
    except ResponseError:
        return ""


async def _database(settings: Settings) -> Finding:
    if settings.database_is_embedded and not (settings.data / "agent.db").exists():
        return Finding("database", True, "none named: a worker makes an SQLite file")
    try:
        require_file(settings.database())
        problem = (await asyncio.to_thread(migrations.check, settings.database())).problem
    except DatabaseTroubleError as exc:
        return Finding("database", False, str(exc), "check DATABASE_URL")
    return Finding("database", problem is None, problem or "answers, its schema is up to date")


async def _bundles(settings: Settings) -> Finding:
    from agent.bundles import check_folder

    report = await asyncio.to_thread(check_folder, settings)
    wrong = len(report.quarantined)
    if report.folder_problem or not (wrong or report.usable):
        return Finding("bundles", False, f"none in {settings.bundles}", "set AGENT_BUNDLES to their folder")
    default = settings.default_bundle
    no_default = default is not None and default not in report.startable
    said = f"AGENT_DEFAULT_BUNDLE is '{default}', with which no session can start" if no_default else ""
    if wrong:
        what = f"{wrong} of {wrong + len(report.usable)} cannot be served"
        what += f", and {said}" if said else ""
        return Finding("bundles", False, what, "see `agent bundles check`")
    if said:
        return Finding("bundles", False, said, "name one of `agent bundles list` that is startable")
    return Finding("bundles", True, f"{len(report.usable)} in {settings.bundles}")


async def _modules(settings: Settings) -> Finding:
    found = await asyncio.to_thread(python_names, settings.modules)
    if missing := [module for module in settings.modules if module not in found]:
        return Finding(
            "modules", False, f"of AGENT_MODULES cannot be found: {', '.join(missing)}",
            "is their folder on PYTHONPATH?",
        )  # fmt: skip
    if not settings.modules:
        return Finding("modules", True, "AGENT_MODULES names none")
    trial = await asyncio.to_thread(Trial, settings.modules, "spawn")
    problems = await asyncio.to_thread(trial.problems, IMPORT_SECONDS)
    if trial.unfinished is not None:
        problems.append(f"module '{trial.unfinished}' is not imported after {IMPORT_SECONDS:g} s")
    if problems:
        return Finding(
            "modules", False, confidential.hidden("; ".join(problems), settings),
            "no worker starts with these modules",
        )  # fmt: skip
    return Finding("modules", True, f"all {len(found)} of AGENT_MODULES can be imported")


async def _keys(settings: Settings) -> Finding:
    """The keys of the models that bundles name, by their variables."""
    from agent.bundles import check_folder

    report = await asyncio.to_thread(check_folder, settings)
    wanted: dict[str, list[str]] = defaultdict(list)
    for name, text in report.quarantined.items():
        for variable in sorted(set(_MISSING_KEY.findall(text))):
            wanted[variable].append(name)
    if wanted:
        said = "; ".join(f"{variable} for {', '.join(names)}" for variable, names in sorted(wanted.items()))
        return Finding("keys", False, f"not set: {said}", "set them in the environment or in .env")
    return Finding("keys", True, "every bundle has the keys of its models")


async def _cap(settings: Settings) -> Finding:
    per_core = f"{SESSIONS_PER_CORE} for each core that it may use, {usable_cores()}"
    source = per_core if settings.max_sessions is None else "AGENT_MAX_SESSIONS"
    return Finding("cap", True, f"{settings.session_cap} sessions at once ({source})")


async def _data(settings: Settings) -> Finding:
    if problem := await asyncio.to_thread(unwritable, settings.data):
        return Finding("data", False, problem, "set AGENT_DATA to a writable folder")
    return Finding("data", True, f"{settings.data} is writable")


async def _port(settings: Settings) -> Finding:
    port = settings.http_port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as exc:
            if await _is_worker(port):
                return Finding("port", True, f"{port}: a worker runs and answers there")
            return Finding(
                "port", False, f"{port}: {exc.strerror}", "stop what listens there, or set AGENT_HTTP_PORT"
            )
    return Finding("port", True, f"{port} is free")


async def _is_worker(port: int) -> bool:
    try:
        patience = aiohttp.ClientTimeout(total=LOOK_SECONDS / 3)
        address = f"http://127.0.0.1:{port}/livez"
        async with aiohttp.ClientSession(timeout=patience) as http, http.get(address) as answer:
            return await answer.text() == "ok\n"
    except (aiohttp.ClientError, OSError):
        return False
