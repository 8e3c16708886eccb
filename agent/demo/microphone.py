"""A microphone track that sends 20 ms frames in real time: speech when there is some, silence in between."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from livekit import rtc

from agent.demo.audio import RATE, STEP, Samples

QUEUE_MS = 60
"""How far ahead of real time the track may be filled; short, so that speech starts when it is asked for."""


@dataclass(frozen=True)
class Spoken:
    """Words that left the microphone between two times of `time.monotonic`."""

    text: str
    start: float
    end: float


class Microphone:
    """The audio source of one caller. It never stops: voice detection needs the silence."""

    def __init__(self) -> None:
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
        self.track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        self._waiting: deque[tuple[Samples, str, asyncio.Future[Spoken]]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._closing = False

    def open(self) -> None:
        """Start sending; silence until something is said."""
        self._pump = asyncio.create_task(self._send(), name="microphone")

    async def close(self) -> None:
        """Stop sending; what was not said yet is dropped. Safe to call twice."""
        self._closing = True
        for _, _, done in self._waiting:
            done.cancel()
        if self._pump:
            await self._pump  # at most one frame more: a capture under way must not be cut off
            self._pump = None
            await self._source.aclose()

    async def say(self, samples: Samples, text: str = "") -> Spoken:
        """Send these samples in real time, after what is waiting; returns when the last one has left."""
        done: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()
        self._waiting.append((samples, text, done))
        return await done

    async def _send(self) -> None:
        silence = np.zeros(STEP, dtype=np.int16)
        while not self._closing:
            if not self._waiting:
                await self._capture(silence)  # returns when there is room: this is what keeps real time
                continue
            samples, text, done = self._waiting.popleft()
            start = time.monotonic()
            for offset in range(0, len(samples), STEP):
                if done.cancelled() or self._closing:
                    done.cancel()
                    break
                part = samples[offset : offset + STEP]
                await self._capture(np.pad(part, (0, STEP - len(part))))
            if not done.cancelled():
                done.set_result(Spoken(text, start, time.monotonic()))

    async def _capture(self, samples: Samples) -> None:
        await self._source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples)))
