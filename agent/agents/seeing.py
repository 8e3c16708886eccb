"""
What agents see of their user: the newest picture of the camera and of the shared screen.

A track is received only while an agent has the floor whose modality wants it. It stays subscribed meanwhile
and is switched off at LiveKit: over two peer connections a track that was given back and is asked for again
mostly brings no pictures (livekit 1.1.21). What no agent of the session wants is given back for good.
Pictures go to the language model with the user's words, one of each source per answer; they are kept nowhere.
"""

import asyncio
import base64
from fractions import Fraction
from typing import Any, Final

import av
from livekit import rtc
from livekit.agents import llm

from agent import library
from config_store.personas import MODALITY_PARTS
from config_store.schema import SessionConfig

LONGEST_SIDE = 1024
"""Pixels; larger pictures are made smaller, which loses no word of a shared screen and saves tokens."""
SOURCES: Final = {
    "camera": rtc.TrackSource.SOURCE_CAMERA,
    "screenshare": rtc.TrackSource.SOURCE_SCREENSHARE,
}
"""Parts of a modality that are pictures, and the tracks that carry them."""


def wanted_by(config: SessionConfig, agent: str) -> frozenset[int]:
    """The sources of the pictures that an agent wants: its own modality counts, else the session's."""
    modality = config.agents[agent].modality or config.modality_profile
    return frozenset(SOURCES[part] for part in MODALITY_PARTS[modality] & SOURCES.keys())


class Eyes:
    """
    The eyes of one session.

    Args:
        room: The room, connected.
        config: The session's config.
    """

    def __init__(self, room: rtc.Room, config: SessionConfig) -> None:
        self._room = room
        self._config = config
        self._user: str | None = None
        self._wanted: frozenset[int] = frozenset()
        self._newest: dict[int, rtc.VideoFrame] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._ever_wanted = frozenset[int]().union(*(wanted_by(config, agent) for agent in config.agents))
        if self._ever_wanted:
            room.on("track_subscribed", self._on_track)
            room.on("track_unsubscribed", self._on_track_gone)

    def follow(self, user: str) -> None:
        """This participant is the user: nobody else is looked at."""
        self._user = user
        self._choose()

    def look(self, agent: str) -> None:
        """This agent has the floor: receive what it wants, and nothing else."""
        self._wanted = wanted_by(self._config, agent)
        self._choose()

    async def pictures(self) -> list[llm.ImageContent]:
        """The newest pictures, as JPEG in data URLs; none while nothing is shown or wanted."""
        frames = [self._newest[source] for source in sorted(self._newest) if source in self._wanted]
        return [llm.ImageContent(image=await asyncio.to_thread(data_url, frame)) for frame in frames]

    async def aclose(self) -> None:
        """See nothing any more."""
        if not self._ever_wanted:
            return
        self._room.off("track_subscribed", self._on_track)
        self._room.off("track_unsubscribed", self._on_track_gone)
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    def _choose(self) -> None:
        if not self._ever_wanted:
            return  # what the modality profile leaves out is refused for the whole room
        for participant in self._room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.kind == rtc.TrackKind.KIND_VIDEO:
                    self._receive(publication.track, publication, participant)

    def _on_track(self, track: Any, publication: Any, participant: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            self._receive(track, publication, participant)

    def _receive(self, track: Any, publication: Any, participant: rtc.RemoteParticipant) -> None:
        """Receive this track, or not, as it is wanted now."""
        may_be_user = self._user in (None, participant.identity)
        if not may_be_user or publication.source not in self._ever_wanted:
            publication.set_subscribed(False)
            return
        if track is None:
            return  # LiveKit subscribes by itself; this is asked again then
        wanted = participant.identity == self._user and publication.source in self._wanted
        library.switch(publication, wanted)
        if not wanted:
            self._on_track_gone(track, publication, participant)
        elif publication.sid not in self._reading:
            self._reading[publication.sid] = asyncio.create_task(
                self._read(track, publication.source), name="eyes"
            )

    def _on_track_gone(self, _track: Any, publication: Any, _participant: Any) -> None:
        if (task := self._reading.pop(publication.sid, None)) is not None:
            task.cancel()

    async def _read(self, track: rtc.Track, source: int) -> None:
        stream = rtc.VideoStream.from_track(track=track, format=rtc.VideoBufferType.I420, capacity=1)
        try:
            async for event in stream:
                self._newest[source] = event.frame
        finally:
            self._newest.pop(source, None)
            await stream.aclose()


def shown(context: llm.ChatContext, pictures: list[llm.ImageContent]) -> llm.ChatContext:
    """The conversation with these pictures beside the user's last words; the same one without pictures."""
    last = max(
        (n for n, item in enumerate(context.items) if item.type == "message" and item.role == "user"),
        default=None,
    )
    if not pictures or last is None:
        return context
    copy = context.copy()
    words: Any = copy.items[last]
    copy.items[last] = words.model_copy(update={"content": [*words.content, *pictures]})
    return copy


def data_url(frame: rtc.VideoFrame) -> str:
    """A frame (I420) as JPEG in a data URL, its longest side at most `LONGEST_SIDE`."""
    planes = av.VideoFrame(frame.width, frame.height, "yuv420p")
    data = bytes(frame.data)
    at = 0
    for number, plane in enumerate(planes.planes):
        width = frame.width if number == 0 else (frame.width + 1) // 2
        height = frame.height if number == 0 else (frame.height + 1) // 2
        size = width * height
        rows = (data[at + row * width : at + (row + 1) * width] for row in range(height))
        plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
        at += size
    scale = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    width, height = (max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height))
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1)
    picture = planes.reformat(width=width, height=height, format="yuvj420p")
    jpeg = b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
