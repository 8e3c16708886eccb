"""The record of what a caller heard, on its clock."""

import numpy as np
import pytest

from agent.demo.audio import RATE
from agent.demo.hearing import Hearing

FRAME = RATE // 100


def frames(level: int, seconds: float) -> list[bytes]:
    return [np.full(FRAME, level, dtype=np.int16).tobytes()] * round(seconds * 100)


def play(
    hearing: Hearing, parts: list[bytes], start: float, identity: str = "agent", track: str = "T1"
) -> float:
    """Frames of 10 ms that arrive in time; returns the time after the last one."""
    for index, part in enumerate(parts, 1):
        hearing.add(track, identity, part, start + index * 0.01)
    return start + len(parts) * 0.01


def test_speech_is_found_where_it_was_heard() -> None:
    """An utterance has the times at which its samples arrived, and its speaker."""
    hearing = Hearing()
    play(hearing, frames(0, 1) + frames(5000, 0.5) + frames(0, 1), start=100.0)
    (one,) = hearing.utterances()
    assert one.identity == "agent"
    assert (one.start, one.end) == (pytest.approx(101.0, abs=0.02), pytest.approx(101.5, abs=0.02))
    assert hearing.until() == pytest.approx(102.5)


def test_a_burst_keeps_its_place() -> None:
    """Frames that were late because this process was busy are still heard in their own time."""
    hearing = Hearing()
    middle = play(hearing, frames(0, 0.5), start=100.0)
    for part in frames(5000, 0.3):
        hearing.add("T1", "agent", part, middle + 0.3)
    (one,) = hearing.utterances()
    assert (one.start, one.end) == (pytest.approx(100.5, abs=0.02), pytest.approx(100.8, abs=0.02))


def test_after_a_gap_the_clock_is_right_again() -> None:
    """A track that was silent without frames for seconds goes on when its frames arrive."""
    hearing = Hearing()
    play(hearing, frames(5000, 0.5), start=100.0)
    play(hearing, frames(5000, 0.5), start=105.0)
    assert [round(one.start, 1) for one in hearing.utterances()] == [100.0, 105.0]
    assert not hearing.between(101.0, 104.9).any()


def test_speech_under_way_counts_from_the_time_asked_for() -> None:
    """Of speech that began before `after` only the rest is reported."""
    hearing = Hearing()
    play(hearing, frames(5000, 2), start=100.0)
    (one,) = hearing.utterances(after=101.0)
    assert (one.start, one.seconds) == (101.0, pytest.approx(1.0, abs=0.02))
    assert hearing.utterances(after=102.1) == []


def test_two_speakers_are_told_apart_and_mixed() -> None:
    """Each participant can be heard alone; together they are added up, without overflow."""
    hearing = Hearing()
    play(hearing, frames(30000, 1), start=100.0, identity="a", track="T1")
    play(hearing, frames(20000, 1), start=100.5, identity="b", track="T2")
    assert hearing.between(100.6, 100.9).max() == 32767
    assert hearing.between(100.6, 100.9, identity="b").max() == 20000
    assert [one.identity for one in hearing.utterances()] == ["a", "b"]
    assert len(hearing.between(99.0, 103.0)) == 4 * RATE
