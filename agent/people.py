"""Who is in the room, who of them is the user, and whether the user is there."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from livekit import rtc

USER_KINDS: Final = (rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD, rtc.ParticipantKind.PARTICIPANT_KIND_SIP)
"""Kinds of participant that can be the user: not agents, egress or ingest."""


def agent_identity(job_id: str) -> str:
    """The participant that a job is: livekit's own default, said explicitly because recovery relies on it."""
    return f"agent-{job_id}"


def kind_name(participant: rtc.RemoteParticipant) -> str:
    """LiveKit's word for the kind of a participant, lower case: standard, sip, agent, egress, ingress …"""
    with contextlib.suppress(ValueError):
        return rtc.ParticipantKind.Name(participant.kind).removeprefix("PARTICIPANT_KIND_").lower()
    return "unknown"


@dataclass
class People:
    """
    The participants of a room, and which of them is the user.

    The user is the one whose identity is the dispatch's `user_id`, else the first standard or SIP one.
    Once known, the user stays the user; when gone, the next to join takes the place, with the same identity
    or a new one. An observer who was already there never does.
    """

    user_id: str | None
    on_present: Callable[[str], None]
    """Called with the identity when the user is there, each time anew."""
    on_absent: Callable[[str, str], None]
    """Called with the kind of participant and LiveKit's reason when the user is gone."""
    on_change: Callable[[str, str, str], None]
    """Called with identity, kind and `joined` or `left` for everybody."""
    user: str | None = None
    """Identity of the user; None: nobody yet."""
    present: bool = False
    known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once there is a user."""
    _observers: set[str] = field(default_factory=set)

    def watch(self, room: rtc.Room) -> None:
        """Begin with those who are there, and follow who comes and goes."""
        room.on("participant_connected", self.joined)
        room.on("participant_disconnected", self.left)
        for participant in self._by_rank(room):
            self.joined(participant)

    def _by_rank(self, room: rtc.Room) -> list[rtc.RemoteParticipant]:
        return sorted(room.remote_participants.values(), key=lambda p: p.identity != self.user_id)

    def joined(self, participant: rtc.RemoteParticipant) -> None:
        """Somebody is there."""
        identity = participant.identity
        self.on_change(identity, kind_name(participant), "joined")
        if participant.kind not in USER_KINDS:
            return
        if self._is_user(participant):
            self._observers.discard(identity)
            self.user = identity
            self.present = True
            self.known.set()
            self.on_present(identity)
        else:
            self._observers.add(identity)

    def _is_user(self, participant: rtc.RemoteParticipant) -> bool:
        identity = participant.identity
        if identity == self.user or self.user is None or (self.user_id and identity == self.user_id):
            return True
        if self.present:
            return False
        return identity not in self._observers

    def left(self, participant: rtc.RemoteParticipant) -> None:
        """Somebody is gone, for whatever reason: LiveKit's reason is a hint only, and may be missing."""
        identity = participant.identity
        self.on_change(identity, kind_name(participant), "left")
        self._observers.discard(identity)
        if identity == self.user and self.present:
            self.present = False
            reason = participant.disconnect_reason
            name = rtc.DisconnectReason.Name(reason) if reason is not None else "UNKNOWN_REASON"
            self.on_absent(kind_name(participant), name)
