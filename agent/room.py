"""What is done to a LiveKit room from outside: closing it, removing a dead agent, dispatching again."""

import asyncio
import logging
import time
from typing import Final

import aiohttp
from livekit import api

CLOSE_SECONDS = 5.0
"""Longest wait in seconds for LiveKit to delete a room; an end must not hang on it."""

ALONE_SECONDS = 10.0
"""How old a room is, in seconds, when an agent that was asked for should have come."""
MOST_ROOMS = 50
"""How many rooms are looked into."""
TROUBLE: Final = (api.TwirpError, aiohttp.ClientError, OSError)
"""What asking LiveKit raises when it refuses, is away, or hangs up without an answer."""
USER_KINDS: Final = frozenset({api.ParticipantInfo.Kind.STANDARD, api.ParticipantInfo.Kind.SIP})

logger = logging.getLogger(__name__)


def is_wrong_key(exc: api.TwirpError) -> bool:
    """Whether LiveKit refused the key; it says so in plain text, which reads as an unknown error."""
    return exc.status in (401, 403) or exc.code in ("unauthenticated", "permission_denied")


async def close_room(lkapi: api.LiveKitAPI, name: str) -> None:
    """Delete the room; everybody in it is disconnected. A room that is gone already is fine."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await lkapi.room.delete_room(api.DeleteRoomRequest(room=name))
    except (TimeoutError, aiohttp.ClientError) as exc:
        logger.warning("the room could not be deleted: %s; it closes by its own timeout", type(exc).__name__)
    except api.TwirpError as exc:
        if exc.code != "not_found":
            logger.warning("the room could not be deleted: %s", exc.code)


async def exists(lkapi: api.LiveKitAPI, name: str) -> bool:
    """Whether there is such a room now. Raises one of `TROUBLE`."""
    return bool((await lkapi.room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms)


async def remove_participant(lkapi: api.LiveKitAPI, room: str, identity: str) -> None:
    """Remove a participant; LiveKit itself notices a dead one only after about 20 s."""
    try:
        await lkapi.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))
    except api.TwirpError as exc:
        if exc.code != "not_found":
            logger.warning("a participant could not be removed: %s", exc.code)
    except (TimeoutError, aiohttp.ClientError) as exc:
        logger.warning("a participant could not be removed: %s", type(exc).__name__)


async def people_in(lkapi: api.LiveKitAPI, room: str) -> list[str]:
    """
    Identities of the standard and SIP participants in the room; empty when there is no room.

    Raises one of `TROUBLE`.
    """
    return [p.identity for p in await _participants(lkapi, room) if p.kind in USER_KINDS]


async def agents_in(lkapi: api.LiveKitAPI, room: str) -> list[str]:
    """Identities of the agents in the room; empty when there is no room. Raises as `people_in`."""
    there = await _participants(lkapi, room)
    return [p.identity for p in there if p.kind == api.ParticipantInfo.Kind.AGENT]


async def _participants(lkapi: api.LiveKitAPI, room: str) -> list[api.ParticipantInfo]:
    try:
        found = await lkapi.room.list_participants(api.ListParticipantsRequest(room=room))
    except api.TwirpError as exc:
        if exc.code == "not_found":
            return []
        raise
    return list(found.participants)


async def without_agent(lkapi: api.LiveKitAPI) -> list[str]:
    """
    Names of rooms in which people sit and no agent comes any more, as far as a look at some of them tells.

    A token that brings its agent along does nothing in a room that was there before, without a word to
    anybody. Raises one of `TROUBLE`.
    """
    rooms = (await lkapi.room.list_rooms(api.ListRoomsRequest())).rooms
    before = time.time() - ALONE_SECONDS
    # a room's own count of participants comes seconds late, so it is not asked for
    old = [one.name for one in rooms if one.creation_time <= before][:MOST_ROOMS]
    found = await asyncio.gather(
        *(lkapi.room.list_participants(api.ListParticipantsRequest(room=name)) for name in old),
        return_exceptions=True,  # a room may be gone meanwhile
    )
    kinds = [
        {participant.kind for participant in one.participants}
        if not isinstance(one, BaseException)
        else set()
        for one in found
    ]
    return [
        name
        for name, there in zip(old, kinds, strict=True)
        if there & USER_KINDS and api.ParticipantInfo.Kind.AGENT not in there
    ]


async def sip_attributes(lkapi: api.LiveKitAPI, room: str) -> dict[str, str]:
    """The attributes of the telephone call in the room; empty when there is none. Raises one of `TROUBLE`."""
    found = await lkapi.room.list_participants(api.ListParticipantsRequest(room=room))
    callers = [p for p in found.participants if p.kind == api.ParticipantInfo.Kind.SIP]
    return dict(callers[0].attributes) if callers else {}


async def dispatch(lkapi: api.LiveKitAPI, room: str, agent_name: str, metadata: str) -> None:
    """
    Ask LiveKit for an agent in this room; it answers OK also when no worker takes the job.

    Raises one of `TROUBLE`.
    """
    await lkapi.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=agent_name, room=room, metadata=metadata)
    )
