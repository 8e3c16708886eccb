"""The loop that looks at the clock, on virtual time: what is due is handed out, whatever happens."""

import asyncio
import time

import pytest

from agent.clock import Clock, Due, Limits
from agent.timers import Timers

pytestmark = pytest.mark.virtual_time


class Handed:
    """What was handed out, and when."""

    def __init__(self) -> None:
        self.kinds: list[tuple[float, str]] = []
        self.late: list[float] = []

    def due(self, due: Due) -> None:
        self.kinds.append((round(asyncio.get_running_loop().time(), 3), due.kind))

    def fired(self, late: float) -> None:
        self.late.append(late)


def clock_of(limits: Limits) -> Clock:
    clock = Clock(limits, asyncio.get_running_loop().time())
    clock.user_present(asyncio.get_running_loop().time())
    return clock


async def test_each_is_handed_out_at_its_moment() -> None:
    """Prompts, warnings and the end come when they are due, and how late they came is told."""
    handed = Handed()
    limits = Limits(idle=20, idle_prompts=(5,), maximum=60, warnings=(50,))
    timers = Timers(clock_of(limits), handed.due, handed.fired)
    await asyncio.sleep(20.01)
    await timers.stop()

    assert handed.kinds[:3] == [(5.0, "idle_prompt"), (10.0, "max_warning"), (20.0, "idle")]
    assert all(late == pytest.approx(0.0, abs=0.001) for late in handed.late)


async def test_what_cannot_be_done_stops_no_timer(caplog: pytest.LogCaptureFixture) -> None:
    """A prompt that cannot be spoken now is one log line; the call ends in time all the same."""
    handed = Handed()

    def fails(due: Due) -> None:
        handed.due(due)
        if due.kind == "idle_prompt":
            raise RuntimeError("the session is not running; canary")

    timers = Timers(clock_of(Limits(idle=20, idle_prompts=(5,))), fails)
    await asyncio.sleep(20.01)
    await timers.stop()

    assert handed.kinds[:2] == [(5.0, "idle_prompt"), (20.0, "idle")]
    assert "idle_prompt was due and could not be done: RuntimeError" in caplog.text
    assert "canary" not in caplog.text


async def test_an_end_that_nobody_acts_upon_is_handed_out_again_and_again() -> None:
    """Level-triggered: an end that was missed comes again until the session is over, and burns no CPU."""
    handed = Handed()
    timers = Timers(clock_of(Limits(idle=10)), handed.due)
    await asyncio.sleep(11)
    await timers.stop()

    assert 40 <= len(handed.kinds) <= 51
    assert {kind for _, kind in handed.kinds} == {"idle"}


async def test_what_nobody_told_the_timers_is_found_all_the_same() -> None:
    """A change of the clock without a word to the timers is seen at the moment that was known before."""
    handed = Handed()
    clock = clock_of(Limits(idle=10, maximum=60))
    timers = Timers(clock, handed.due)
    await asyncio.sleep(1)
    clock.words(5.0, final=True)
    await asyncio.sleep(15)
    await timers.stop()

    assert handed.kinds[0] == (15.0, "idle")


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0], ids=["a day back", "a day on"])
async def test_a_wall_clock_that_jumps_changes_nothing(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sets the machine's clock: timers count on the event loop's own, which does not jump."""
    handed = Handed()
    timers = Timers(clock_of(Limits(idle=10, idle_prompts=(4,))), handed.due)
    await asyncio.sleep(2)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    await asyncio.sleep(8.01)
    await timers.stop()

    assert handed.kinds[:2] == [(4.0, "idle_prompt"), (10.0, "idle")]
