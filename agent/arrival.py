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

from agent.people import People
from agent.room import USER_KINDS

NEWS_SECONDS = 5.0
"""Longest the room takes to tell of a participant; one of whom it says nothing is gone again."""

logger = logging.getLogger(__name__)


class Arrival:
    """
    Looks who is there when the agent's voice gets its first listener.

    Args:
        room: The room, connected.
        people: Who is told.
        lkapi: LiveKit's API, asked once; an answer that does not come changes nothing.
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
        try:
            asked = api.ListParticipantsRequest(room=self._room.name)
            found = (await self._api.room.list_participants(asked)).participants
        except (api.TwirpError, aiohttp.ClientError, TimeoutError) as exc:
            logger.debug("who listens is not known yet: %s", type(exc).__name__)
            return
        there = [p.identity for p in found if p.kind in USER_KINDS and not p.permission.hidden]
        for identity in sorted(there, key=lambda one: one != self._people.user_id):
            self._people.listed(identity)
        await asyncio.sleep(NEWS_SECONDS)
        self._people.unlist()
