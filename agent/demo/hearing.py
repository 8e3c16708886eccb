"""What a caller heard: 16 kHz mono audio on the clock of `time.monotonic`, track by track."""

from dataclasses import dataclass, field

import numpy as np

from agent.demo.audio import PAUSE_SECONDS, RATE, STEP, Samples, is_speech

LOST_CLOCK_SECONDS = 1.0
"""A track that is this far behind real time had a gap; what follows is heard when it arrives."""


@dataclass(frozen=True)
class Utterance:
    """Somebody spoke between two times of `time.monotonic`, without a pause of 0.3 s."""

    identity: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.start


@dataclass
class _Stretch:
    """Audio of one participant without a gap; its first sample was heard at `start`."""

    identity: str
    start: float
    data: bytearray = field(default_factory=bytearray)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Speech so far as (first, past the last) step; kept as it comes: it is asked for with every frame."""
    steps: int = 0
    """Whole steps that have been looked at."""

    @property
    def end(self) -> float:
        return self.start + len(self.data) / 2 / RATE

    def add(self, pcm: bytes) -> None:
        self.data += pcm
        size = 2 * STEP
        while len(self.data) >= (self.steps + 1) * size:
            step = np.frombuffer(
                bytes(self.data[self.steps * size : (self.steps + 1) * size]), dtype=np.int16
            )
            if is_speech(step):
                if self.spans and (self.steps - self.spans[-1][1]) * STEP / RATE < PAUSE_SECONDS:
                    self.spans[-1] = (self.spans[-1][0], self.steps + 1)
                else:
                    self.spans.append((self.steps, self.steps + 1))
            self.steps += 1


class Hearing:
    """Records of what came from each participant; times are seconds of `time.monotonic`."""

    def __init__(self) -> None:
        self._tracks: dict[str, list[_Stretch]] = {}

    def add(self, track_sid: str, identity: str, pcm: bytes, arrived: float) -> None:
        """
        Take in the next frame of a track.

        Args:
            track_sid: The track.
            identity: Who published it.
            pcm: 16-bit samples, 16 kHz, mono.
            arrived: When the frame was handed to us. Frames come in bursts when this process is busy, so
                it only anchors the clock; within a track the samples themselves count the time.
        """
        stretches = self._tracks.setdefault(track_sid, [])
        if not stretches or arrived - stretches[-1].end > LOST_CLOCK_SECONDS:
            stretches.append(_Stretch(identity, arrived - len(pcm) / 2 / RATE))
        last = stretches[-1]
        last.add(pcm)
        # nothing is heard before it was spoken: a late first frame moves the whole stretch back
        last.start = min(last.start, arrived - len(last.data) / 2 / RATE)

    def between(self, start: float, end: float, identity: str | None = None) -> Samples:
        """
        The audio heard from `start` to `end`, silence where there was none.

        Args:
            start: Seconds of `time.monotonic`.
            end: The same.
            identity: Only what this participant said; None: all, mixed.
        """
        mix = np.zeros(max(0, round((end - start) * RATE)), dtype=np.int32)
        for stretch in self._stretches(identity):
            offset = round((stretch.start - start) * RATE)
            skip, place = max(0, -offset), max(0, offset)
            count = min(len(stretch.data) // 2 - skip, len(mix) - place)
            if count > 0:
                # a copy of the part: a view would forbid the record to grow
                part = bytes(stretch.data[2 * skip : 2 * (skip + count)])
                mix[place : place + count] += np.frombuffer(part, dtype=np.int16)
        return np.clip(mix, -32768, 32767).astype(np.int16)

    def utterances(self, after: float = 0.0, identity: str | None = None) -> list[Utterance]:
        """
        Who spoke when, in order of their start.

        Args:
            after: Seconds of `time.monotonic`; speech under way at this time counts from it.
            identity: Only this participant; None: all.
        """
        step = STEP / RATE
        found = [
            Utterance(stretch.identity, max(after, stretch.start + first * step), stretch.start + past * step)
            for stretch in self._stretches(identity)
            for first, past in stretch.spans
            if stretch.start + past * step > after
        ]
        return sorted(found, key=lambda one: one.start)

    def until(self) -> float:
        """The time of the last sample received; 0 when there is none."""
        return max((stretch.end for stretch in self._stretches(None)), default=0.0)

    def _stretches(self, identity: str | None) -> list[_Stretch]:
        return [one for track in self._tracks.values() for one in track if identity in (None, one.identity)]
