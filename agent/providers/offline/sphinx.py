"""
Speech recognition without a network: PocketSphinx over a closed list of phrases.

With a list it answers in 20 to 50 ms and is nearly always right; free dictation with it is neither, so it is
not offered. What does not sound like one whole phrase of the list is heard as nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode, stt, utils
from livekit.agents.types import NOT_GIVEN, NotGivenOr

from agent.providers.offline.decoder import Decoder, take
from agent.providers.offline.phrases import no_pronunciation, words_of

RATE = 16000
_SILENCE = bytes(2 * RATE * 3 // 10)
"""0.3 s around an utterance: the decoder needs some to find its first and last word."""


class SphinxSTT(stt.STT[Any]):
    """
    Hears the phrases it was given and nothing else; what it hears is written as in the list.

    Args:
        phrases: What a user may say. Upper and lower case and punctuation do not matter.
        pronunciations: Word → phones of the CMU set (`{"zorblatt": "Z AO R B L AE T"}`), for words that the
            dictionary lacks.

    Raises:
        ValueError: The list is empty, or has words that nobody knows how to pronounce; names them.
    """

    def __init__(self, *, phrases: Iterable[str], pronunciations: Mapping[str, str] | None = None) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._phrases = {words_of(phrase): phrase for phrase in phrases if words_of(phrase)}
        self._pronunciations = dict(pronunciations or {})
        if not self._phrases:
            raise ValueError("offline speech recognition needs phrases: the list of what a user may say")
        self._decoder: Decoder | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def model(self) -> str:
        """For usage and metrics."""
        return "pocketsphinx"

    @property
    def provider(self) -> str:
        """For usage and metrics."""
        return "offline"

    def prewarm(self) -> None:
        """Loads the decoder in its thread, so that the first words do not wait for it."""
        self._own_thread().submit(self._load)

    async def aclose(self) -> None:
        """Ends the decoder's thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,  # noqa: ARG002
        conn_options: APIConnectOptions,  # noqa: ARG002
    ) -> stt.SpeechEvent:
        pcm = _at_16_khz(rtc.combine_audio_frames(buffer))
        text = await asyncio.get_running_loop().run_in_executor(self._own_thread(), self._decode, pcm)
        heard = [stt.SpeechData(text=text, language=LanguageCode("en-US"))] if text else []
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            request_id=utils.shortuuid("sphinx_"),
            alternatives=heard,
        )

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sphinx")
        return self._thread

    def _decode(self, pcm: bytes) -> str:
        return self._phrases.get(self._load().hear(_SILENCE + pcm + _SILENCE), "")

    def _load(self) -> Decoder:
        if self._decoder is None:
            decoder = take()
            for word, phones in self._pronunciations.items():
                decoder.add_word(word.lower(), phones)
            unknown = [word for word in " ".join(self._phrases).split() if not decoder.knows(word)]
            if unknown:
                raise ValueError(no_pronunciation(unknown))
            choices = " | ".join(sorted(self._phrases))
            decoder.listen_for(f"#JSGF V1.0;\ngrammar g;\npublic <phrase> = {choices};\n")
            self._decoder = decoder
        return self._decoder


def _at_16_khz(frame: rtc.AudioFrame) -> bytes:
    if frame.sample_rate == RATE and frame.num_channels == 1:
        return frame.data.tobytes()
    resampler = rtc.AudioResampler(frame.sample_rate, RATE, num_channels=frame.num_channels)
    frames = [*resampler.push(frame), *resampler.flush()]
    if not frames:
        return b""
    return rtc.combine_audio_frames(frames).data.tobytes()
