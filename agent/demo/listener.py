"""What reaches one participant of a call, kept as it comes: audio, captions, events, attributes, the end."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from livekit import rtc

from agent.demo.audio import RATE
from agent.demo.hearing import Hearing

EVENTS_TOPIC = "session.events"
WORDS_TOPIC = "lk.transcription"

LOOK_AGAIN = 0.1
"""Seconds after which a condition is looked at even when nothing reached the participant."""

PATIENCE = 3.0
"""How many times longer than expected something may take: busy machines are slow, and waiting is free."""

Found = TypeVar("Found")


class CallerError(Exception):
    """What was waited for did not come; the text says what did."""


@dataclass
class Caption:
    """Words shown to the participant; `text` grows until `final`."""

    identity: str
    """Who spoke: the agent's identity or the participant's own."""
    segment: str
    """Id of the utterance; a later caption with the same one replaces it."""
    at: float
    """`time.monotonic` of the first word."""
    text: str = ""
    final: bool = False


class Listener:
    """
    Keeps what reaches a room's participant, and waits for it.

    Attributes:
        name: For messages.
        room: The rtc room, for anything not covered here.
        hearing: The audio received, see `Hearing`.
        captions: Words shown, in order of their start.
        events: Objects received on `session.events`, in order of arrival.
        attributes: Attributes of the agent that was seen last.
        agents_seen: Identities of agents, in order of arrival (a resumed session has a second one).
        disconnect_reason: Name of LiveKit's reason, such as `ROOM_DELETED`; None while connected.
        joined_at: `time.monotonic` of the connection.
        left_at: `time.monotonic` of its end; None before.
        voice_or_end: Set once somebody's audio is received, and when the connection is over.
    """

    def __init__(self, name: str, on_note: Callable[[str, Any], None] | None = None) -> None:
        self.name = name
        self.room = rtc.Room()
        self.hearing = Hearing()
        self.captions: list[Caption] = []
        self.events: list[dict[str, Any]] = []
        self.attributes: dict[str, str] = {}
        self.agents_seen: list[str] = []
        self.disconnect_reason: str | None = None
        self.joined_at = 0.0
        self.left_at: float | None = None
        self.voice_or_end = asyncio.Event()
        self._note = on_note or (lambda _kind, _what: None)
        self._waiting: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened: list[dict[str, Any]] = []
        self.room.register_text_stream_handler(EVENTS_TOPIC, self._on_event)
        self.room.register_text_stream_handler(
            WORDS_TOPIC, lambda reader, sender: self._keep(self._read_words(reader, sender), "words")
        )
        self.room.on("participant_connected", self._see)
        self.room.on("participant_attributes_changed", lambda _changed, participant: self._see(participant))
        self.room.on("track_subscribed", self._on_track)
        self.room.on("disconnected", self._on_disconnected)

    async def until(self, condition: Callable[[], Found | None], what: str, *, within: float = 10.0) -> Found:
        """
        The first true value of `condition`, looked at whenever something reached this participant, and ten
        times a second for what does not come through the call.

        Args:
            condition: Cheap, without side effects; None and False mean not yet.
            what: For the error: "the handover".
            within: Seconds that it takes at most when the machine has nothing else to do; `PATIENCE` times
                that are waited.

        Raises:
            CallerError: It did not come true; the text says what was heard instead.
        """
        within *= PATIENCE
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(within):
                while not (found := condition()):
                    # not wait_for: before Python 3.12 it swallows a cancellation that comes with the event
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_AGAIN):
                            await changed.wait()
                    changed.clear()
                return found
        except TimeoutError:
            raise CallerError(f"{self.name} waited {within:g} s for {what}; {self.account()}") from None
        finally:
            self._waiting.discard(changed)

    def account(self) -> str:
        """What reached this participant, in one line, for error messages."""
        words = [f"{one.identity}: {one.text!r}" for one in self.captions[-4:]]
        kinds = [str(event.get("type")) for event in self.events]
        heard = [
            f"{one.start - self.joined_at:.1f}-{one.end - self.joined_at:.1f}"
            for one in self.hearing.utterances()
        ]
        return (
            f"{time.monotonic() - self.joined_at:.1f} s after joining: agents {self.agents_seen}, "
            f"speech at {heard[-4:]}, words {words}, events {kinds}, attributes {self.attributes}, "
            f"left: {self.disconnect_reason}"
        )

    async def _stop_listening(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _see_everybody(self) -> None:
        """Those who were in the room before us."""
        for participant in self.room.remote_participants.values():
            self._see(participant)

    def _wake(self) -> None:
        for changed in self._waiting:
            changed.set()

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _see(self, participant: rtc.Participant) -> None:
        if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            return
        if participant.identity not in self.agents_seen:
            self.agents_seen.append(participant.identity)
            self._note("agent", participant.identity)
        if participant.identity == self.agents_seen[-1]:
            self.attributes = dict(participant.attributes)
            self._note("attributes", self.attributes)
        self._wake()

    def _on_track(self, track: rtc.Track, _publication: Any, participant: rtc.RemoteParticipant) -> None:
        if isinstance(track, rtc.RemoteAudioTrack):
            self._see(participant)
            self._keep(self._hear(track, participant.identity), "hearing")
            self.voice_or_end.set()

    async def _hear(self, track: rtc.RemoteAudioTrack, identity: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        try:
            async for event in stream:
                self.hearing.add(track.sid, identity, bytes(event.frame.data), time.monotonic())
                self._wake()
        except asyncio.CancelledError:
            await stream.aclose()  # one that came to its end has closed itself
            raise

    def _on_event(self, reader: rtc.TextStreamReader, _sender: str) -> None:
        event: dict[str, Any] = {}
        self._opened.append(event)  # streams are read at the same time, and the order is that of their start
        self._keep(self._read_event(reader, event), "event")

    async def _read_event(self, reader: rtc.TextStreamReader, event: dict[str, Any]) -> None:
        try:
            event.update(json.loads(await reader.read_all()))
        except rtc.StreamError:
            return  # the sender went away in the middle of it
        self.events = [one for one in self._opened if one]
        self._note("event", event)
        self._wake()

    async def _read_words(self, reader: rtc.TextStreamReader, sender: str) -> None:
        attributes = reader.info.attributes or {}
        segment = attributes.get("lk.segment_id") or reader.info.stream_id
        caption = next(
            (one for one in self.captions if (one.identity, one.segment) == (sender, segment)), None
        )
        if caption is None:
            caption = Caption(identity=sender, segment=segment, at=time.monotonic())
            self.captions.append(caption)
        text = ""
        try:
            async for part in reader:
                text += part
                caption.text = text
                self._wake()
        except rtc.StreamError:
            pass  # the speaker went away in mid-sentence; what was shown stays
        closing = reader.info.attributes or {}
        if not caption.final and closing.get("lk.transcription_final", "true") == "true":
            caption.final = True
            self._note("caption", caption)
        self._wake()

    def _on_disconnected(self, reason: "rtc.DisconnectReason.ValueType") -> None:
        self.disconnect_reason = rtc.DisconnectReason.Name(reason)
        self.voice_or_end.set()
        self.left_at = time.monotonic()
        self._note("left", self.disconnect_reason)
        self._wake()
