"""The ways in which an agent comes into a room, and those in which none may come."""

import asyncio
import shutil
from pathlib import Path

import pytest
from livekit import api

from agent.demo.caller import Caller
from agent.services.livekit_server import LiveKitServer
from agent.starting import Started
from tests.e2e.harness import BUNDLES, RunningWorker, dispatch_metadata

pytestmark = pytest.mark.e2e


async def hears_the_agent(caller: Caller) -> None:
    """The caller hears the greeting of the bundle."""
    await caller.wait_words("Welcome to the shop", within=10)
    await caller.heard_speech(after=caller.joined_at)


def answered(worker: RunningWorker, started: Started) -> tuple[str, str, str, api.VideoGrants | None, str]:
    """What an answer says, and whom its token lets in where; a token also has its time."""
    claims = api.TokenVerifier(worker.server.api_key, worker.server.api_secret).verify(started.token)
    return started.session_id, started.room, started.url, claims.video, claims.identity


async def end(worker: RunningWorker, session_id: str) -> dict[str, object]:
    """End a session by command; its record."""
    async with worker.redis() as client:
        await client.xadd(f"session:{session_id}:commands", {"command": "end", "reason": "operator"})
    return await worker.transcript(session_id)


async def test_a_room_made_with_the_agent_in_it(worker: RunningWorker) -> None:
    """
    `agent session start`: the agent is there before the user. Calling again, before the user comes and while
    they are there, gives the same answer and asks for no second agent.
    """
    started = await worker.session("way-room")
    waiting = await worker.session("way-room")
    async with worker.caller(started) as caller:
        await hears_the_agent(caller)
        live = await worker.session("way-room")
        for again in (waiting, live):
            assert answered(worker, again) == answered(worker, started)
        async with worker.livekit() as lkapi:
            assert len(await lkapi.agent_dispatch.list_dispatch("way-room")) == 1
        assert len(caller.agents_seen) == 1
        record = await end(worker, "way-room")

    assert record["end_reason"] == "operator"
    assert record["room"]["name"] == "way-room"


async def test_a_token_that_brings_the_agent(worker: RunningWorker) -> None:
    """A token with a room configuration dispatches the agent when its holder joins."""
    token = worker.token("way-token", "u1", metadata=dispatch_metadata(session_id="way-token", bundle="talk"))
    async with Caller(worker.server.url, token) as caller:
        await hears_the_agent(caller)
        record = await end(worker, "way-token")

    assert record["participants"][0]["identity"] == "u1"


async def test_a_dispatch_by_api_with_a_bare_bundle_name(worker: RunningWorker) -> None:
    """CreateDispatch: without a session id one is minted, and the override is the room's key, read once."""
    async with worker.redis() as client:
        await client.set(
            "room:way-api:config", '{"agents": {"front": {"greeting": "Welcome to the shop of one."}}}'
        )
    async with worker.livekit() as lkapi:
        await lkapi.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=worker.settings.name, room="way-api", metadata="talk")
        )
    async with Caller(worker.server.url, worker.token("way-api", "u1")) as caller:
        await caller.wait_words("shop of one", within=10)
        session_id = await caller.wait_attribute("session.id", None)
        assert session_id.startswith("s-AJ_")
        record = await end(worker, session_id)
    async with worker.redis() as client:
        assert await client.get("room:way-api:config") is None

    assert record["session_id"] == session_id


async def test_automatic_dispatch(tmp_path: Path) -> None:
    """A worker with an empty AGENT_NAME serves every new room, with the only startable bundle there is."""
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    shutil.copy(BUNDLES / "talk.yaml", bundles)
    with LiveKitServer(tmp_path / "livekit") as server:
        worker = RunningWorker(server, tmp_path / "data", bundles=bundles, environment={"AGENT_NAME": ""})
        try:
            worker.start()
            async with Caller(server.url, worker.token("way-auto", "u1")) as caller:
                await hears_the_agent(caller)
        finally:
            assert worker.stop() == 0
        assert "Traceback" not in worker.log_text()


async def test_two_dispatches_of_one_session_bring_one_agent(worker: RunningWorker) -> None:
    """Token and API dispatch together make two jobs; one agent is heard, one record is left."""
    metadata = dispatch_metadata(session_id="twice-1", bundle="talk")
    token = worker.token("twice-1", "u1", metadata=metadata)
    async with Caller(worker.server.url, token) as caller:
        async with worker.livekit() as lkapi:
            await lkapi.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(
                    agent_name=worker.settings.name, room="twice-1", metadata=metadata
                )
            )
        await hears_the_agent(caller)
        await caller.heard_all(after=caller.joined_at)
        assert len(caller.agents_seen) == 1
        record = await end(worker, "twice-1")

    assert next(i["text"] for i in record["items"] if i["type"] == "message") == "Welcome to the shop."
    assert len(record["attempts"]) == 1


async def test_an_ended_session_does_not_come_back(worker: RunningWorker) -> None:
    """An old token of an ended session makes a new room, is told that it ended, and is put out."""
    metadata = dispatch_metadata(session_id="old-1", bundle="talk")
    token = worker.token("old-1", "u1", metadata=metadata)
    async with Caller(worker.server.url, token) as caller:
        await caller.wait_agent()
        await end(worker, "old-1")
        await caller.wait_left()
    async with Caller(worker.server.url, token) as caller:
        await caller.wait_event("ended", reason="already_ended")
        assert await caller.wait_left() == "ROOM_DELETED"

    assert (await worker.transcript("old-1"))["end_reason"] == "operator"


async def test_a_token_of_session_start_leads_to_no_empty_room(worker: RunningWorker) -> None:
    """Who comes with it when the session is over is told so and put out, and sits nowhere alone."""
    started = await worker.session("old-2", user_id="u1")
    await end(worker, "old-2")
    async with worker.caller(started) as caller:
        ended = await caller.wait_event("ended", reason="already_ended")
        assert ended["session_id"] == "old-2"
        assert await caller.wait_left() == "ROOM_DELETED"


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ('{"session_id": "bad id"}', "session_id"),
        ("{broken", "JSON"),
        ('{"session_id": "refused-3", "bundle": "nothing"}', "nothing"),
    ],
    ids=["wrong session id", "broken JSON", "unknown bundle"],
)
async def test_a_dispatch_that_cannot_be_used_is_refused_with_a_record(
    worker: RunningWorker, metadata: str, says: str
) -> None:
    """The caller is told and put out; the record says config_refused and why."""
    room = f"refused-{abs(hash(metadata))}"
    async with Caller(worker.server.url, worker.token(room, "u1", metadata=metadata)) as caller:
        ended = await caller.wait_event("ended", reason="config_refused")
        assert await caller.wait_left() == "ROOM_DELETED"

    record = await worker.transcript(ended["session_id"])
    assert (record["end_reason"], record["items"]) == ("config_refused", [])
    assert says in record["end_detail"]


async def test_a_refused_session_is_refused_under_its_own_id(worker: RunningWorker) -> None:
    """A wrong bundle beside a right id: the record has the id and the user, and an old token ends there."""
    metadata = '{"session_id": "refused-own", "user_id": "u1", "bundle": 5}'
    token = worker.token("refused-own", "u1", metadata=metadata)
    for reason in ("config_refused", "already_ended"):
        async with Caller(worker.server.url, token) as caller:
            ended = await caller.wait_event("ended", reason=reason)
            assert ended["session_id"] == "refused-own"
            assert await caller.wait_left() == "ROOM_DELETED"

    record = await worker.transcript("refused-own")
    assert (record["end_reason"], record["user_id"]) == ("config_refused", "u1")
    assert "bundle must be text" in record["end_detail"]


async def test_a_broken_override_is_a_verdict_and_the_call_goes_on(worker: RunningWorker) -> None:
    """Broken JSON under the override key refuses the override, not the session."""
    async with worker.redis() as client:
        await client.set("session:broken-1:config", '{"voice_tuning": ')
    started = await worker.session("broken-1")
    async with worker.caller(started) as caller:
        await hears_the_agent(caller)
        applied = await caller.wait_event("config_applied")
        await end(worker, "broken-1")

    assert [v["verdict"] for v in applied["verdicts"]] == ["refused"]


async def test_a_room_that_was_deleted_before_the_agent_came_stays_deleted(worker: RunningWorker) -> None:
    """Dispatched and deleted at once: no agent sits alone in a room that its joining made anew."""
    async with worker.livekit() as lkapi:
        await lkapi.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(
                agent_name=worker.settings.name,
                room="ghost-1",
                metadata=dispatch_metadata(session_id="ghost-1", bundle="talk"),
            )
        )
        await worker_has(worker, "ghost-1")
        await lkapi.room.delete_room(api.DeleteRoomRequest(room="ghost-1"))
    record = await worker.transcript("ghost-1")

    assert record["end_reason"] == "room_deleted"
    assert not await worker.room_exists("ghost-1")


async def worker_has(worker: RunningWorker, session_id: str) -> None:
    """Wait until a job has claimed the session."""
    async with worker.redis() as client:
        async with asyncio.timeout(10):
            while not await client.exists(f"session:{session_id}:state"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.002)
