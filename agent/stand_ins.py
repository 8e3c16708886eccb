"""
Stand-ins for a room and for providers: what a rehearsed turn is heard with, said with and answered by.

None of them uses the network, a thread or the native library's runtime.
"""

import asyncio
import time
from typing import Any, cast

import numpy as np
from livekit import rtc
from livekit.agents import llm, stt, tts
from livekit.agents.voice import io

RATE = 16_000
"""Hz, of what is heard and said; nothing is resampled, because that needs the native library's runtime."""
FRAME_SECONDS = 0.05
SPEECH_SECONDS = 0.6
ANSWER_SECONDS = 1.6
"""Longer than the window in which the captions estimate the rate of speech."""

WORDS = "Good morning, this was said to nobody at all."
ANSWER = "So it was, and that is fine."


def noise(seconds: float) -> rtc.AudioFrame:
    """Something that the voice detector takes for speech: a buzz with the rhythm of syllables."""
    t = np.arange(int(RATE * seconds)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * n * t) / n for n in range(1, 24))
    samples = (6000 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))).astype(np.int16)
    return rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))


class NoRoom:
    """A room that is never connected: nothing is sent, nobody comes."""

    remote_participants: dict[str, Any] = {}  # noqa: RUF012 - as on a real room, and always empty

    def on(self, *_: Any) -> None:
        """Nothing ever happens here."""

    def off(self, *_: Any) -> None:
        """As above."""

    def register_text_stream_handler(self, *_: Any) -> None:
        """Nobody writes."""

    def isconnected(self) -> bool:
        """Never."""
        return False


class NoJob:
    """A job in that room."""

    room = NoRoom()


class Microphone(io.AudioInput):
    """Silence, a noise, silence, ten times as fast as they would sound."""

    def __init__(self) -> None:
        super().__init__(label="rehearsal")
        size = int(RATE * FRAME_SECONDS)
        sound = bytes(noise(SPEECH_SECONDS).data.cast("b"))
        silence = bytes(2 * size)
        parts = [sound[at : at + 2 * size] for at in range(0, len(sound), 2 * size)]
        self._frames = iter([*[silence] * 4, *parts, *[silence] * 200])
        self._size = size

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(FRAME_SECONDS / 10)
        part = next(self._frames, None)
        if part is None:
            await asyncio.Event().wait()
        return rtc.AudioFrame(part or b"", RATE, 1, self._size)


class Speaker(io.AudioOutput):
    """Plays nothing, and reports that it was played."""

    def __init__(self) -> None:
        super().__init__(
            label="rehearsal", sample_rate=RATE, capabilities=io.AudioOutputCapabilities(pause=True)
        )
        self._seconds = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._seconds:
            self.on_playback_started(created_at=time.time())
        self._seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._seconds:
            seconds, self._seconds = self._seconds, 0.0
            asyncio.get_running_loop().call_later(
                0.05, lambda: self.on_playback_finished(playback_position=seconds, interrupted=False)
            )

    def clear_buffer(self) -> None:
        if self._seconds:
            seconds, self._seconds = self._seconds, 0.0
            self.on_playback_finished(playback_position=seconds, interrupted=True)


class Page(io.TextOutput):
    """Captions that nobody reads."""

    def __init__(self) -> None:
        super().__init__(label="rehearsal", next_in_chain=None)

    async def capture_text(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class Ears(stt.STT[Any]):
    """Hears the same words in everything."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=cast(Any, "en"), text="hello there")],
        )


class Head(llm.LLM[Any]):
    """Has one answer."""

    def chat(self, **given: Any) -> llm.LLMStream:
        return _Answer(
            self,
            chat_ctx=given["chat_ctx"],
            tools=given.get("tools") or [],
            conn_options=given["conn_options"],
        )


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        for word in (ANSWER[:5], ANSWER[5:]):
            self._event_ch.send_nowait(
                llm.ChatChunk(id="r", delta=llm.ChoiceDelta(role="assistant", content=word))
            )


class Voice(tts.TTS[Any]):
    """Says everything in one noise."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(self, text: str, **given: Any) -> tts.ChunkedStream:
        return _Noise(tts=self, input_text=text, conn_options=given["conn_options"])


class _Noise(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id="r", sample_rate=RATE, num_channels=1, mime_type="audio/pcm", stream=False
        )
        output_emitter.push(bytes(noise(ANSWER_SECONDS).data.cast("b")))
        output_emitter.flush()
