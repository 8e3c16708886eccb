"""Measures on audio whose answers are known."""

import math

import numpy as np
import pytest

from agent.demo.audio import RATE, Samples, fundamental_hz, loudness_dbfs, speech_seconds, speech_spans


def tone(hertz: float, seconds: float, dbfs: float = -20.0) -> Samples:
    """A sound with overtones, as a voice has them, at a given level."""
    times = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hertz * n * times) / n for n in range(1, 6))
    wave = wave / math.sqrt(float(np.mean(np.square(wave)))) * 10 ** (dbfs / 20)
    return (wave * 32768).astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.int16)


@pytest.mark.parametrize("dbfs", [-12.0, -20.0, -35.0])
def test_loudness_is_that_of_the_speech_alone(dbfs: float) -> None:
    """Silence around speech does not make it quieter."""
    samples = np.concatenate([silence(2), tone(120, 1, dbfs), silence(3)])
    assert loudness_dbfs(samples) == pytest.approx(dbfs, abs=0.2)


@pytest.mark.parametrize("hertz", [76.0, 108.0, 172.0, 240.0])
def test_the_fundamental_is_found_among_overtones(hertz: float) -> None:
    """The pitch is that of the fundamental, not of an overtone or of twice the period."""
    samples = np.concatenate([silence(0.5), tone(hertz, 1), silence(0.5)])
    assert fundamental_hz(samples) == pytest.approx(hertz, rel=0.02)


def test_short_gaps_belong_to_the_speech() -> None:
    """A gap of 0.2 s does not split speech, one of 0.5 s does."""
    samples = np.concatenate(
        [silence(1), tone(100, 0.4), silence(0.2), tone(100, 0.4), silence(0.5), tone(100, 0.2)]
    )
    assert speech_spans(samples) == [
        (pytest.approx(1.0, abs=0.02), pytest.approx(2.0, abs=0.02)),
        (pytest.approx(2.5, abs=0.02), pytest.approx(2.7, abs=0.02)),
    ]
    assert speech_seconds(samples) == pytest.approx(1.2, abs=0.04)


def test_silence_has_nothing_to_measure() -> None:
    """Silence and no audio at all have no speech, no loudness and no pitch, and no warning either."""
    for samples in (silence(1), silence(0)):
        assert speech_spans(samples) == []
        assert loudness_dbfs(samples) == -math.inf
        assert fundamental_hz(samples) is None


def test_noise_has_no_pitch() -> None:
    """White noise as loud as speech is not taken for a voice."""
    noise = (np.random.default_rng(1).standard_normal(RATE) * 3000).astype(np.int16)
    assert fundamental_hz(noise) is None
