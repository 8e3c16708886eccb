"""Everybody's audio in one, and who of them spoke."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.listening import REMEMBERED_SECONDS, Mix, Speakers


def of(value: int, count: int = 10) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.full(count, value, np.int16)


def test_one_voice_passes_as_it_is() -> None:
    """With one person, each block goes out when it is there, unchanged."""
    mix = Mix(10)

    ((block, loud),) = mix.add("a", of(7))
    assert (block == 7).all()
    assert loud == {"a": 7.0}


def test_two_voices_are_added_and_cannot_overflow() -> None:
    """A block waits until both have it; too loud a sum stays at full scale."""
    mix = Mix(10)
    mix.join("b")

    assert mix.add("a", of(30_000)) == []
    ((block, loud),) = mix.add("b", of(20_000))
    assert (block == 32_767).all()
    assert loud == {"a": 30_000.0, "b": 20_000.0}


def test_who_stalls_delays_the_others_by_one_block() -> None:
    """A microphone that brings nothing counts as silent once another is two blocks ahead."""
    mix = Mix(10)
    mix.join("b")

    assert mix.add("a", of(5)) == []
    ((block, _),) = mix.add("a", of(5))
    assert (block == 5).all()
    assert len(mix.add("a", of(5))) == 1


def test_who_has_left_is_not_waited_for() -> None:
    """After somebody's audio is over the others go out at once."""
    mix = Mix(10)
    mix.join("b")
    mix.leave("b")

    assert len(mix.add("a", of(5))) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 35)), max_size=40))
def test_nothing_is_lost_but_what_waits(parts: list[tuple[str, int]]) -> None:
    """However the audio comes, what goes out is what came, less than two blocks of each apart."""
    mix = Mix(10)
    came = {"a": 0, "b": 0}
    went = 0
    for name, count in parts:
        came[name] += count
        went += sum(int(block.sum()) for block, _ in mix.add(name, of(1, count)))

    assert 0 <= sum(came.values()) - went < 40


def test_who_said_most_between_two_times() -> None:
    """The speaker of a stretch is who was loud in it; silence and noise are nobody's."""
    speakers = Speakers()
    speakers.note(1.0, {"a": 3000.0, "b": 20.0})
    speakers.note(2.0, {"a": 20.0, "b": 2000.0})
    speakers.note(2.1, {"a": 900.0, "b": 2000.0})

    assert speakers.loudest(0.5, 1.5) == "a"
    assert speakers.loudest(1.5, 2.5) == "b"
    assert speakers.loudest(3.0, 4.0) is None
    speakers.note(2.2 + REMEMBERED_SECONDS, {"a": 900.0})
    assert speakers.loudest(0.0, 2.5) is None
