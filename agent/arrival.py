"""
The user's arrival, known before the room tells of it.

LiveKit tells others of a participant without a track only some 2 s after the join (it gathers such news), and
of one with a microphone when that is published. That somebody receives the agent's voice is told at once
(livekit-server 1.13.5): then its list of the room is asked who it is.
"""

import asyncio
import logging

import aiohttp
from livekit import api, rtc
from livekit.protocol import models

from agent.people import People
from agent.room import USER_KINDS

AGAIN_SECONDS = 0.05
"""How long until the list is asked again for somebody who cannot hear yet."""
NEWS_SECONDS = 5.0
"""Longest the room takes to tell of a participant; one of whom it says nothing is gone again."""

logger = logging.getLogger(__name__)


class Arrival:
    """
    Looks who is there when the agent's voice gets its first listener.

    Args:
        room: The room, connected.
        people: Who is told.
        lkapi: LiveKit's API, asked until somebody can hear; an answer that does not come changes nothing.
    """

    def __init__(self, room: rtc.Room, people: People, lkapi: api.LiveKitAPI) -> None:
        self._room = room
        self._people = people
        self._api = lkapi
        self._looking: asyncio.Task[None] | None = None
        room.on("local_track_subscribed", self._on_listener)

    def stop(self) -> None:
        """Look no more."""
        self._room.off("local_track_subscribed", self._on_listener)
        if self._looking is not None:
            self._looking.cancel()

    def _on_listener(self, _track: rtc.Track) -> None:
        if not self._people.present and self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="arrival")

    async def _look(self) -> None:
        for identity in sorted(await self._ready(), key=lambda one: one != self._people.user_id):
            self._people.listed(identity)
        await asyncio.sleep(NEWS_SECONDS)
        self._people.unlist()

    async def _ready(self) -> list[str]:
        """
        Who can hear the agent by now: the voice is asked for a moment before it can be received, and what is
        said meanwhile is lost (a participant is ACTIVE once the transport of what it receives stands).
        """
        asked = api.ListParticipantsRequest(room=self._room.name)
        until = asyncio.get_running_loop().time() + NEWS_SECONDS
        while asyncio.get_running_loop().time() < until and not self._people.present:
            try:
                found = (await self._api.room.list_participants(asked)).participants
            except (api.TwirpError, aiohttp.ClientError, TimeoutError) as exc:
                logger.debug("who listens is not known yet: %s", type(exc).__name__)
                return []
            people = [p for p in found if p.kind in USER_KINDS and not p.permission.hidden]
            ready = [p.identity for p in people if p.state == models.ParticipantInfo.State.ACTIVE]
            if ready or not people:
                return ready
            await asyncio.sleep(AGAIN_SECONDS)
        return []
