"""Audio for and from the doubles: tones, MP3, and what a frame sounds like (length, level, pitch)."""

from __future__ import annotations

import io

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]


def tone(seconds: float, rate: int, *, hertz: float = 220.0, level: float = 0.25) -> bytes:
    """A sine as 16-bit PCM; `level` is its amplitude, 1.0 is full scale."""
    time = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * hertz * time) * level * 32767).astype(np.int16).tobytes()


def mp3(pcm: bytes, rate: int, kilobits: int = 64) -> bytes:
    """The same audio as MP3, mono."""
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, np.int16)[None, :], format="s16", layout="mono")
    frame.sample_rate = rate
    target = io.BytesIO()
    with av.open(target, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate)
        stream.bit_rate = kilobits * 1000
        stream.layout = "mono"
        resampled = av.AudioResampler("s16p", "mono", rate).resample(frame)
        for piece in [*resampled, None]:
            for packet in stream.encode(piece):
                container.mux(packet)
    return target.getvalue()


def dbfs(samples: Samples) -> float:
    """RMS level in dB below full scale; -120 for digital silence."""
    rms = float(np.sqrt(np.mean(np.square(samples.astype(np.float64) / 32768.0)))) if len(samples) else 0.0
    return 20 * float(np.log10(rms)) if rms > 1e-6 else -120.0


def fundamental(samples: Samples, rate: int) -> float:
    """Median fundamental frequency in Hz of the voiced parts, by autocorrelation, 50 to 400 Hz."""
    size, step = int(0.04 * rate), int(0.01 * rate)
    shortest, longest = int(rate / 400), int(rate / 50)
    found = []
    for start in range(0, len(samples) - size - longest, step):
        piece = samples[start : start + size + longest].astype(np.float64)
        piece -= piece.mean()
        head = piece[:size]
        if np.sqrt(np.mean(head**2)) < 800:
            continue
        lags = np.arange(shortest, longest)
        windows = np.lib.stride_tricks.sliding_window_view(piece, size)[shortest:longest]
        strength = (windows @ head) / (np.linalg.norm(windows, axis=1) * np.linalg.norm(head) + 1e-9)
        best = int(np.argmax(strength > 0.9 * strength.max()))
        if strength[best] > 0.6:
            peak = best + int(np.argmax(strength[best : best + shortest // 2 + 1]))
            found.append(rate / lags[peak])
    return float(np.median(found)) if found else 0.0
