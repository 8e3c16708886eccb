"""
What can be measured on 16-bit mono audio: how loud, how high, how long somebody speaks.

Levels are in dBFS: 0 is a full-scale square wave, digital silence is minus infinity.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

RATE = 16_000
"""Samples per second of everything that is measured here."""

STEP = RATE // 50
"""Samples in 20 ms, the grain of every measure."""

SPEECH_ABOVE_DBFS = -50.0
"""A step louder than this is speech; synthetic voices are near -20, what Opus makes of silence below -70."""

PAUSE_SECONDS = 0.3
"""Shorter gaps, between words and in stops like `t` and `p`, belong to the speech around them."""

LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0
"""Where the fundamental of a voice is looked for."""


def _levels(samples: Samples) -> npt.NDArray[np.float64]:
    """The level of each whole step in dBFS."""
    count = len(samples) // STEP
    steps = samples[: count * STEP].astype(np.float64).reshape(count, STEP)
    power = np.mean(np.square(steps / 32768.0), axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(power))


def is_speech(step: Samples) -> bool:
    """Whether one step of 20 ms is louder than silence."""
    return bool(np.any(_levels(step) > SPEECH_ABOVE_DBFS))


def speech_spans(samples: Samples, pause: float = PAUSE_SECONDS) -> list[tuple[float, float]]:
    """
    Where somebody speaks, as (start, end) in seconds from the first sample, in order.

    Args:
        samples: 16 kHz mono.
        pause: Gaps shorter than this many seconds do not end a span.
    """
    spans: list[tuple[float, float]] = []
    step = STEP / RATE
    for index in np.flatnonzero(_levels(samples) > SPEECH_ABOVE_DBFS):
        start, end = float(index) * step, float(index + 1) * step
        if spans and start - spans[-1][1] < pause:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def speech_seconds(samples: Samples) -> float:
    """How long somebody speaks in all, pauses within a sentence included."""
    return sum(end - start for start, end in speech_spans(samples))


def loudness_dbfs(samples: Samples) -> float:
    """The level of the speech alone, silence left out; minus infinity when there is none."""
    levels = _levels(samples)
    speech = levels[levels > SPEECH_ABOVE_DBFS]
    if not len(speech):
        return -math.inf
    return float(10.0 * np.log10(np.mean(np.power(10.0, speech / 10.0))))


def fundamental_hz(samples: Samples) -> float | None:
    """
    The median pitch of the voiced parts in hertz, 60 to 400; None when nothing voiced is heard.

    Each 40 ms window is compared with itself shifted; the shift at which it looks most alike is one period.
    """
    window = 2 * STEP
    found: list[float] = []
    for start in range(0, len(samples) - window, STEP):
        part = samples[start : start + window].astype(np.float64)
        if 10.0 * math.log10(max(float(np.mean(np.square(part / 32768.0))), 1e-12)) < SPEECH_ABOVE_DBFS + 10:
            continue
        if pitch := _pitch(part - part.mean()):
            found.append(pitch)
    return float(np.median(found)) if found else None


def _pitch(part: npt.NDArray[np.float64]) -> float | None:
    """The pitch of one window; None where it is not voiced."""
    spectrum = np.fft.rfft(part, 2 * len(part))
    likeness: npt.NDArray[Any] = np.fft.irfft(np.abs(spectrum) ** 2)[: len(part)]
    # fewer samples overlap at longer shifts; without this every voice looks higher than it is
    likeness = likeness / np.arange(len(part), 0, -1)
    shortest, longest = int(RATE / HIGHEST_HZ), min(int(RATE / LOWEST_HZ), len(part) - 1)
    region = likeness[shortest : longest + 1]
    best = float(region.max())
    if best < 0.5 * float(likeness[0]):
        return None
    # the first peak that is nearly as good, since two periods look as much alike as one
    peaks = np.flatnonzero(
        (region[1:-1] >= region[:-2]) & (region[1:-1] >= region[2:]) & (region[1:-1] >= 0.9 * best)
    )
    shift = shortest + 1 + int(peaks[0]) if len(peaks) else shortest + int(region.argmax())
    return RATE / shift
