"""
Callers: ordinary rtc clients in one process of their own, told what to do line by line over stdin.

They say the same prepared sentence at a steady beat and note when they hear something. Commands:
`call URL TOKEN SPEAKS` (answered with the times of the connection and of the first sound, as JSON),
`join URL TOKEN` (without a microphone, waits for no sound), `next AFTER` (the first sound after a silence
that began then), `hang up`.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc

RATE = 16_000
BEAT_SECONDS = 8.0
"""Each caller speaks once in this time."""
LOUD = 300
"""Peak of a 20 ms step that is sound; silence after Opus stays below 10."""


class OneCall:
    """One caller in one room."""

    def __init__(self, number: int, speech: "np.ndarray[Any, Any]") -> None:
        self.room = rtc.Room()
        self.number = number
        self.speech = speech
        self.connected_at = 0.0
        self.first_sound = asyncio.get_running_loop().create_future()
        self.agent_at: float | None = None
        self.begun_at = 0.0
        self.last_sound = 0.0
        self.gaps: list[tuple[float, float]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.room.on("track_subscribed", self._on_track)
        self.room.on("participant_connected", self._on_participant)

    async def join(self, url: str, token: str, *, speaks: bool) -> None:
        """Connect; with a microphone when it speaks."""
        self.begun_at = time.monotonic()
        await self.room.connect(url, token)
        self.connected_at = time.monotonic()
        for participant in self.room.remote_participants.values():
            self._on_participant(participant)
        if speaks:
            source = rtc.AudioSource(RATE, 1, queue_size_ms=200)
            track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
            await self.room.local_participant.publish_track(
                track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=True)
            )
            self.tasks.append(asyncio.create_task(self._speak(source)))

    def _on_participant(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and self.agent_at is None:
            self.agent_at = time.monotonic()

    async def _speak(self, source: rtc.AudioSource) -> None:
        """The sentence, then silence up to the next beat, in frames of 100 ms: few calls, little cost."""
        size = RATE // 10
        silence = np.zeros(size, dtype=np.int16)
        frames = int(BEAT_SECONDS * 10)
        sentence = np.resize(self.speech, (len(self.speech) // size) * size).reshape(-1, size)
        offset = (self.number * 7) % frames
        while True:
            for step in range(frames):
                at = (step + offset) % frames - 20  # silence first: the greeting is not spoken into
                part = sentence[at] if 0 <= at < len(sentence) else silence
                await source.capture_frame(rtc.AudioFrame(part.tobytes(), RATE, 1, size))

    def _on_track(self, track: rtc.Track, *_: Any) -> None:
        if isinstance(track, rtc.RemoteAudioTrack):
            self.tasks.append(asyncio.create_task(self._hear(track)))

    async def _hear(self, track: rtc.RemoteAudioTrack) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=20)
        async for event in stream:
            samples = np.frombuffer(event.frame.data, dtype=np.int16)
            if samples.size and int(np.abs(samples).max()) > LOUD:
                now = time.monotonic()
                if not self.first_sound.done():
                    self.first_sound.set_result(now)
                if self.last_sound and now - self.last_sound > 0.3:
                    self.gaps.append((self.last_sound, now))
                self.last_sound = now

    async def leave(self) -> None:
        """Hang up."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.room.disconnect()


class Switchboard:
    """Does what stdin says."""

    def __init__(self, speech: "np.ndarray[Any, Any]") -> None:
        self.speech = speech
        self.calls: list[OneCall] = []

    async def do(self, words: list[str]) -> dict[str, Any]:
        """One command; its answer."""
        match words:
            case ["call", url, token, speaks]:
                call = OneCall(len(self.calls), self.speech)
                self.calls.append(call)
                await call.join(url, token, speaks=speaks == "speaks")
                try:
                    heard = await asyncio.wait_for(asyncio.shield(call.first_sound), 12.0)
                except TimeoutError:
                    heard = None
                times = {"begun": call.begun_at, "connected": call.connected_at, "agent": call.agent_at}
                return {**times, "heard": heard}
            case ["join", url, token]:
                call = OneCall(len(self.calls), self.speech)
                self.calls.append(call)
                await call.join(url, token, speaks=False)
                return {"connected": call.connected_at}
            case ["next", after]:
                call = self.calls[-1]
                until = time.monotonic() + 15.0
                while time.monotonic() < until:
                    if found := [gap for gap in call.gaps if gap[0] <= float(after) + 0.25 < gap[1]]:
                        return {"heard": found[0][1]}
                    await asyncio.sleep(0.01)
                return {"heard": None}
            case ["hang", "up"]:
                await asyncio.gather(*(call.leave() for call in self.calls))
                self.calls = []
                return {}
        raise ValueError(words)


async def main(speech: "np.ndarray[Any, Any]") -> None:
    """Serve stdin until it closes."""
    board = Switchboard(speech)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await board.do(line.split())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(np.frombuffer(Path(sys.argv[1]).read_bytes(), dtype=np.int16)))
