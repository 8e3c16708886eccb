"""Texts on `lk.chat`: the user's are turns, everybody else's are nothing."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final

from livekit import rtc
from livekit.agents import AgentSession

from agent.people import People

TOPIC: Final = "lk.chat"
ARRIVAL_SECONDS = 5.0
"""How long a text waits to learn whether it is the user's: news of a silent participant takes 2 to 3 s."""
MOST_CHARACTERS = 4000
"""Longest text that counts as a turn; longer ones are dropped."""
MOST_PER_10_SECONDS = 10
"""Most texts within 10 s that count as turns."""

logger = logging.getLogger(__name__)


class Chat:
    """
    Takes what comes on `lk.chat`.

    livekit's own input drops a text that is quicker than the news of who joined, so the room is asked here.
    Texts that come close together are read at the same time, and the SDK finishes them in any order: each one
    waits for those that its writer sent before.

    Args:
        room: Where the texts come.
        people: Who the user is.
        session: livekit's session, which answers.
        wrote: Called with each text that is a turn, as soon as it is there; a tool at work can hold up its
            answer for seconds, and the process may end meanwhile.
    """

    def __init__(
        self, room: rtc.Room, people: People, session: AgentSession[Any], wrote: Callable[[str], None]
    ) -> None:
        self._people = people
        self._session = session
        self._wrote = wrote
        self._taken: list[float] = []
        self._reading: set[asyncio.Task[None]] = set()
        self._latest: dict[str, asyncio.Event] = {}  # by writer: set once the last text is dealt with
        self._answering = asyncio.Lock()
        room.register_text_stream_handler(TOPIC, self._on_text)

    def stop(self) -> None:
        """Drop what has not been read yet."""
        for task in self._reading:
            task.cancel()

    def _on_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        before, here = self._latest.get(identity), asyncio.Event()
        self._latest[identity] = here
        task = asyncio.create_task(self._take(reader, identity, before, here), name="chat")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _take(
        self, reader: rtc.TextStreamReader, identity: str, before: asyncio.Event | None, here: asyncio.Event
    ) -> None:
        """Make a turn of it when it comes from the user."""
        try:
            text = await self._read(reader)
            if before is not None:
                await before.wait()
            if not text or identity != self._people.user or not self._is_within_limits(text):
                return
            self._wrote(text)
        finally:
            here.set()
        async with self._answering:  # in the order in which they were written
            with contextlib.suppress(RuntimeError):  # nobody may interrupt: the text is answered afterwards
                await self._session.interrupt()
            self._session.generate_reply(user_input=text)

    async def _read(self, reader: rtc.TextStreamReader) -> str:
        """The text, once there is a user; empty when it does not come in time."""
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                text = (await reader.read_all()).strip()
                await self._people.known.wait()
        except (TimeoutError, rtc.StreamError):
            return ""
        return text

    def _is_within_limits(self, text: str) -> bool:
        now = asyncio.get_running_loop().time()
        self._taken = [at for at in self._taken if now - at < 10.0]
        if len(text) > MOST_CHARACTERS or len(self._taken) >= MOST_PER_10_SECONDS:
            logger.info("a chat text was dropped", extra={"characters": len(text)})
            return False
        self._taken.append(now)
        return True
