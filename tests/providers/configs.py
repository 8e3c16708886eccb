"""Short ways to a session config and to speech, for the tests of the providers."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import tts

from config_store.schema import SessionConfig
from tests.doubles.audio import Samples

KEYS = {"OPENAI_API_KEY": "test-key", "ELEVEN_API_KEY": "test-key"}


def session(kind: str, model: dict[str, Any], **fields: Any) -> SessionConfig:
    """A config with one model."""
    return SessionConfig.model_validate({"models": {kind: model}, **fields})


async def spoken(voice: tts.TTS[Any], text: str) -> tuple[Samples, int]:
    """What `voice` says, through the path a session takes: a stream, else one request. (samples, rate)."""
    if voice.capabilities.streaming:
        async with voice.stream() as stream:
            stream.push_text(text)
            stream.end_input()
            return await collected(stream)
    async with voice.synthesize(text) as chunks:
        return await collected(chunks)


async def collected(stream: AsyncIterable[tts.SynthesizedAudio]) -> tuple[Samples, int]:
    """All frames of a stream. (samples, rate)."""
    frames: list[rtc.AudioFrame] = [audio.frame async for audio in stream]
    assert frames, "no audio came"
    whole = rtc.combine_audio_frames(frames)
    return np.frombuffer(whole.data, np.int16), whole.sample_rate
