"""
Speech without a network: eSpeak NG through ctypes.

The library is one engine per process with global state, so one thread owns it and every utterance sets
all its parameters. The thread starts with the first utterance and `quiesce` ends it, so that a process
may warm the engine up and fork afterwards; the engine itself starts no threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from livekit.agents import APIConnectionError, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions

from agent.providers.offline.voices import DEFAULT_VOICE, voice_file

SAMPLE_RATE = 22050
"""What the engine speaks at, in Hz."""

# From espeak's speak_lib.h: audio to the callback, no exit() on errors, text in UTF-8.
_TO_CALLBACK, _NO_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4
_WORDS_PER_MINUTE = 175
_BUFFER_MS = 200

_Sink = Callable[[bytes], bool]
"""Takes 16-bit PCM; True to go on, False to stop speaking."""


@dataclass(frozen=True)
class Voice:
    """How an utterance sounds."""

    name: str = DEFAULT_VOICE
    """A language, with a variant if wanted: `en-us`, `en-gb+f3`."""
    pace: float = 1.0
    """1.0 is 175 words per minute. The engine keeps to it between 0.46 and 3.0, within 5 %."""
    pitch: float = 0.0
    """-1 to 1; 0 is the voice's own."""


class _Engine:
    """The one engine of this process. `speak` may be called from any thread; utterances queue."""

    def __init__(self) -> None:
        self._lib: ctypes.CDLL | None = None
        self._callback: object = None
        self._sink: _Sink = lambda _: False
        self._thread: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    def submit(self, text: str, voice: Voice, sink: _Sink) -> asyncio.Future[None]:
        """Speaks `text` in the engine's thread; the future is done when all audio went to `sink`."""
        with self._starting:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="espeak")
        return asyncio.wrap_future(self._thread.submit(self._speak, text, voice, sink))

    def quiesce(self) -> None:
        """Waits for what is being spoken and ends the thread; the next utterance starts another one."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True)

    def forget_thread(self) -> None:
        """After a fork the child has the engine but not its thread."""
        self._thread = None
        self._starting = threading.Lock()

    def _speak(self, text: str, voice: Voice, sink: _Sink) -> None:
        lib = self.load()
        self._sink = sink
        if lib.espeak_SetVoiceByName(voice_file(voice.name).encode()) != 0:
            raise ValueError(f"the offline voice {voice.name!r} cannot be loaded")
        for parameter, value in (
            (_RATE, _WORDS_PER_MINUTE * voice.pace),
            (_VOLUME, 100),
            (_PITCH, 50 + 50 * voice.pitch),
            (_PITCH_RANGE, 50),
        ):
            lib.espeak_SetParameter(parameter, round(value), 0)
        encoded = text.encode()
        lib.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)

    def load(self) -> ctypes.CDLL:
        """The library, initialized; starts no thread."""
        if self._lib is None:
            import espeakng_loader

            lib = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path().encode()
            rate = lib.espeak_Initialize(_TO_CALLBACK, _BUFFER_MS, data, _NO_EXIT)
            if rate != SAMPLE_RATE:
                raise RuntimeError(f"eSpeak NG did not start: espeak_Initialize answered {rate}")
            kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
            self._callback = kind(self._take)  # kept: the engine holds only the pointer
            lib.espeak_SetSynthCallback(self._callback)
            self._lib = lib
        return self._lib

    def _take(self, samples: int | None, count: int, _events: int | None) -> int:
        if not samples or not count:
            return 0
        return 0 if self._sink(ctypes.string_at(samples, count * 2)) else 1


_engine = _Engine()
os.register_at_fork(after_in_child=_engine.forget_thread)


def preload() -> None:
    """
    Loads the engine and its data in the calling thread, for the processes that fork off afterwards.

    Raises:
        OSError: The library cannot be loaded.
    """
    _engine.load()


def quiesce() -> None:
    """
    Ends the engine's thread, if there is one, and waits for it.

    To be called before a fork by a process that has spoken; forgetting it would leave the child an engine
    in the middle of an utterance.
    """
    _engine.quiesce()


class EspeakTTS(tts.TTS[Any]):
    """
    eSpeak NG as a text-to-speech model.

    Raises:
        ValueError: There is no such voice; names it and the nearest one.
    """

    def __init__(self, *, voice: str = DEFAULT_VOICE, pace: float = 1.0, pitch: float = 0.0) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=SAMPLE_RATE, num_channels=1
        )
        voice_file(voice)
        self._voice = Voice(voice, pace, pitch)

    @property
    def model(self) -> str:
        """For usage and metrics."""
        return "espeak-ng"

    @property
    def provider(self) -> str:
        """For usage and metrics."""
        return "offline"

    @property
    def voice(self) -> Voice:
        """What the next utterance will sound like."""
        return self._voice

    def update_options(
        self, *, voice: str | None = None, pace: float | None = None, pitch: float | None = None
    ) -> None:
        """
        Changes the voice from the next utterance on; None leaves a value as it is.

        Raises:
            ValueError: There is no such voice.
        """
        if voice is not None:
            voice_file(voice)
        self._voice = replace(
            self._voice,
            name=self._voice.name if voice is None else voice,
            pace=self._voice.pace if pace is None else pace,
            pitch=self._voice.pitch if pitch is None else pitch,
        )

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """One utterance, in the voice of this moment."""
        return _Utterance(self, text, conn_options)


class _Utterance(tts.ChunkedStream):
    def __init__(self, espeak: EspeakTTS, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=espeak, input_text=text, conn_options=conn_options)
        self._spoken_by = espeak.voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid("espeak_"),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
        )
        loop = asyncio.get_running_loop()
        stop = threading.Event()

        def sink(pcm: bytes) -> bool:
            try:
                if not stop.is_set():
                    loop.call_soon_threadsafe(output_emitter.push, pcm)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return False
            return not stop.is_set()

        try:
            await _engine.submit(self.input_text, self._spoken_by, sink)
        except OSError as exc:
            raise APIConnectionError(f"eSpeak NG cannot be loaded: {exc}") from None
        finally:
            stop.set()  # an interrupted utterance ends at the engine's next buffer
        # every push was scheduled before the engine's future was done, so all of it is in by now
        await asyncio.sleep(0)
        output_emitter.flush()
