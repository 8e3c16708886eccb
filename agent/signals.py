"""What the client is told: session events as text streams, and the present state as attributes."""

import asyncio
import contextlib
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal

from livekit import rtc

TOPIC: Final = "session.events"
"""Topic of the text streams, one JSON object each."""

SESSION_ID: Final = "session.id"
"""The agent's attribute that names its session."""

EVENTS_OF_AN_ATTEMPT: Final = 10_000
"""Numbers that each attempt has for its events, so that `seq` grows when another process goes on."""

SEND_SECONDS: Final = 2.0
"""Longest wait in seconds for the last events to be sent, and again for them to arrive."""
UNDER_WAY_SECONDS: Final = 1.3
"""
What was sent is under way for a moment, and nobody says when it has come. A packet that is lost on the way is
sent again after a second (SCTP's shortest timeout), while the news of a deleted room goes another way.
"""
UNDER_WAY_FACTOR: Final = 4
"""On a busy machine it is under way for longer: so many times what sending took."""

SHOWN_SECONDS = 1.0
"""Wait in seconds for attributes to be shown, until they are set once more."""

State = Literal["starting", "live", "user_away", "ending"]

logger = logging.getLogger(__name__)


def timestamp(moment: datetime | None = None) -> str:
    """ISO 8601 in UTC with milliseconds, as in every format of ours."""
    return (moment or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Signals:
    """
    Events to the user, in order, and the agent's attributes for those who join late.

    Events go to the user alone and only while the user is there. Sending never blocks the session: one task
    sends the events and drops what cannot be sent; another shows the attributes until the server has them.
    Events take the data channel and attributes the signalling connection. When that is held up, or the SDK
    misses the answer, as it does on a busy machine, `set_attributes` waits 5 s and reports nothing
    (livekit 1.1.21): no event may wait for it, and no later state.

    Args:
        room: The room, connected.
        session_id: The session.
        attempt: Which process of the session this is, from 1.
    """

    def __init__(self, room: rtc.Room, session_id: str, attempt: int = 1) -> None:
        self._room = room
        self._session_id = session_id
        self._sequence = (attempt - 1) * EVENTS_OF_AN_ATTEMPT
        self._user: str | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self._attributes: dict[str, str] = {SESSION_ID: session_id}
        self._changed = asyncio.Event()
        self._setting: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._tasks = [
            asyncio.create_task(self._send(), name="session events"),
            asyncio.create_task(self._show(), name="attributes"),
        ]

    def user_is(self, identity: str | None) -> None:
        """Events go to this participant from now on; None: nobody is there."""
        self._user = identity
        if identity is None:
            self._gone.set()
        else:
            self._gone.clear()

    def event(self, type: str, **fields: Any) -> None:  # noqa: A002
        """Tell the user; dropped when nobody is there."""
        if self._user is None:
            return
        self._sequence += 1
        event = {
            "type": type, "session_id": self._session_id, "seq": self._sequence, "at": timestamp(), **fields,
        }  # fmt: skip
        self._events.put_nowait((self._user, event))

    def attributes(
        self, *, state: State | None = None, agent: str | None = None, panels: list[str] | None = None
    ) -> None:
        """Change the agent's attributes; None leaves one as it is."""
        if state is not None:
            self._attributes["session.state"] = state
        if agent is not None:
            self._attributes["session.agent"] = agent
        if panels is not None:
            self._attributes["session.panels"] = json.dumps(panels)
        self._changed.set()

    async def deliver(self) -> None:
        """
        Wait until all events are sent and had time to arrive: a room that is deleted drops them. There is
        nothing to wait for without a user, and once the user or the room is gone.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._events.join()
        except TimeoutError:
            logger.warning("session events were still unsent when the session ended")
        under_way = UNDER_WAY_FACTOR * (time.monotonic() - began)
        if not self._room.isconnected():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(UNDER_WAY_SECONDS, under_way), SEND_SECONDS)):
                await self._gone.wait()

    async def close(self) -> None:
        """Send nothing more."""
        tasks = [*self._tasks, *self._setting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            identity, event = await self._events.get()
            try:
                if self._room.isconnected():
                    async with asyncio.timeout(SEND_SECONDS):  # one that is stuck keeps no later one back
                        await self._room.local_participant.send_text(
                            json.dumps(event, ensure_ascii=False),
                            topic=TOPIC,
                            destination_identities=[identity],
                        )
            except TimeoutError:
                logger.warning("a session event was not taken within %g s and is dropped", SEND_SECONDS)
            except Exception as exc:  # noqa: BLE001 - a client that cannot be reached must not end the session
                logger.debug("a session event could not be sent: %s", type(exc).__name__)
            finally:
                self._events.task_done()

    async def _show(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._room.isconnected() and not self._shown():
                setting = asyncio.create_task(self._set(dict(self._attributes)), name="attributes are set")
                self._setting.add(setting)
                setting.add_done_callback(self._setting.discard)
                # a newer state does not wait for the answer about an older one, which may never come
                if await self._is_changed_while(setting):
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SHOWN_SECONDS):
                        await self._changed.wait()
                        self._changed.clear()

    async def _is_changed_while(self, setting: asyncio.Task[None]) -> bool:
        """Wait for the end of this task or for a change, which comes first; whether it was a change."""
        change = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait((setting, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        if not self._changed.is_set():
            return False
        self._changed.clear()
        return True

    async def _set(self, attributes: dict[str, str]) -> None:
        try:
            await self._room.local_participant.set_attributes(attributes)
        except Exception as exc:  # noqa: BLE001 - as for events
            logger.debug("the attributes could not be set: %s", type(exc).__name__)

    def _shown(self) -> bool:
        """Whether the server has them."""
        shown = self._room.local_participant.attributes
        return all(shown.get(name) == value for name, value in self._attributes.items())
