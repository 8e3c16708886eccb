"""
A thread that ends this process when its event loop is blocked, so that the parent can bring the session back.

livekit's own watch takes 60 s, in which the caller hears nothing. A process that was *paused* (SIGSTOP, a
frozen machine) is another matter: it may have been replaced meanwhile, and has to find that out first.
"""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

LIMIT_SECONDS = 10.0
"""Longest silence of the event loop, in seconds."""
TICK_SECONDS = 0.5
PAUSE_SECONDS = 3.0
"""A tick that comes this much too late means that the whole process stood still."""

logger = logging.getLogger(__name__)


class Watchdog:
    """
    Watches the running event loop from a thread of its own.

    Args:
        on_pause: Called on the loop after the process stood still.
    """

    def __init__(self, on_pause: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_pause = on_pause
        self._beat = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()

    def _run(self) -> None:
        ticked = time.monotonic()
        while not self._over.wait(TICK_SECONDS):
            now = time.monotonic()
            if now - ticked > PAUSE_SECONDS:
                self._beat = now
                self._tell(self._on_pause)
            elif now - self._beat > LIMIT_SECONDS:
                logger.error("the event loop was blocked for %g s; this process ends", LIMIT_SECONDS)
                os.kill(os.getpid(), signal.SIGKILL)
            ticked = now
            self._tell(self._note)

    def _note(self) -> None:
        self._beat = time.monotonic()

    def _tell(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
