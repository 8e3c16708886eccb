"""
What the user has really heard of the agent: planned words, audio made, audio played, kept per segment.

A *segment* is one stretch of text that is spoken in one piece: a speech has several when a tool is called in
between. Right with captions on and off, because the words are counted from the audio that was played.
"""

import time
from dataclasses import dataclass, field
from typing import Literal

TYPICAL_CHARACTERS_PER_SECOND = 15.0
"""Used only while a voice is still being made, when the length of the audio is not known yet."""

HeardPart = Literal["all", "part", "none"]


def heard_prefix(text: str, played_seconds: float, audio_seconds: float) -> str:
    """
    The words of `text` that were over when `played_seconds` of its `audio_seconds` had been played.

    Cut at a word's end, never inside one. Empty when nothing was played.
    """
    if audio_seconds <= 0 or played_seconds <= 0:
        return ""
    if played_seconds >= audio_seconds - 0.02:
        return text
    limit = int(len(text) * played_seconds / audio_seconds)
    if limit >= len(text):
        return text
    end = limit if text[limit].isspace() else text.rfind(" ", 0, limit)
    return text[: max(end, 0)].rstrip()


@dataclass
class Segment:
    """One stretch of agent speech."""

    id: str
    agent: str
    created_at: float
    """When it was planned; this and the two below in seconds of `time.monotonic`, as loops count."""
    text: str = ""
    """What was planned to be said, as far as it is known."""
    audio_seconds: float = 0.0
    """Length of the audio made so far."""
    complete: bool = False
    """Whether all audio has been made."""
    started: float | None = None
    """When playing began."""
    ended_at: float | None = None
    played_seconds: float | None = None
    """How much was played, once that is over."""
    interrupted: bool = False
    to_nobody: bool = False
    """Whether the user was away when playing began."""
    item_id: str | None = None
    said: str | None = None
    """The library's own account of the words heard, which knows aligned captions; None: it has none."""

    def words(self, now: float) -> str:
        """The words heard up to now."""
        if self.started is None:
            return ""
        played = self.played_seconds if self.played_seconds is not None else now - self.started
        whole = self.audio_seconds
        if not self.complete:
            whole = max(whole, len(self.text) / TYPICAL_CHARACTERS_PER_SECOND)
        return heard_prefix(self.text, min(played, self.audio_seconds), whole)


def part_heard(heard: str, planned: str) -> HeardPart:
    """How much of a plan was heard."""
    if not heard.strip():
        return "none"
    return "all" if len(heard.split()) >= len(planned.split()) else "part"


@dataclass
class Heard:
    """The segments of a session that are not committed yet, in the order in which they were planned."""

    segments: list[Segment] = field(default_factory=list)
    _count: int = 0

    def plan(self, speech_id: str, agent: str) -> Segment:
        """A new segment of this speech."""
        self._count += 1
        segment = Segment(f"{speech_id}/{self._count}", agent, time.monotonic())
        self.segments.append(segment)
        return segment

    def of(self, speech_id: str) -> Segment | None:
        """The segment of this speech that is not committed yet, the earliest one."""
        return next((s for s in self.segments if s.id.rpartition("/")[0] == speech_id), None)

    def latest(self, speech_id: str) -> Segment | None:
        """The segment of this speech that was planned last."""
        return next((s for s in reversed(self.segments) if s.id.rpartition("/")[0] == speech_id), None)

    def playing(self) -> Segment | None:
        """The segment that is being played now."""
        return next((s for s in self.segments if s.started is not None and s.played_seconds is None), None)

    def newest(self) -> Segment | None:
        """The segment that was planned last; without a voice the one that is being written."""
        return self.segments[-1] if self.segments else None

    def playback_started(self, now: float, *, to_nobody: bool = False) -> None:
        """The next segment in line is being played; to nobody while the user is away."""
        if (
            segment := next((s for s in self.segments if s.started is None and s.audio_seconds), None)
        ) is None:
            segment = next((s for s in self.segments if s.started is None), None)
        if segment is not None:
            segment.started = now
            segment.to_nobody = to_nobody

    def playback_finished(self, position: float, *, interrupted: bool) -> None:
        """The segment that was being played is over."""
        if (segment := self.playing()) is not None:
            segment.played_seconds = position
            segment.ended_at = time.monotonic()
            segment.interrupted = interrupted

    def forget(self, segment: Segment) -> None:
        """This segment is in the journal for good."""
        if segment in self.segments:
            self.segments.remove(segment)
