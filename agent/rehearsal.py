"""
A rehearsal: one whole turn without a room, played in the fork server before job processes fork from it.

What a first call makes and every later one keeps (compiled patterns, caches, imported modules, tables of the
VAD, the hyphenator of the captions) is then made once and shared by all jobs: a job has a third less memory
of its own, and its first words wait for none of it. Nothing of the turn may stay: no thread, no event loop
and not the runtime of the native library, which does not survive a fork. `left_behind` says if something did.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import threading
import time
from typing import Any, cast

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentSession, TurnHandlingOptions, llm, stt, tts
from livekit.agents.voice import io
from livekit.agents.voice.transcription import TranscriptSynchronizer

from agent.providers import registry
from agent.providers.turns import build_vad, turn_handling
from config_store.schema import SessionConfig

RATE = 16_000
"""Hz, of what is heard and said; nothing is resampled, because that needs the native library's runtime."""
FRAME_SECONDS = 0.05
SPEECH_SECONDS = 0.6
PATIENCE_SECONDS = 8.0
"""Longest time in seconds for the whole turn; the fork server must come up without it, too."""

WORDS = "Good morning, this was said to nobody at all."
ANSWER = "So it was, and that is fine."

logger = logging.getLogger(__name__)


async def play(providers: frozenset[str]) -> None:
    """
    Greet, hear a noise, take it for words, answer, close.

    Args:
        providers: Those that bundles use; of the offline ones the real voice and ears take part, all others
            would need a network.
    """
    session: AgentSession[None] = AgentSession(
        stt=_Ears(),
        llm=_Head(),
        tts=_Voice(),
        vad=build_vad(),
        turn_handling=cast(TurnHandlingOptions, turn_handling(_config(), "vad")),
        user_away_timeout=None,
        session_close_transcript_timeout=0.0,
        aec_warmup_duration=None,
    )
    speaker = _Speaker()
    captions = TranscriptSynchronizer(next_in_chain_audio=speaker, next_in_chain_text=_Page())
    session.input.audio = _Microphone()
    session.output.audio = captions.audio_output
    session.output.transcription = captions.text_output
    answered = asyncio.Event()
    session.on("conversation_item_added", lambda event: _seen(event.item, answered))
    try:
        await session.start(Agent(instructions="Answer."), record=False)
        await session.say(WORDS).wait_for_playout()
        await answered.wait()
    finally:
        await session.aclose()
        await captions.aclose()
    if "offline" in providers:
        await _offline()


async def _offline() -> None:
    """The real voice and ears of the offline provider, with the threads they need, which end here."""
    from agent.providers.offline import espeak, sphinx

    models = (registry.build_tts(_config(), None, {}), registry.build_stt(_config(), None, {}))
    voice, ears = models
    try:
        if voice is not None and ears is not None:
            async with voice.synthesize(WORDS) as stream:
                async for _ in stream:
                    pass
            await ears.recognize(_noise(SPEECH_SECONDS))
    finally:
        await registry.close(*models)
        await asyncio.to_thread(espeak.quiesce)
        sphinx.preload()  # these ears took the decoder that was meant for the jobs


def rehearse(providers: frozenset[str]) -> None:
    """
    Play the turn, then leave nothing of it but warm caches. A rehearsal that fails is a slower first call.

    Call it in the main thread of the fork server, before it forks.
    """
    started = time.monotonic()
    level = logging.getLogger("livekit.agents").level
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)
    try:
        asyncio.run(asyncio.wait_for(play(providers), PATIENCE_SECONDS))
    except Exception as exc:  # noqa: BLE001 - whatever it is, calls can be served without
        logger.warning("the rehearsal before the fork failed: %s: %s", type(exc).__name__, exc)
    finally:
        logging.getLogger("livekit.agents").setLevel(level)
    if left := left_behind():
        logger.error("the rehearsal before the fork left something behind: %s", ", ".join(left))
    gc.collect()
    give_back_memory()
    logger.debug("rehearsed in %.2f s", time.monotonic() - started)


def left_behind() -> list[str]:
    """What of this process would not survive a fork: threads by name, the native library's runtime."""
    ended = [t for t in threading.enumerate() if t is not threading.main_thread()]
    for thread in ended:
        thread.join(1.0)  # executors end their threads without waiting for them
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if rtc._ffi_client.FfiClient._instance is not None:
        names.append("the native library's runtime")
    return names


def give_back_memory() -> None:
    """Return what was freed to the system (glibc; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _config() -> SessionConfig:
    """The least bundle there is."""
    return SessionConfig.model_validate(
        {
            "target_language": "en-US",
            "models": {
                "stt": {"provider": "offline", "options": {"phrases": ["hello there"]}},
                "llm": {"provider": "offline"},
                "tts": {"provider": "offline"},
            },
            "turn_taking": {"min_delay": 0.05, "max_delay": 0.1},
            "agents": {"one": {"instructions": "Answer."}},
            "initial_agent": "one",
        }
    )


def _noise(seconds: float) -> rtc.AudioFrame:
    """Something that the voice detector takes for speech: a buzz with the rhythm of syllables."""
    t = np.arange(int(RATE * seconds)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * n * t) / n for n in range(1, 24))
    samples = (6000 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))).astype(np.int16)
    return rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))


def _seen(item: Any, answered: asyncio.Event) -> None:
    if isinstance(item, llm.ChatMessage) and item.role == "assistant" and item.text_content == ANSWER:
        answered.set()


class _Microphone(io.AudioInput):
    """Silence, a noise, silence, in real time."""

    def __init__(self) -> None:
        super().__init__(label="rehearsal")
        size = int(RATE * FRAME_SECONDS)
        noise = bytes(_noise(SPEECH_SECONDS).data.cast("b"))
        silence = bytes(2 * size)
        parts = [noise[at : at + 2 * size] for at in range(0, len(noise), 2 * size)]
        self._frames = iter([*[silence] * 4, *parts, *[silence] * 200])
        self._size = size

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(FRAME_SECONDS / 2)
        part = next(self._frames, None)
        if part is None:
            await asyncio.Event().wait()
        return rtc.AudioFrame(part or b"", RATE, 1, self._size)


class _Speaker(io.AudioOutput):
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


class _Page(io.TextOutput):
    """Captions that nobody reads."""

    def __init__(self) -> None:
        super().__init__(label="rehearsal", next_in_chain=None)

    async def capture_text(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class _Ears(stt.STT[Any]):
    """Hears the same words in everything."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=cast(Any, "en"), text="hello there")],
        )


class _Head(llm.LLM[Any]):
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


class _Voice(tts.TTS[Any]):
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
        output_emitter.push(bytes(_noise(1.6).data.cast("b")))
        output_emitter.flush()
