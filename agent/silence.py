"""
The user's silence as one attempt hands it on to the next: exact, also when the process is gone at once.

It is noted in the journal whenever it stops, goes on or begins anew; in between it is known from the time
gone by. Times are Redis TIME, because the next attempt may run on a machine with another clock.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from agent.clock import Clock

SILENCE: Final = "silence"
"""The type of the journal entry: `idle_seconds`, whether it `grows`, and `redis_ms` when that was so."""
EXACT_SECONDS = 0.05
"""What it may be off before it is noted anew."""


class Silence:
    """
    Notes the silence of one attempt.

    Args:
        clock: The session's clock.
        redis_ms: Redis TIME now, in milliseconds.
        append: Writes a journal entry.
    """

    def __init__(self, clock: Clock, *, redis_ms: Callable[[], int], append: Callable[..., Any]) -> None:
        self._clock = clock
        self._redis_ms = redis_ms
        self._append = append
        self._idle, self._grows, self._at = 0.0, False, 0.0

    def look(self, now: float) -> None:
        """Something may have happened: note the silence if it is not what it was going to be."""
        idle, grows = self._clock.silence(now)
        expected = self._idle + (now - self._at if self._grows else 0.0)
        if grows == self._grows and abs(idle - expected) < EXACT_SECONDS:
            return
        self._idle, self._grows, self._at = idle, grows, now
        self._append(SILENCE, idle_seconds=round(idle, 3), grows=grows, redis_ms=self._redis_ms())


def silence_of(entries: Iterable[Mapping[str, Any]], now_ms: int) -> float:
    """
    The silence at a time of Redis (milliseconds), in seconds; 0 when none was noted.

    What stood still when a process died (the agent spoke, a tool worked, the user was away) stands still
    until the next one; a silence that grew goes on meanwhile. A note without a time is none (another release
    redacted some).
    """
    noted = [e for e in entries if e.get("type") == SILENCE and isinstance(e.get("redis_ms"), int)]
    if not noted:
        return 0.0
    last = max(noted, key=lambda entry: (entry["attempt"], entry["redis_ms"], entry["n"]))
    gone = max(0.0, (now_ms - last["redis_ms"]) / 1000) if last["grows"] else 0.0
    return float(last["idle_seconds"]) + gone
