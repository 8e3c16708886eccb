"""The silence one attempt hands on to the next: what is noted, and what is made of it, on virtual time."""

from typing import Any

import pytest

from agent.clock import Clock, Limits
from agent.silence import Silence, silence_of

NEVER = Limits(idle=None)


class Noted:
    """One attempt's clock and what it noted; time is given, and Redis counts from 1 000 000 ms."""

    def __init__(self, idle: float = 0.0, attempt: int = 1, start: float = 0.0) -> None:
        self.now = start
        self.attempt = attempt
        self.entries: list[dict[str, Any]] = []
        self.clock = Clock(NEVER, start, live_seconds=0.0 if attempt > 1 else None, idle_seconds=idle)
        self.silence = Silence(self.clock, redis_ms=self.redis_ms, append=self.append)

    def redis_ms(self) -> int:
        return 1_000_000 + round(self.now * 1000)

    def append(self, kind: str, **fields: Any) -> None:
        number = len(self.entries) + 1
        self.entries.append({"type": kind, "attempt": self.attempt, "n": number, **fields})

    def at(self, now: float) -> Clock:
        """The clock at this time; the look that follows every event is taken when the next one comes."""
        self.silence.look(self.now)
        self.now = now
        return self.clock

    def inherited(self, later: float) -> float:
        """What the next attempt finds so many seconds after the last event."""
        self.silence.look(self.now)
        return silence_of(self.entries, self.redis_ms() + round(later * 1000))


def test_a_silence_that_grows_goes_on_while_nobody_serves() -> None:
    """Five seconds without a word and two without a process are seven seconds of silence."""
    noted = Noted()
    noted.at(10.0).user_present(10.0)
    noted.at(15.0)

    assert noted.inherited(2.0) == pytest.approx(7.0, abs=0.06)


def test_words_begin_it_anew() -> None:
    """A word is the end of a silence, for the next attempt too."""
    noted = Noted()
    noted.at(0.0).user_present(0.0)
    noted.at(30.0).words(30.0, final=True)
    noted.at(31.0)

    assert noted.inherited(0.0) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("what", ["the agent speaks", "a tool works", "the user is away"])
def test_what_stood_still_at_the_death_stands_still(what: str) -> None:
    """A process killed while the agent speaks, a tool works or nobody is there adds nothing to a silence."""
    noted = Noted()
    noted.at(0.0).user_present(0.0)
    clock = noted.at(4.0)
    match what:
        case "the agent speaks":
            clock.agent_speaking(4.0, speaking=True)
        case "a tool works":
            clock.tool(4.0, "t", working=True)
        case _:
            clock.user_absent(4.0)
    noted.at(9.0)

    assert noted.inherited(60.0) == pytest.approx(4.0, abs=0.06)


def test_a_second_takeover_inherits_from_the_first() -> None:
    """Attempt 2 notes what it inherited, so that attempt 3 knows it when 2 dies at once."""
    first = Noted()
    first.at(0.0).user_present(0.0)
    first.at(6.0).agent_speaking(6.0, speaking=True)
    inherited = first.inherited(1.0)
    second = Noted(idle=inherited, attempt=2, start=7.0)
    second.at(7.5)

    assert silence_of(first.entries + second.entries, 1_060_000) == pytest.approx(6.0, abs=0.06)


def test_noise_that_brought_no_words_is_silence_for_the_next_one_too() -> None:
    """Voice without words is counted when it is known that there were none."""
    noted = Noted()
    noted.at(0.0).user_present(0.0)
    noted.at(2.0).voice(2.0, heard=True)
    noted.at(6.0).voice(6.0, heard=False)
    noted.at(12.0)

    assert noted.inherited(0.0) == pytest.approx(12.0, abs=0.06)


def test_a_steady_silence_is_noted_once() -> None:
    """Looking again and again writes nothing while nothing changes."""
    noted = Noted()
    noted.at(0.0).user_present(0.0)
    for second in range(1, 100):
        noted.at(float(second))

    assert len(noted.entries) == 1


def test_nothing_noted_is_no_silence() -> None:
    """A session whose journal says nothing of it begins a silence."""
    assert silence_of([{"type": "start", "attempt": 1, "n": 1}], 5_000) == 0.0
