"""The parent's word to a job that the worker drains."""

import asyncio
import signal
from collections.abc import Callable

from agent.ending import WORKER_DRAIN, Ending


class Drain:
    """The parent's word that the worker drains: SIGUSR2 once when it begins, again when it is over."""

    def __init__(self, seconds: float, ending: Ending) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._ending = ending
        self._until: float | None = None
        self._tell: Callable[[float], None] | None = None
        self._loop.add_signal_handler(signal.SIGUSR2, self._signalled)

    def tell(self, tell: Callable[[float], None]) -> None:
        """Call this with the seconds left once the drain begins; now, if it has begun."""
        self._tell = tell
        if self._until is not None:
            tell(max(0.0, self._until - self._loop.time()))

    def _signalled(self) -> None:
        if self._until is not None:
            self._ending.ask(WORKER_DRAIN)
            return
        self._until = self._loop.time() + self._seconds
        self._loop.call_at(self._until, self._ending.ask, WORKER_DRAIN)
        if self._tell is not None:
            self._tell(self._seconds)
