"""The one end of a session: many causes, one reason, first come first served."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from livekit import rtc

USER_LEFT: Final = "user_left"
USER_ENDED: Final = "user_ended"
IDLE: Final = "idle"
MAX_DURATION: Final = "max_duration"
NO_PARTICIPANT: Final = "no_participant"
AGENT_ENDED: Final = "agent_ended"
OPERATOR: Final = "operator"
ROOM_DELETED: Final = "room_deleted"
WORKER_DRAIN: Final = "worker_drain"
PROVIDER_ERROR: Final = "provider_error"
CONFIG_REFUSED: Final = "config_refused"
LIVEKIT_LOST: Final = "livekit_lost"
CRASHED: Final = "crashed"

REASONS: Final = frozenset(
    {
        USER_LEFT, USER_ENDED, IDLE, MAX_DURATION, NO_PARTICIPANT, AGENT_ENDED, OPERATOR, ROOM_DELETED,
        WORKER_DRAIN, PROVIDER_ERROR, CONFIG_REFUSED, LIVEKIT_LOST, CRASHED,
    }
)  # fmt: skip

SUPERSEDED: Final = "superseded"
"""No end of a session: another agent serves it, and this one leaves without a word and without a record."""

AGENT_REMOVED: Final = "participant_removed"
"""The detail of an end because this agent was removed from the room; LiveKit's own word."""

ROOM_WORD_SECONDS: Final = 0.5
"""How long after the library's word the room may still say why it was lost."""

RESTART_SECONDS: Final = 30.0
"""How long after a restart of the connection, in seconds, the end of this job is put down to it."""

GOODBYE_REASONS: Final = frozenset({IDLE, MAX_DURATION, USER_ENDED, AGENT_ENDED, OPERATOR, WORKER_DRAIN})
"""Ends at which somebody may still hear a goodbye; the agent's own end brings its own words."""

DISCONNECT_REASONS: Final = {
    # How this agent lost the room, by LiveKit's DisconnectReason.
    "ROOM_DELETED": ROOM_DELETED,
    "ROOM_CLOSED": ROOM_DELETED,
    "PARTICIPANT_REMOVED": OPERATOR,
    "SERVER_SHUTDOWN": LIVEKIT_LOST,
    "SIGNAL_CLOSE": LIVEKIT_LOST,
    "CONNECTION_TIMEOUT": LIVEKIT_LOST,
    "MEDIA_FAILURE": LIVEKIT_LOST,
    "JOIN_FAILURE": LIVEKIT_LOST,
    "DUPLICATE_IDENTITY": OPERATOR,
}


class ConnectionRestartedError(Exception):
    """
    LiveKit ends this job because its connection was restarted.

    The SDK joins anew when it cannot resume, and livekit-server (1.13.5) takes the participant that it
    replaces for the job's and ends the job. The talk is not over: another process goes on with it.
    """


@dataclass(frozen=True)
class End:
    """Why a session ended."""

    reason: str
    """One of REASONS."""
    detail: str = ""
    """What exactly, for people who operate; no words of the call."""


class Ending:
    """
    Where all causes of an end meet. The first one wins, later ones change nothing.

    Asking again is harmless, so a cause may be reported each time it is seen to hold.
    """

    def __init__(self) -> None:
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    def ask(self, reason: str, detail: str = "") -> bool:
        """End the session for this reason. False: another cause came first."""
        if self._end.done():
            return False
        self._end.set_result(End(reason, detail))
        return True

    def fail(self, error: Exception) -> None:
        """This process cannot go on, the session can: `wait` raises the error, unless an end came first."""
        if not self._end.done():
            self._end.set_exception(error)

    @property
    def asked(self) -> End | None:
        """The end that was asked for, None while the session goes on."""
        return self._end.result() if self._end.done() and self._end.exception() is None else None

    async def wait(self) -> End:
        """Wait until something ends the session."""
        return await asyncio.shield(self._end)


def room_end(reason: int) -> tuple[str, str]:
    """Why the room was lost, by LiveKit's DisconnectReason, in the words of our end reasons."""
    name = rtc.DisconnectReason.Name(rtc.DisconnectReason.ValueType(reason))
    return DISCONNECT_REASONS.get(name, LIVEKIT_LOST), name.lower()


def is_lost(room: rtc.Room) -> bool:
    """Whether LiveKit cannot be reached now: what seems to happen in the room meanwhile is its absence."""
    return room.connection_state == rtc.ConnectionState.CONN_RECONNECTING


class Restarts:
    """When the connection to a room was last restarted or resumed."""

    def __init__(self, room: rtc.Room) -> None:
        self._at = -RESTART_SECONDS
        room.on("reconnecting", self._note)
        room.on("reconnected", self._note)

    def _note(self) -> None:
        self._at = time.monotonic()

    def just_now(self) -> bool:
        """Whether that was in the last `RESTART_SECONDS`."""
        return time.monotonic() - self._at < RESTART_SECONDS


def library_end(ending: Ending, reason: str, restarted: Callable[[], bool]) -> None:
    """
    The library ends this job. What happened to the room says more, and may come a moment later.

    A deleted room, a deleted dispatch and a restarted connection look the same from here (livekit-server
    sends a job termination for all three), so the room's own word is waited for.
    """

    def judge() -> None:
        if restarted():
            ending.fail(ConnectionRestartedError(reason))
        else:
            ending.ask(OPERATOR, reason)

    if reason != "room disconnected":
        asyncio.get_running_loop().call_later(ROOM_WORD_SECONDS, judge)
