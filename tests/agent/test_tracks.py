"""What an agent receives of the media in its room, between two real clients."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from livekit import api, rtc

from agent.services.livekit_server import LiveKitServer
from agent.tracks import refuse_video
from config_store.schema import SessionConfig

_names = itertools.count()


async def connected(server: LiveKitServer, room_name: str, identity: str) -> rtc.Room:
    room = rtc.Room()
    grants = api.VideoGrants(room_join=True, room=room_name)
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(identity).with_grants(grants)
    await room.connect(server.url, token.to_jwt())
    return room


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another task's doing
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("modality", "sees"), [("audio_only", False), ("audio_camera", True), ("audio_screenshare", True)]
)
async def test_video_reaches_agents_that_want_it_and_no_others(
    livekit_server: LiveKitServer, modality: str, sees: bool
) -> None:
    """Audio is always received; video is given back where the profile has none."""
    name = f"tracks-{next(_names)}"
    config = SessionConfig.model_validate({"agents": {"a": {}}, "modality_profile": modality}, strict=False)
    agent, client = await connected(livekit_server, name, "agent"), await connected(livekit_server, name, "u")
    seen: list[int] = []
    agent.on("track_subscribed", lambda track, *_: seen.append(track.kind))
    refuse_video(agent, config)
    try:
        camera = rtc.LocalVideoTrack.create_video_track("camera", rtc.VideoSource(64, 64))
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(48_000, 1))
        await client.local_participant.publish_track(camera, rtc.TrackPublishOptions())
        await client.local_participant.publish_track(microphone, rtc.TrackPublishOptions())
        await until(lambda: sorted(seen) == [rtc.TrackKind.KIND_AUDIO, rtc.TrackKind.KIND_VIDEO])
        publications = agent.remote_participants["u"].track_publications.values()
        (video,) = [one for one in publications if one.kind == rtc.TrackKind.KIND_VIDEO]
        (audio,) = [one for one in publications if one.kind == rtc.TrackKind.KIND_AUDIO]
        await until(lambda: video.subscribed is sees)
        assert audio.subscribed
    finally:
        await client.disconnect()
        await agent.disconnect()
