"""Starting a session from outside: the override, the room with the agent in it, a token for the user."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
from livekit import api
from redis.exceptions import RedisError

from agent import occupancy, room, stores, unreachable
from agent.ending import CONFIG_REFUSED
from agent.occupancy import Occupancy
from agent.overriding import UnusableOverrideError, add_to_override
from agent.settings import Settings, environment
from config_store.compiled import CompiledBundles
from config_store.dispatch import DispatchError, parse_dispatch
from config_store.personas import MODALITY_PARTS
from config_store.state import SessionState, has_ended, state_key
from config_store.stored import Stored

DEPARTURE_MARGIN_SECONDS = 5
"""By how much the room outlives the rejoin grace."""
CAME_SECONDS = 5.0
"""How long a worker has to take the session; after that it is asked for once more."""
READY_SECONDS = 15.0
"""How long a session that was taken has to be configured, counted from when it was asked for."""
LOOK_SECONDS = 0.02
TOKEN_HOURS = 6
SOURCES = {
    "audio": ("microphone",),
    "camera": ("camera",),
    "screenshare": ("screen_share", "screen_share_audio"),
}
"""What each part of a modality profile lets a client publish, in LiveKit's names of track sources."""


class NotStartedError(Exception):
    """The session did not start; one line with the cause and the next step."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.is_wrong_use = code in ("usage", "session_ended", "session_elsewhere", CONFIG_REFUSED)


@dataclass(frozen=True)
class Wanted:
    """A session as somebody wants it."""

    session_id: str | None = None
    """None: one is made up."""
    bundle: str | None = None
    room: str | None = None
    """None: the session's id."""
    user_id: str | None = None
    organization: str | None = None
    preset: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """A session that waits for its user."""

    session_id: str
    room: str
    url: str
    token: str

    def as_dict(self) -> dict[str, str]:
        """As `agent session start --json` prints it."""
        return {"session_id": self.session_id, "room": self.room, "url": self.url, "token": self.token}


async def start_session(settings: Settings, wanted: Wanted) -> Started:
    """
    Add to the override, create the room with the agent in it, wait until the agent came, make the token.

    Calling again with the same session id makes no second agent: the room exists, and the claim holds. A room
    that was made before by somebody else gets the agent by a dispatch, and keeps its own timeouts.

    Raises:
        NotStartedError: No worker could read what is wanted (`code` is `usage`), LiveKit or Redis failed, no
            worker took it, or the session ended before or is in another room.
    """
    url, key, secret = settings.require_livekit()
    session_id = wanted.session_id or f"s-{secrets.token_hex(8)}"
    name = wanted.room or session_id
    metadata = _metadata(session_id, wanted)
    try:
        parse_dispatch(metadata)
    except DispatchError as exc:
        raise NotStartedError(str(exc), code="usage") from None
    client = stores.open_redis(settings.require_redis(), 3.0)
    try:
        state = SessionState(client, state_key(session_id, name))
        found = await state.read()
        _refuse_elsewhere(found, name)
        if wanted.overrides and not found:  # what a live session is was settled when it began
            await add_to_override(client, session_id, wanted.overrides)
        async with api.LiveKitAPI(url, key, secret) as lkapi:
            existed = await room.exists(lkapi, name)
            await lkapi.room.create_room(_room_request(settings, name, metadata, wanted))
            found = await state.read()
            if existed and not found:  # a room that is there takes no agents from a request to make it
                await room.dispatch(lkapi, name, settings.name, metadata)
            found = await _came(state)
            if not found:
                await room.dispatch(lkapi, name, settings.name, metadata)
                found = await _came(state)
            if found.get("phase") in (None, "claimed"):
                if not existed:
                    await room.close_room(lkapi, name)
                raise _not_taken(settings, found, await occupancy.of_workers(client, settings.name))
        _refuse_ended(found)
    except (aiohttp.ClientError, TimeoutError) as exc:  # errors of the system too; Redis has times of its own
        raise NotStartedError(
            f"LiveKit does not answer at {url} ({type(exc).__name__}); check LIVEKIT_URL", code="livekit"
        ) from None
    except UnusableOverrideError as exc:
        raise NotStartedError(str(exc), code="usage") from None
    except (RedisError, OSError) as exc:
        raise NotStartedError(unreachable.of_redis(exc), code="redis") from None
    except api.TwirpError as exc:
        raise NotStartedError(f"LiveKit refused: {exc.code}", code="livekit") from None
    finally:
        await client.aclose()
    identity = wanted.user_id or f"user-{session_id}"
    again = api.RoomAgentDispatch(agent_name=settings.name, metadata=json.dumps({"session_id": session_id}))
    return Started(session_id, name, url, _token(key, secret, name, identity, again, found))


def _room_request(settings: Settings, name: str, metadata: str, wanted: Wanted) -> api.CreateRoomRequest:
    join, grace = _patience(settings, wanted)
    return api.CreateRoomRequest(
        name=name,
        empty_timeout=int(join) + DEPARTURE_MARGIN_SECONDS,
        departure_timeout=int(grace) + DEPARTURE_MARGIN_SECONDS,
        agents=[api.RoomAgentDispatch(agent_name=settings.name, metadata=metadata)],
    )


def _patience(settings: Settings, wanted: Wanted) -> tuple[float, float]:
    """
    How long the session waits for its user, and for a user who left, in seconds: the room must outlive both.

    The bundle says it where the worker's compiled bundles are on this machine; elsewhere the room lives for
    the longest of the usual times, and the session itself ends it sooner.
    """
    found: dict[str, Any] = {}
    if wanted.bundle is not None and (bundle := CompiledBundles(settings.compiled).get(wanted.bundle)):
        found = dict(bundle.document)
    found |= wanted.overrides
    times = []
    for name, usual in (("join_timeout_seconds", 300.0), ("rejoin_grace_seconds", 60.0)):
        value = found.get(name, usual)
        times.append(float(value) if isinstance(value, int | float) and 0 <= value <= 86_400 else usual)
    return times[0], times[1]


def _metadata(session_id: str, wanted: Wanted) -> str:
    given = {
        "session_id": session_id,
        "bundle": wanted.bundle,
        "user_id": wanted.user_id,
        "organization": wanted.organization,
        "preset": wanted.preset,
        "variables": dict(wanted.variables),
        "metadata": dict(wanted.metadata),
    }
    return json.dumps({name: value for name, value in given.items() if value})


async def _came(state: SessionState) -> dict[str, str]:
    """The session's state once a job has claimed and configured it, else as it is after the bounds."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    while True:
        found = await state.read()
        phase = found.get("phase")
        if phase not in (None, "claimed"):
            return found
        if loop.time() >= asked_at + (READY_SECONDS if phase else CAME_SECONDS):
            return found
        await asyncio.sleep(LOOK_SECONDS)


def _not_taken(settings: Settings, found: dict[str, str], workers: list[Occupancy]) -> NotStartedError:
    if found:
        return NotStartedError(
            f"a worker took the session and was not ready for it within {READY_SECONDS:g} s; see its log",
            code="not_ready",
        )
    code, why = occupancy.why_nobody(workers, settings.name)
    return NotStartedError(why, code=code)


def _refuse_elsewhere(found: dict[str, str], name: str) -> None:
    """A session is in one room; in another one its user would wait for an agent that never comes."""
    there = found.get("room")
    if there and there != name and not has_ended(found.get("phase")):
        raise NotStartedError(
            f"the session is in room {there!r}; start it with that room, or use another session id",
            code="session_elsewhere",
        )


def _refuse_ended(found: dict[str, str]) -> None:
    if not has_ended(found.get("phase")):
        return
    reason, detail = found.get("end_reason", ""), found.get("end_detail", "")
    if reason == CONFIG_REFUSED:
        raise NotStartedError(f"the session was refused: {detail}", code=CONFIG_REFUSED)
    raise NotStartedError(f"the session has ended ({reason}); use another session id", code="session_ended")


def publishable(modality: str) -> list[str]:
    """LiveKit's names of what a client may publish under a modality profile; text needs none of them."""
    return [
        source for part, sources in SOURCES.items() if part in MODALITY_PARTS[modality] for source in sources
    ]


def _token(
    key: str, secret: str, room_name: str, identity: str, again: api.RoomAgentDispatch, found: dict[str, str]
) -> str:
    """
    The user's token.

    `again` counts only where the room is gone and the join makes it anew: an agent comes then, and says that
    the session is over, where the user would sit alone. Into a room that is there it dispatches nothing.
    """
    stored = found.get("config")
    # not configured yet: whatever any profile takes
    modality = "audio_camera_screenshare"
    if stored:
        modality = Stored.from_json(stored).value("modality_profile", environment())
    sources = publishable(modality)
    return (
        api.AccessToken(key, secret)
        .with_identity(identity)
        .with_ttl(timedelta(hours=TOKEN_HOURS))
        .with_room_config(api.RoomConfiguration(agents=[again]))
        .with_grants(
            api.VideoGrants(
                room_join=True,
                room=room_name,
                can_publish=bool(sources),
                can_publish_sources=sources,
                can_publish_data=True,
                can_update_own_metadata=False,
            )
        )
        .to_jwt()
    )
