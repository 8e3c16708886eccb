"""
Another agent of the same session in the room: of two, one leaves.

It can be only when Redis did not answer at a claim, so that this attempt does not know whether it is alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from livekit import rtc

from agent.signals import SESSION_ID

logger = logging.getLogger(__name__)


def yields(me: str, other: str, owner: str | None) -> bool:
    """
    Whether the agent `me` leaves when it sees `other`.

    Args:
        me: This agent's identity.
        other: The other agent's identity.
        owner: The identity that holds the claim, as far as Redis knows by now; None: nobody's, or no answer.
    """
    return other == owner or (me != owner and me > other)


class Twins:
    """
    Looks for another agent of this session for as long as the session lives.

    Args:
        room: The room, connected.
        session_id: The session.
        owner: Tells the identity that holds the claim by now; None: nobody's, or no answer.
        leave: Called when this agent is the one to leave.
    """

    def __init__(
        self,
        room: rtc.Room,
        session_id: str,
        *,
        owner: Callable[[], Awaitable[str | None]],
        leave: Callable[[], object],
    ) -> None:
        self._room = room
        self._session_id = session_id
        self._owner = owner
        self._leave = leave
        self._meetings: dict[str, asyncio.Task[None]] = {}
        room.on("participant_connected", self._see)
        room.on("participant_attributes_changed", lambda _changed, participant: self._see(participant))
        for participant in room.remote_participants.values():
            self._see(participant)

    def _see(self, participant: rtc.Participant) -> None:
        is_agent = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        if not is_agent or participant.attributes.get(SESSION_ID) != self._session_id:
            return
        known = {self._room.local_participant.identity, *self._meetings}
        if participant.identity not in known:
            meeting = asyncio.create_task(self._meet(participant.identity), name="twins")
            self._meetings[participant.identity] = meeting

    async def _meet(self, other: str) -> None:
        if yields(self._room.local_participant.identity, other, await self._owner()):
            logger.warning("another agent serves this session; this one leaves")
            self._leave()
