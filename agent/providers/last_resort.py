"""
The last thing a caller hears when the voice of a session works no more: silence would keep them waiting.

The bundle's sentence, else one of ours in the session's language, by the offline voice; three falling tones
where that voice is not installed. Give the frames to `session.say(text, audio=...)`: no provider has a part
in them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from livekit import rtc

from agent.providers.loudness import amplified
from agent.providers.offline.provider import OFFLINE
from agent.providers.sentences import sentence
from config_store.schema import SessionConfig

_TONES_HERTZ = (660.0, 550.0, 440.0)
_TONE_SECONDS = 0.25
_RATE = 24000


def last_sentence(config: SessionConfig) -> str:
    """What is said, for the transcript too."""
    return config.last_words or sentence("trouble", config.target_language)


async def last_words(config: SessionConfig) -> AsyncIterator[rtc.AudioFrame]:
    """The frames of `last_sentence`, with the session's loudness; waits for no network."""
    loudness = config.voice_tuning.loudness
    async for frame in _spoken(config) if OFFLINE.installed else _tones():
        yield amplified(frame, 1.0 if loudness is None else loudness)


async def _spoken(config: SessionConfig) -> AsyncIterator[rtc.AudioFrame]:
    from agent.providers.offline.espeak import EspeakTTS
    from agent.providers.offline.voices import voice_for_language

    voice = EspeakTTS(voice=voice_for_language(config.target_language))
    async with voice.synthesize(last_sentence(config)) as stream:
        async for audio in stream:
            yield audio.frame


async def _tones() -> AsyncIterator[rtc.AudioFrame]:
    time = np.arange(int(_RATE * _TONE_SECONDS)) / _RATE
    # faded in and out, because a tone that begins at once clicks
    shape = np.minimum(1.0, 20 * np.minimum(time, _TONE_SECONDS - time)) * 0.25 * 32767
    for hertz in _TONES_HERTZ:
        pcm = (np.sin(2 * np.pi * hertz * time) * shape).astype(np.int16)
        yield rtc.AudioFrame(pcm.tobytes(), _RATE, 1, len(pcm))
