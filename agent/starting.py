"""Starting a session from outside: the override, the room with the agent in it, a token for the user."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from livekit import api
from redis.exceptions import RedisError

from agent import room, stores
from agent.settings import Settings
from config_store.overrides import RedisOverrides, override_key
from config_store.state import SessionState, state_key

DEPARTURE_MARGIN_SECONDS = 5
"""By how much the room outlives the rejoin grace."""
CAME_SECONDS = 5.0
"""How long a worker has to take the session; after that it is asked for once more."""
LOOK_SECONDS = 0.02
TOKEN_HOURS = 6


class NotStartedError(Exception):
    """The session did not start; one line with the cause and the next step."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


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
    join_seconds: float = 60.0
    grace_seconds: float = 15.0


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
    Write the override, create the room with the agent in it, wait until the agent came, make the token.

    Calling again with the same session id makes no second agent: the room exists, and the claim holds.

    Raises:
        NotStartedError: LiveKit or Redis failed, no worker took it, or the session ended before.
    """
    url, key, secret = settings.require_livekit()
    session_id = wanted.session_id or f"s-{secrets.token_hex(8)}"
    name = wanted.room or session_id
    assert settings.redis_url is not None
    client = stores.open_redis(settings.redis_url.get_secret_value(), 3.0)
    try:
        state = SessionState(client, state_key(session_id, name))
        if wanted.overrides:
            await RedisOverrides(client).write(override_key(session_id), wanted.overrides)
        async with api.LiveKitAPI(url, key, secret) as lkapi:
            metadata = _metadata(session_id, wanted)
            await lkapi.room.create_room(_room_request(settings, name, metadata, wanted))
            if not await _came(state):
                await room.dispatch(lkapi, name, settings.name, metadata)
                if not await _came(state):
                    raise NotStartedError(
                        "no worker took the session; check that a worker runs with this AGENT_NAME "
                        f"('{settings.name}') and is not full (`agent doctor`)",
                        code="no_worker",
                    )
        await _refuse_ended(state)
    except (RedisError, OSError) as exc:
        raise NotStartedError(f"Redis does not answer: {type(exc).__name__}", code="redis") from None
    except api.TwirpError as exc:
        raise NotStartedError(f"LiveKit refused: {exc.code}", code="livekit") from None
    finally:
        await client.aclose()
    return Started(session_id, name, url, _token(key, secret, name, wanted.user_id or f"user-{session_id}"))


def _room_request(settings: Settings, name: str, metadata: str, wanted: Wanted) -> api.CreateRoomRequest:
    return api.CreateRoomRequest(
        name=name,
        empty_timeout=int(wanted.join_seconds) + DEPARTURE_MARGIN_SECONDS,
        departure_timeout=int(wanted.grace_seconds) + DEPARTURE_MARGIN_SECONDS,
        agents=[api.RoomAgentDispatch(agent_name=settings.name, metadata=metadata)],
    )


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


async def _came(state: SessionState) -> bool:
    """Whether a job has claimed the session, within the bound."""
    loop = asyncio.get_running_loop()
    until = loop.time() + CAME_SECONDS
    while loop.time() < until:
        if await state.read():
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def _refuse_ended(state: SessionState) -> None:
    found = await state.read()
    if found.get("phase") == "ended":
        raise NotStartedError(
            f"the session has ended ({found.get('end_reason') or 'unknown'}); use another session id",
            code="session_ended",
        )


def _token(key: str, secret: str, room_name: str, identity: str) -> str:
    return (
        api.AccessToken(key, secret)
        .with_identity(identity)
        .with_ttl(timedelta(hours=TOKEN_HOURS))
        .with_grants(api.VideoGrants(room_join=True, room=room_name, can_update_own_metadata=False))
        .to_jwt()
    )
