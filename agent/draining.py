"""The parent's word to a job that the worker drains."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from agent.ending import WORKER_DRAIN, Ending

DRAIN_BEGAN: Final = signal.SIGUSR2
DRAIN_OVER: Final = signal.SIGURG
"""
Two signals, because two of one kind that come at once are one. Both may come again, and neither harms a
process that does not listen: SIGURG is ignored by itself, SIGUSR2 by `agent.preload`. SIGUSR1 is the
library's.
"""


class Drain:
    """The parent's word that the worker drains: one signal when it begins, another when it is over."""

    def __init__(self, seconds: float, ending: Ending) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._ending = ending
        self._until: float | None = None
        self._tell: Callable[[float], None] | None = None
        self._loop.add_signal_handler(DRAIN_BEGAN, self._began)
        self._loop.add_signal_handler(DRAIN_OVER, ending.ask, WORKER_DRAIN)

    def tell(self, tell: Callable[[float], None]) -> None:
        """Call this with the seconds left once the drain begins; now, if it has begun."""
        self._tell = tell
        if self._until is not None:
            tell(max(0.0, self._until - self._loop.time()))

    def _began(self) -> None:
        if self._until is not None:
            return
        self._until = self._loop.time() + self._seconds
        self._loop.call_at(self._until, self._ending.ask, WORKER_DRAIN)
        if self._tell is not None:
            self._tell(self._seconds)
