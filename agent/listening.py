"""
Hearing everybody in the room: their microphones mixed into one input, and who of them speaks.

livekit's own input follows one participant. Here each standard or SIP participant's microphone is read and
mixed as it comes, without waiting for a clock of its own: a block goes out when everybody has one, or when
somebody has two, so that one whose audio stalls delays the others by one block at most.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from livekit import rtc
from livekit.agents.voice.io import AudioInput

from agent.people import USER_KINDS
from config_store.schema import SessionConfig

LISTENING_RATE = 16_000
"""Hz; the voice detector's own rate, and that of speech recognizers."""
REALTIME_RATE = 24_000
"""Hz; what speech-to-speech models take."""
BLOCK_SECONDS = 0.05
"""Length of the frames that go out; livekit's own input uses the same."""
REMEMBERED_SECONDS = 60.0
"""How long it is known who spoke; a turn is shorter."""
DETECTED_SECONDS = 0.5
"""How long before the detector says so a voice may have begun."""
FLOOR = 100.0
"""Root mean square (16 bit) below which a microphone counts as silent: room noise, not a voice."""

Samples = npt.NDArray[np.int16]


def listening_rate(config: SessionConfig) -> int:
    """The sample rate at which a session listens, in Hz."""
    realtime = any(config.models_for(name).realtime for name in config.agents)
    return REALTIME_RATE if realtime else LISTENING_RATE


class Mix:
    """
    Adds up what several microphones bring, block by block. Pure: no time, no audio library.

    Args:
        block: Length of a block in samples.
    """

    def __init__(self, block: int) -> None:
        self._block = block
        self._waiting: dict[str, Samples] = {}

    def join(self, name: str) -> None:
        """A microphone opens."""
        self._waiting.setdefault(name, np.empty(0, np.int16))

    def leave(self, name: str) -> None:
        """A microphone is gone; what was less than a block is dropped."""
        self._waiting.pop(name, None)

    def add(self, name: str, samples: Samples) -> list[tuple[Samples, dict[str, float]]]:
        """What can go out now that this came: blocks, and how loud each microphone is in them."""
        self.join(name)
        self._waiting[name] = np.concatenate((self._waiting[name], samples))
        ready = []
        while self._is_due():
            parts = {who: waiting[: self._block] for who, waiting in self._waiting.items()}
            self._waiting = {who: waiting[self._block :] for who, waiting in self._waiting.items()}
            total = np.zeros(self._block, np.int32)
            for part in parts.values():
                total[: len(part)] += part
            loud = {who: _loudness(part) for who, part in parts.items()}
            ready.append((np.clip(total, -32768, 32767).astype(np.int16), loud))
        return ready

    def _is_due(self) -> bool:
        lengths = [len(waiting) for waiting in self._waiting.values()]
        return min(lengths) >= self._block or max(lengths) >= 2 * self._block


def _loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


class Speakers:
    """Who spoke when, by loudness; times are seconds of one clock that the caller chooses."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[float, dict[str, float]]] = deque()

    def note(self, at: float, loud: dict[str, float]) -> None:
        """How loud everybody was just before this time."""
        heard = {who: level for who, level in loud.items() if level >= FLOOR}
        if heard:
            self._blocks.append((at, heard))
        while self._blocks and self._blocks[0][0] < at - REMEMBERED_SECONDS:
            self._blocks.popleft()

    def loudest(self, start: float, end: float) -> str | None:
        """Who said most between two times; None when nobody was heard."""
        sums: dict[str, float] = {}
        for at, heard in self._blocks:
            if start <= at <= end + BLOCK_SECONDS:
                for who, level in heard.items():
                    sums[who] = sums.get(who, 0.0) + level
        return max(sums, key=sums.__getitem__, default=None)


class Ears(AudioInput):
    """
    The audio input of a session that listens to all.

    Args:
        room: The room, connected.
        rate: Sample rate of what goes out, in Hz.
        is_open: Whether anybody is heard at the moment; what is said meanwhile is dropped.
    """

    def __init__(self, room: rtc.Room, rate: int, is_open: Callable[[], bool]) -> None:
        super().__init__(label="everybody")
        self.speakers = Speakers()
        self.speaker: str | None = None
        """Whose words the last ones were."""
        self._voice_at = 0.0
        self._room = room
        self._rate = rate
        self._is_open = is_open
        self._mix = Mix(int(rate * BLOCK_SECONDS))
        self._attached = True
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._people: dict[str, str] = {}  # identities by the id of their track
        room.on("track_subscribed", self._on_track)
        room.on("track_unsubscribed", self._on_track_gone)
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.track is not None:
                    self._on_track(publication.track, publication, participant)

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    def on_attached(self) -> None:
        """The session listens."""
        self._attached = True

    def on_detached(self) -> None:
        """The session does not listen; what is said meanwhile is dropped."""
        self._attached = False

    def voice_began(self) -> None:
        """The detector hears a voice: words that come now belong to who speaks from here on."""
        self._voice_at = time.time() - DETECTED_SECONDS

    def other_speaker(self) -> str | None:
        """Who says these words, when it is somebody else than before; None: the same, or not known."""
        found = self.speakers.loudest(self._voice_at, time.time())
        if found is None or found == self.speaker:
            return None
        self.speaker = found
        return found

    async def aclose(self) -> None:
        """Hear nobody any more."""
        self._room.off("track_subscribed", self._on_track)
        self._room.off("track_unsubscribed", self._on_track_gone)
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    def _on_track(self, track: Any, publication: Any, participant: rtc.RemoteParticipant) -> None:
        is_voice = publication.source == rtc.TrackSource.SOURCE_MICROPHONE
        if not is_voice or participant.kind not in USER_KINDS or publication.sid in self._reading:
            return
        self._people[publication.sid] = participant.identity
        task = asyncio.create_task(self._read(track, publication.sid), name="ears")
        self._reading[publication.sid] = task

    def _on_track_gone(self, _track: Any, publication: Any, _participant: rtc.RemoteParticipant) -> None:
        if (task := self._reading.pop(publication.sid, None)) is not None:
            task.cancel()

    async def _read(self, track: rtc.Track, name: str) -> None:
        stream = rtc.AudioStream.from_track(
            track=track, sample_rate=self._rate, num_channels=1, frame_size_ms=int(BLOCK_SECONDS * 1000)
        )
        self._mix.join(name)
        try:
            async for event in stream:
                samples = np.frombuffer(event.frame.data, dtype=np.int16)
                for block, loud in self._mix.add(name, samples):
                    self._send(block, loud)
        finally:
            self._mix.leave(name)
            await stream.aclose()

    def _send(self, block: Samples, loud: dict[str, float]) -> None:
        if self._attached and self._is_open():
            self.speakers.note(time.time(), {self._people[name]: level for name, level in loud.items()})
            self._frames.put_nowait(rtc.AudioFrame(block.tobytes(), self._rate, 1, len(block)))
