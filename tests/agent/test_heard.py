"""What was heard, from what was played."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.heard import Heard, heard_prefix, part_heard

TEXT = "The shop is open from nine to five."


@pytest.mark.parametrize(
    ("played", "words"),
    [(0.0, ""), (0.5, ""), (1.0, "The"), (5.0, "The shop is open"), (9.99, TEXT), (20.0, TEXT)],
)
def test_the_words_are_those_that_were_over(played: float, words: str) -> None:
    """A word counts as heard when all of it was played; a sliver of a second at the end is no loss."""
    assert words == heard_prefix(TEXT, played, 10.0)


@given(st.text(max_size=200), st.floats(0, 100), st.floats(0, 100))
def test_heard_is_always_a_prefix(text: str, played: float, length: float) -> None:
    """Whatever the numbers are, nothing is heard that was not planned."""
    assert text.startswith(heard_prefix(text, played, length))


@given(st.floats(0, 10), st.floats(0, 10))
def test_more_played_is_never_less_heard(a: float, b: float) -> None:
    """Hearing grows with playing."""
    first, second = sorted((a, b))

    assert len(heard_prefix(TEXT, first, 10.0)) <= len(heard_prefix(TEXT, second, 10.0))


def test_all_part_and_none() -> None:
    """How much was heard, by words."""
    assert [part_heard(words, TEXT) for words in ("", "The shop", TEXT)] == ["none", "part", "all"]


def test_a_segment_under_way_knows_its_words_before_its_audio_is_complete() -> None:
    """While the voice is still being made its length is estimated: a long answer is not heard all at once."""
    heard = Heard()
    segment = heard.plan("speech_1", "triage")
    segment.text = TEXT * 4
    segment.audio_seconds = 2.0
    heard.playback_started(100.0)

    assert 0 < len(segment.words(102.0)) < len(TEXT) * 2
    segment.complete = True
    assert segment.words(102.0) == TEXT * 4


def test_segments_of_one_speech_play_one_after_the_other() -> None:
    """Words before and after a tool call are two segments, and playing goes from one to the next."""
    heard = Heard()
    first, second = heard.plan("speech_1", "a"), heard.plan("speech_1", "a")
    first.audio_seconds = second.audio_seconds = 1.0
    heard.playback_started(1.0)
    heard.playback_finished(1.0, interrupted=False)
    heard.playback_started(3.0)

    assert heard.playing() is second
    assert heard.of("speech_1") is first
    assert heard.latest("speech_1") is second
