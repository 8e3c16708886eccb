"""Who is in the room, who of them is the user, and whether the user is there."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from livekit import rtc

USER_KINDS: Final = (rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD, rtc.ParticipantKind.PARTICIPANT_KIND_SIP)
"""Kinds of participant that can be the user: not agents, egress or ingest."""


UNKNOWN_REASON: Final = "UNKNOWN_REASON"
"""LiveKit's word where it tells no reason why somebody is gone."""


def agent_identity(job_id: str) -> str:
    """The participant that a job is: livekit's own default, said explicitly because recovery relies on it."""
    return f"agent-{job_id}"


@dataclass(frozen=True)
class Seen:
    """As much of a participant as a journal tells."""

    identity: str
    kind: int
    disconnect_reason: None = None


def kind_name(participant: rtc.RemoteParticipant | Seen) -> str:
    """LiveKit's word for the kind of a participant, lower case: standard, sip, agent, egress, ingress …"""
    with contextlib.suppress(ValueError):
        kind = rtc.ParticipantKind.ValueType(participant.kind)
        return rtc.ParticipantKind.Name(kind).removeprefix("PARTICIPANT_KIND_").lower()
    return "unknown"


@dataclass
class People:
    """
    The participants of a room, and which of them is the user.

    The user is the one whose identity is the dispatch's `user_id`, else the first standard or SIP one.
    Once known, the user stays the user; when gone, the next to join takes the place, with the same identity
    or a new one. An observer who was already there never does; one who left without a reason may not have
    left at all, since everybody seems to when our own connection is restarted.
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
    observers: set[str] = field(default_factory=set)
    """Identities of those who are or were there beside the user."""

    def watch(self, room: rtc.Room) -> None:
        """Begin with those who are there, and follow who comes and goes."""
        room.on("participant_connected", self.joined)
        room.on("participant_disconnected", self.left)
        for participant in self._by_rank(room):
            self.joined(participant)

    def _by_rank(self, room: rtc.Room) -> list[rtc.RemoteParticipant]:
        named = (self.user_id, self.user)
        return sorted(room.remote_participants.values(), key=lambda p: p.identity not in named)

    def joined(self, participant: rtc.RemoteParticipant | Seen) -> None:
        """Somebody is there."""
        identity = participant.identity
        self.on_change(identity, kind_name(participant), "joined")
        if participant.kind not in USER_KINDS:
            return
        if self._is_user(identity):
            self.observers.discard(identity)
            self.user = identity
            self.present = True
            self.known.set()
            self.on_present(identity)
        else:
            self.observers.add(identity)

    def _is_user(self, identity: str) -> bool:
        if identity == self.user or self.user is None or (self.user_id and identity == self.user_id):
            return True
        if self.present:
            return False
        return identity not in self.observers

    def left(self, participant: rtc.RemoteParticipant | Seen) -> None:
        """Somebody is gone, for whatever reason: LiveKit's reason is a hint only, and may be missing."""
        identity = participant.identity
        self.on_change(identity, kind_name(participant), "left")
        reason = participant.disconnect_reason
        name = rtc.DisconnectReason.Name(reason) if reason is not None else UNKNOWN_REASON
        if name != UNKNOWN_REASON:
            self.observers.discard(identity)
        if identity == self.user and self.present:
            self.present = False
            self.on_absent(kind_name(participant), name)


def people_of(entries: Iterable[Mapping[str, Any]], user_id: str | None) -> People:
    """
    Who the user was and who only looked on, by a journal; what a later process of a session begins with.

    Args:
        entries: The comings and goings in it, by time.
        user_id: The dispatch's.
    """
    people = People(user_id, lambda _: None, lambda *_: None, lambda *_: None)
    attempt: object = None
    for entry in entries:
        if entry.get("attempt") != attempt:
            attempt, people.present = entry.get("attempt"), False
        kind = f"PARTICIPANT_KIND_{entry.get('kind')}".upper()
        if kind in rtc.ParticipantKind.keys():  # noqa: SIM118 - an enum of protobuf, no dict
            seen = Seen(str(entry.get("identity")), rtc.ParticipantKind.Value(kind))
            (people.joined if entry.get("change") == "joined" else people.left)(seen)
    people.present = False
    return people
