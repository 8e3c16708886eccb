"""What the callers of the benchmarks send."""

import struct

import numpy as np

from agent.demo.audio import RATE
from benchmarks.ready_opus import BEAT_SECONDS, BEFORE_SECONDS, TAIL, beat


def test_a_beat_is_speech_between_silence_that_is_hardly_sent() -> None:
    """Every 20 ms has a frame; those of the sentence are whole, and silence soon has a byte for each."""
    rng = np.random.default_rng(1)
    speech = (rng.normal(0, 4000, RATE)).astype(np.int16)
    data, sizes = beat(speech), []
    while data:
        (size,) = struct.unpack_from("<H", data)
        sizes.append(size)
        data = data[2 + size :]
    assert len(sizes) == BEAT_SECONDS * 50
    first, last = BEFORE_SECONDS * 50 + 1, (BEFORE_SECONDS + 1) * 50
    assert min(sizes[first:last]) > 10
    assert set(sizes[: first - 1]) == {1}
    assert set(sizes[last + TAIL + 2 :]) == {1}
