"""
A thread that ends this process when its event loop is blocked, so that the parent can bring the session back,
and when it does not end by itself although the session is over.

livekit's own watch takes 60 s, in which the caller hears nothing. A process that was *paused* (SIGSTOP, a
frozen machine) is another matter: it may have been replaced meanwhile, and has to find that out first.

Code that keeps the interpreter to itself (a catastrophic pattern, a C extension) stops this thread, too. For
that each tick winds an alarm clock of the kernel: one that is not wound any more ends the process by SIGALRM.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable

LIMIT_SECONDS = 10.0
"""Longest silence of the event loop, in seconds."""
TICK_SECONDS = 0.5
ALARM_SECONDS = LIMIT_SECONDS + 2.0
"""When the kernel ends a process in which no Python runs; also one that was paused for so long."""
PAUSE_SECONDS = 3.0
"""A tick that comes this much too late means that the whole process stood still."""

logger = logging.getLogger(__name__)


class Watchdog:
    """
    Watches the running event loop from a thread of its own, and, once it is asked to, that the process ends.

    Args:
        on_pause: Called on the loop after the process stood still.
    """

    def __init__(self, on_pause: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_pause = on_pause
        self._beat = time.monotonic()
        self._leave_at = math.inf
        self._last: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def leave_within(self, seconds: float, last: Callable[[], None] | None = None) -> None:
        """
        This process is over after so many seconds at the latest, whatever hangs in it; a second call counts.

        A tool that ignores its cancellation or a provider that does not close would keep it for ever.

        Args:
            last: Called in the watchdog's thread before the process is killed: what must be safe by then.
        """
        self._last = last
        self._leave_at = time.monotonic() + seconds

    def _run(self) -> None:
        ticked = time.monotonic()
        while True:
            signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS)  # SIGALRM's default is to end the process
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now > self._leave_at:
                self._kill("this process did not end by itself")
            elif now - ticked > PAUSE_SECONDS:
                self._beat = now
                self._tell(self._on_pause)
            elif now - self._beat > LIMIT_SECONDS and not self._loop.is_closed():
                self._kill(f"the event loop was blocked for {LIMIT_SECONDS:g} s")
            ticked = now
            self._tell(self._note)

    def _kill(self, why: str) -> None:
        logger.error("%s: it is killed", why)
        if self._last is not None:
            self._last()
        os.kill(os.getpid(), signal.SIGKILL)

    def _note(self) -> None:
        self._beat = time.monotonic()

    def _tell(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(callback)
