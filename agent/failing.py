"""A provider that fails for good: the user is told with words that need no provider, and the call ends."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession, CloseEvent, ErrorEvent

from agent.ending import PROVIDER_ERROR, Ending
from agent.people import People
from agent.providers.last_resort import last_sentence, last_words
from config_store.schema import SessionConfig

LAST_WORDS_SECONDS = 8.0
"""Longest time in seconds for telling the user that a provider failed for good."""

logger = logging.getLogger(__name__)


class Failing:
    """
    Follows the errors of one session.

    Args:
        session: livekit's session.
        config: Tells the session's config at present.
        people: Whether anybody hears last words.
        ending: Where the session's end is asked for.
    """

    def __init__(
        self,
        session: AgentSession[Any],
        *,
        config: Callable[[], SessionConfig],
        people: People,
        ending: Ending,
    ) -> None:
        self._session = session
        self._config = config
        self._people = people
        self._ending = ending
        self._telling: asyncio.Task[None] | None = None
        session.on("error", self._on_error)
        session.on("close", self._on_close)

    def stop(self) -> None:
        """The session ends: say no last words any more."""
        if self._telling is not None:
            self._telling.cancel()

    def _on_error(self, event: ErrorEvent) -> None:
        is_recoverable = getattr(event.error, "recoverable", False)
        if not is_recoverable and self._telling is None and self._ending.asked is None:
            cause = str(getattr(event.error, "type", PROVIDER_ERROR))
            self._telling = asyncio.create_task(self._last_resort(cause), name="last resort")

    async def _last_resort(self, cause: str) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                if self._people.present:
                    await self._session.interrupt(force=True)
                    config = self._config()
                    words = self._session.say(last_sentence(config), audio=last_words(config))
                    await asyncio.shield(words.wait_for_playout())
        except (TimeoutError, RuntimeError) as exc:
            logger.warning("the last words were not heard: %s", type(exc).__name__)
        self._ending.ask(PROVIDER_ERROR, cause)

    def _on_close(self, event: CloseEvent) -> None:
        if event.error is not None:
            self._ending.ask(PROVIDER_ERROR, type(getattr(event.error, "error", event.error)).__name__)
