"""`agent session start` on a real LiveKit without a worker: what it asks for, and what it reports."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from livekit import api

from agent.services.livekit_server import LiveKitServer
from agent.services.ports import free_ports
from agent.settings import Settings
from agent.starting import NotStartedError, Wanted, publishable, start_session
from config_store.overrides import override_key
from config_store.state import SessionState, state_key

_names = itertools.count()


class Here:
    """LiveKit, Redis and one session that a test wants, with nobody to serve it but the test."""

    def __init__(self, server: LiveKitServer, client: Any, settings: Settings) -> None:
        self.session_id = f"starting-{next(_names)}"
        self.settings = settings
        self.redis = client
        self.state = SessionState(client, state_key(self.session_id, self.session_id))
        self.lkapi = api.LiveKitAPI(server.url, server.api_key, server.api_secret)

    async def dispatches(self) -> int:
        """How often the agent has been asked for."""
        found = await self.lkapi.agent_dispatch.list_dispatch(self.session_id)
        return sum(dispatch.agent_name == self.settings.name for dispatch in found)

    async def rooms(self) -> int:
        """Whether there is the room."""
        return len((await self.lkapi.room.list_rooms(api.ListRoomsRequest(names=[self.session_id]))).rooms)

    async def take_at(self, dispatches: int, phase: str = "configured") -> int:
        """Serve the session, as a worker would, once it was asked for so often; how often that was."""
        while not await self.rooms() or await self.dispatches() < dispatches:  # noqa: ASYNC110 - not our doing
            await asyncio.sleep(0.01)
        claimed = await self.state.claim(session_id=self.session_id, worker="w", job="j", pid=1)
        await self.state.write(claimed.fence, phase=phase)
        return await self.dispatches()

    async def start(self, *beside: Coroutine[Any, Any, Any]) -> list[Any]:
        """Start the session while these go on; what they returned."""
        return list(await asyncio.gather(start_session(self.settings, Wanted(self.session_id)), *beside))


@pytest.fixture
async def here(
    livekit_server: LiveKitServer, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Here]:
    monkeypatch.setattr("agent.starting.CAME_SECONDS", 0.7)
    monkeypatch.setattr("agent.starting.READY_SECONDS", 1.4)
    settings = Settings(
        livekit_url=livekit_server.url,
        livekit_api_key=livekit_server.api_key,
        livekit_api_secret=livekit_server.api_secret,
        redis_url=valkey_url,
        data=tmp_path,
        name="nobody",
    )
    async with redis.asyncio.Redis.from_url(valkey_url) as client:
        found = Here(livekit_server, client, settings)
        yield found
        await found.lkapi.aclose()


async def test_a_session_that_is_taken_at_once_is_asked_for_once(here: Here) -> None:
    """The room is made with the agent asked for in it, and nothing more is asked."""
    _, dispatches = await here.start(here.take_at(1))

    assert dispatches == 1


async def test_starting_adds_to_the_override_that_an_application_wrote(here: Here) -> None:
    """Values that were written before the start stay, but for those that the start gives."""
    key = override_key(here.session_id)
    await here.redis.set(key, '{"voice_tuning": {"pace": 1.1, "pitch": 0.1}, "rev": 4}')
    wanted = Wanted(here.session_id, overrides={"voice_tuning": {"pace": 1.3}})
    await asyncio.gather(start_session(here.settings, wanted), here.take_at(1))

    there = json.loads(await here.redis.get(key))
    assert there == {"voice_tuning": {"pace": 1.3, "pitch": 0.1}, "rev": 4}


async def test_a_session_that_nobody_took_is_asked_for_once_more(here: Here) -> None:
    """A dispatch that was lost because no worker was there is made again, and the start succeeds."""
    started, dispatches = await here.start(here.take_at(2))

    assert (started.session_id, dispatches) == (here.session_id, 2)


async def test_a_session_that_nobody_takes_fails_and_leaves_no_room(here: Here) -> None:
    """After the second time the reason is reported, and no room waits for a user without an agent."""
    with pytest.raises(NotStartedError, match="nobody") as caught:
        await here.start()

    assert caught.value.code == "no_worker"
    assert await here.rooms() == 0


async def test_a_job_that_claims_and_gets_no_further_is_another_failure(here: Here) -> None:
    """A worker took it and is not ready: reported as that, and not asked for a second time."""
    with pytest.raises(NotStartedError, match="not ready") as caught:
        await here.start(here.take_at(1, "claimed"))

    assert caught.value.code == "not_ready"


async def test_a_room_that_is_there_gets_its_agent_by_a_dispatch(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiveKit ignores the agents of a request to make a room that exists: the agent is asked for at once."""
    await here.lkapi.room.create_room(api.CreateRoomRequest(name=here.session_id))
    monkeypatch.setattr("agent.starting.CAME_SECONDS", 60)  # not the second asking, which comes after that
    async with asyncio.timeout(20):
        _, dispatches = await here.start(here.take_at(1))

    assert dispatches == 1


async def test_a_session_that_is_in_another_room_is_not_started_there(here: Here) -> None:
    """Its user would wait for an agent that never comes: the answer says where it is, and makes no room."""
    facts = {"room": "elsewhere"}
    await here.state.claim(session_id=here.session_id, worker="w", job="j", pid=1, **facts)
    with pytest.raises(NotStartedError, match="in room 'elsewhere'") as raised:
        await here.start()
    assert (raised.value.code, raised.value.is_wrong_use) == ("session_elsewhere", True)
    assert not await here.rooms()


async def test_a_room_of_somebody_else_stays_when_nobody_comes(here: Here) -> None:
    """A start that fails removes only a room that it made."""
    await here.lkapi.room.create_room(api.CreateRoomRequest(name=here.session_id))
    with pytest.raises(NotStartedError):
        await here.start()

    assert await here.rooms() == 1


async def test_a_livekit_that_is_away_is_not_a_redis_that_is_away(valkey_url: str, tmp_path: Path) -> None:
    """Nobody at LIVEKIT_URL: the failure names LiveKit and the setting, and not Redis, which answers."""
    port = free_ports(1)[0]
    settings = Settings(
        livekit_url=f"ws://127.0.0.1:{port}", livekit_api_key="k", livekit_api_secret="s" * 40,
        redis_url=valkey_url, data=tmp_path,
    )  # fmt: skip
    with pytest.raises(NotStartedError, match=f"LiveKit does not answer at ws://127.0.0.1:{port}") as caught:
        await start_session(settings, Wanted("away-1"))

    assert caught.value.code == "livekit"


@pytest.mark.parametrize(
    ("modality", "sources"),
    [
        ("text_only", []),
        ("audio_only", ["microphone"]),
        ("audio_camera", ["microphone", "camera"]),
        ("audio_screenshare", ["microphone", "screen_share", "screen_share_audio"]),
        ("audio_camera_screenshare", ["microphone", "camera", "screen_share", "screen_share_audio"]),
    ],
)
def test_a_token_allows_what_the_profile_has(modality: str, sources: list[str]) -> None:
    """What a client may publish follows the modality profile."""
    assert publishable(modality) == sources
