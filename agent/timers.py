"""The loop that looks at the clock: after every event, and at the moment the clock names."""

import asyncio
from collections.abc import Callable

from agent.clock import Clock, Due


class Timers:
    """
    Hands what is due to `on_due`, in order, as soon as it is due.

    Args:
        clock: The session's clock, on the event loop's time.
        on_due: Called on the loop; must return at once.
    """

    def __init__(self, clock: Clock, on_due: Callable[[Due], None]) -> None:
        self._clock = clock
        self._on_due = on_due
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
        while True:
            self._changed.clear()
            for due in self._clock.due(loop.time()):
                self._on_due(due)
            moment = self._clock.next_at(loop.time())
            try:
                # at least a tick: an end that was handed out stays due until the session is over
                wait = None if moment is None else max(moment - loop.time(), 0.02)
                # not wait_for: before Python 3.12 it swallows a cancellation that comes with the event
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
