"""The parent's word to a job that the worker drains."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from livekit import rtc

from agent.ending import LIVEKIT_LOST, WORKER_DRAIN, Ending, is_lost

DRAIN_BEGAN: Final = signal.SIGUSR2
DRAIN_OVER: Final = signal.SIGURG
"""
Two signals, because two of one kind that come at once are one. Both may come again, and neither harms a
process that does not listen: SIGURG is ignored by itself, SIGUSR2 by `agent.preload`. SIGUSR1 is the
library's.
"""


class Drain:
    """The parent's word that the worker drains: one signal when it begins, another when it is over."""

    def __init__(self, seconds: float, ending: Ending, room: rtc.Room) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._ending = ending
        self._until: float | None = None
        self._tell: Callable[[float], None] | None = None
        self._loop.add_signal_handler(DRAIN_BEGAN, self._began)
        self._loop.add_signal_handler(DRAIN_OVER, self._over)

    def tell(self, tell: Callable[[float], None]) -> None:
        """Call this with the seconds left once the drain begins; now, if it has begun."""
        self._tell = tell
        if self._until is not None:
            tell(max(0.0, self._until - self._loop.time()))

    def _began(self) -> None:
        if self._until is not None:
            return
        self._until = self._loop.time() + self._seconds
        self._loop.call_at(self._until, self._over)
        if self._tell is not None:
            self._tell(self._seconds)

    def _over(self) -> None:
        """A worker that has lost LiveKit for good drains as well, and that is the reason then."""
        self._ending.ask(LIVEKIT_LOST if is_lost(self._room) else WORKER_DRAIN)
