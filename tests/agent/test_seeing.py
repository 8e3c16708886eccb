"""Which pictures an agent receives, and how they reach its language model."""

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any, cast

import av
import numpy as np
import pytest
from livekit import rtc
from livekit.agents import llm

from agent import library
from agent.agents.seeing import LONGEST_SIDE, Eyes, data_url, shown
from config_store.schema import SessionConfig

CAMERA, SCREEN = rtc.TrackSource.SOURCE_CAMERA, rtc.TrackSource.SOURCE_SCREENSHARE


class Publication:
    """A track in the room, and whether it was asked for."""

    def __init__(self, source: int) -> None:
        self.kind = rtc.TrackKind.KIND_VIDEO
        self.source = source
        self.sid = f"TR_{source}"
        self.track: Any = None
        self.is_on: list[bool] = []
        self.given_back = False

    def set_subscribed(self, subscribed: bool) -> None:
        assert not subscribed, "a track that was given back is not asked for again"
        self.given_back = True


class Person:
    """A participant with a camera and a shared screen."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.camera, self.screen = Publication(CAMERA), Publication(SCREEN)
        self.track_publications = {"c": self.camera, "s": self.screen}


class Room:
    """A room with a user and an observer."""

    def __init__(self) -> None:
        self.user, self.other = Person("user"), Person("other")
        self.remote_participants = {"user": self.user, "other": self.other}
        self.handlers: dict[str, Callable[..., None]] = {}

    def on(self, event: str, handler: Callable[..., None]) -> None:
        self.handlers[event] = handler

    def off(self, event: str, handler: Callable[..., None]) -> None:
        assert self.handlers.pop(event) == handler


def config(profile: str, **modalities: str) -> SessionConfig:
    agents = {name: {"modality": modality} for name, modality in modalities.items()}
    return SessionConfig.model_validate({"modality_profile": profile, "agents": {"plain": {}, **agents}})


@pytest.fixture(autouse=True)
def switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit's switch of a track, noted with the track."""
    monkeypatch.setattr(library, "switch", lambda publication, on: publication.is_on.append(on))


async def test_tracks_follow_the_agent_that_has_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen is received while an agent that wants it talks, and off for the next; others' never."""
    monkeypatch.setattr(Eyes, "_read", lambda *_: asyncio.Event().wait())
    room = Room()
    for publication in (room.user.screen, room.user.camera):
        publication.track = type("Track", (), {"kind": rtc.TrackKind.KIND_VIDEO})()
    eyes = Eyes(
        cast(Any, room), config("audio_camera_screenshare", seer="audio_screenshare", listener="audio_only")
    )
    eyes.follow("user")
    for agent in ("seer", "listener", "plain"):
        eyes.look(agent)

    assert room.user.screen.is_on == [False, True, False, True]
    assert room.user.camera.is_on == [False, False, False, True]
    assert not room.user.screen.given_back
    assert room.other.screen.given_back
    assert room.other.camera.given_back
    assert room.other.screen.is_on + room.other.camera.is_on == []
    await eyes.aclose()
    assert room.handlers == {}


async def test_a_track_that_no_agent_wants_is_given_back() -> None:
    """LiveKit subscribes by itself; what nobody in the session wants is given back at once."""
    room = Room()
    eyes = Eyes(cast(Any, room), config("audio_screenshare"))
    eyes.look("plain")
    eyes.follow("user")
    track = type("Track", (), {"kind": rtc.TrackKind.KIND_VIDEO})()
    room.user.camera.given_back = False
    room.handlers["track_subscribed"](track, room.user.camera, room.user)

    assert room.user.camera.given_back
    await eyes.aclose()


async def test_a_session_without_pictures_has_no_eyes() -> None:
    """With audio alone nothing is listened for."""
    room = Room()
    eyes = Eyes(cast(Any, room), config("audio_only"))
    eyes.follow("user")

    assert room.handlers == {}
    assert await eyes.pictures() == []
    await eyes.aclose()


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1921, 1081), (321, 241)])
def test_a_frame_becomes_a_jpeg_of_bounded_size(width: int, height: int) -> None:
    """Odd sizes too; a large picture is made smaller, and the colours stay."""
    half = ((width + 1) // 2) * ((height + 1) // 2)
    red = bytes([81]) * (width * height) + bytes([90]) * half + bytes([240]) * half
    url = data_url(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, red))
    with av.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))) as jpeg:
        picture = next(jpeg.decode(video=0)).to_ndarray(format="rgb24")

    assert max(picture.shape) <= LONGEST_SIDE
    assert picture.shape[1] / picture.shape[0] == pytest.approx(width / height, rel=0.02)
    assert (picture[:, :, 0].mean() > 200) & (np.max(picture[:, :, 1:].mean(axis=(0, 1))) < 60)


def test_pictures_go_with_the_last_words_and_are_kept_nowhere() -> None:
    """The conversation itself stays as it was; without the user's words no picture is sent."""
    context = llm.ChatContext.empty()
    picture = llm.ImageContent(image="data:image/jpeg;base64,")
    assert shown(context, [picture]) is context
    for role, text in (("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")):
        context.add_message(role=cast(Any, role), content=text)
    items = shown(context, [picture]).items

    assert [len(cast(Any, item).content) for item in items] == [1, 1, 2, 1]
    assert [len(cast(Any, item).content) for item in context.items] == [1, 1, 1, 1]
