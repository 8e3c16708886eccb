"""The loop that looks at the clock: after every event, and at the moment the clock names."""

import asyncio
import logging
from collections.abc import Callable

from agent.clock import Clock, Due

SHORTEST_SECONDS = 0.02
"""Least time between two looks at something that stays due."""

logger = logging.getLogger(__name__)


class Timers:
    """
    Hands what is due to `on_due`, in order, as soon as it is due.

    Args:
        clock: The session's clock, on the event loop's time.
        on_due: Called on the loop; must return at once. What it raises is logged, and the clock goes on.
        on_fired: Called with the seconds between when something was due and now.
        on_look: Called at each look at the clock, with the time of it.
    """

    def __init__(
        self,
        clock: Clock,
        on_due: Callable[[Due], None],
        on_fired: Callable[[float], None] | None = None,
        on_look: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._on_look = on_look
        self._on_due = on_due
        self._on_fired = on_fired
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="timers")

    def look(self) -> None:
        """Something happened: look at the clock again."""
        self._changed.set()

    async def stop(self) -> None:
        """Hand out nothing more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        waited_for: float | None = None
        while True:
            self._changed.clear()
            for due in self._clock.due(loop.time()):
                if waited_for is not None and self._on_fired is not None:
                    self._on_fired(loop.time() - waited_for)
                waited_for = None
                try:
                    self._on_due(due)
                except Exception as exc:  # noqa: BLE001 - words that cannot be said now must not keep a call open
                    logger.error("%s was due and could not be done: %s", due.kind, type(exc).__name__)
            waited_for = None
            if self._on_look is not None:
                self._on_look(loop.time())
            moment = self._clock.next_at(loop.time())
            try:
                # at least a tick: an end that was handed out stays due until the session is over
                wait = None if moment is None else max(moment - loop.time(), SHORTEST_SECONDS)
                # not wait_for: before Python 3.12 it swallows a cancellation that comes with the event
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                waited_for = moment if wait is not None and wait > SHORTEST_SECONDS else None
