"""
Loudness: gain on the audio, because no provider has it on the wire.

Sample by sample and without memory, so it adds no latency. Below 0.7 of full scale the gain is exact;
above, the curve bends smoothly and stays 1.4 dB below full scale: the codec on the way to a listener
overshoots what it is given, and would clip there.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import tts

from agent.providers.relay import RelayStream, RelayTTS

_FULL_SCALE = 32767.0
_KNEE = 0.7 * _FULL_SCALE
_CEILING = 0.85 * _FULL_SCALE


def amplified(frame: rtc.AudioFrame, loudness: float) -> rtc.AudioFrame:
    """
    The frame `loudness` times as strong, 0 to 3 (2 is +6 dB); the same frame at 1.0.

    What hangs on the frame (word timings) goes along.
    """
    if loudness == 1.0:
        return frame
    samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float32) * loudness
    over = np.abs(samples) - _KNEE
    if loudness > 1.0 and over.max(initial=0.0) > 0.0:
        room = _CEILING - _KNEE
        above = np.maximum(over, 0.0)
        bent = _KNEE + room * above / (above + room)
        samples = np.where(over > 0.0, np.copysign(bent, samples), samples)
    return rtc.AudioFrame(
        np.rint(samples).astype(np.int16).tobytes(),
        frame.sample_rate,
        frame.num_channels,
        frame.samples_per_channel,
        userdata=frame.userdata,
    )


async def amplify(frames: AsyncIterable[rtc.AudioFrame], loudness: float) -> AsyncIterator[rtc.AudioFrame]:
    """Every frame `loudness` times as strong; for audio of no TTS, such as a realtime model's."""
    async for frame in frames:
        yield amplified(frame, loudness)


class LoudTTS(RelayTTS):
    """Another TTS, louder or softer. A change of `loudness` holds for frames not yet given out."""

    def __init__(self, inner: tts.TTS[Any], loudness: float) -> None:
        super().__init__(inner)
        self.loudness = loudness

    def relay(
        self,
        stream: tts.ChunkedStream | tts.SynthesizeStream,
        *,
        complete: bool,  # noqa: ARG002
    ) -> RelayStream:
        """The same stream, its frames amplified."""
        return _LoudStream(self, stream)


class _LoudStream(RelayStream):
    def __init__(self, loud: LoudTTS, stream: tts.ChunkedStream | tts.SynthesizeStream) -> None:
        super().__init__(stream)
        self._loud = loud

    async def __anext__(self) -> tts.SynthesizedAudio:
        audio = await super().__anext__()
        audio.frame = amplified(audio.frame, self._loud.loudness)
        return audio
