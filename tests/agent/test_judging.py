"""A job that is gone, judged by its worker's parent, on a real Valkey and a real LiveKit."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from livekit import api, rtc
from sqlalchemy import Engine

from agent.judging import Judge
from agent.recovery import DeadJob
from agent.services.livekit_server import LiveKitServer
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings
from agent.sweep import Records
from agent.transcripts.database import open_engine
from agent.transcripts.filters import OPERATOR
from agent.transcripts.history import load
from agent.transcripts.journal import Journal
from agent.transcripts.migrations import upgrade
from config_store.state import SessionState, state_key, worker_sessions_key

_names = itertools.count()


class Judged:
    """One session whose job is gone, and the parent that judges it."""

    def __init__(self, server: LiveKitServer, data: Path, url: str) -> None:
        self.session_id = f"judged-{next(_names)}"
        self.metadata = f'{{"session_id": "{self.session_id}"}}'
        self.server = server
        self.settings = Settings(redis_url=url, data=data, worker_id="w")
        upgrade(self.settings.database())
        self.engine: Engine = open_engine(self.settings.database())
        self.records = Records(self.settings, self.engine)
        self.client = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.state = SessionState(self.client, state_key(self.session_id, self.session_id))
        self.lkapi = api.LiveKitAPI(server.url, server.api_key, server.api_secret)

    def journal(self) -> Journal:
        """A journal of this session in which nothing has ended."""
        journal = Journal(self.settings.journals, self.session_id, 1)
        journal.append("start", session_id=self.session_id)
        journal.append("live")
        assert journal.flush()
        return journal

    async def judge(self) -> None:
        """The parent hears that the process of job `j` is gone."""
        await self.new_judge().judge(DeadJob("j", self.session_id, "agent-j", "nobody", self.metadata))

    def new_judge(self) -> Judge:
        """The parent's judge."""
        return Judge(self.settings, client=self.client, lkapi=self.lkapi, records=self.records)

    def record(self) -> dict[str, Any] | None:
        """The session's record; None: it has none."""
        return load(self.engine, self.session_id, OPERATOR)

    async def has_room(self) -> bool:
        """Whether the caller's room is there."""
        return bool((await self.lkapi.room.list_rooms(api.ListRoomsRequest(names=[self.session_id]))).rooms)

    async def aclose(self) -> None:
        """Let go of everything."""
        await self.lkapi.aclose()
        await self.client.aclose()
        self.records.close()
        self.engine.dispose()


@pytest.fixture
async def judged(livekit_server: LiveKitServer, valkey_url: str, tmp_path: Path) -> AsyncIterator[Judged]:
    found = Judged(livekit_server, tmp_path, valkey_url)
    await found.lkapi.room.create_room(api.CreateRoomRequest(name=found.session_id))
    yield found
    await found.aclose()


async def test_a_crash_without_redis_closes_the_room(judged: Judged) -> None:
    """A session that Redis knows nothing of cannot be brought back: nobody sits before a mute agent."""
    judged.journal().close()
    await judged.judge()

    record = judged.record()
    assert record is not None
    assert record["end_reason"] == "crashed"
    assert not await judged.has_room()


async def test_a_job_that_died_before_its_claim_is_replaced(judged: Judged) -> None:
    """Its session is dispatched again like any other; the process that takes it is the second one."""
    judging = asyncio.create_task(judged.judge())
    while True:
        found = await judged.state.read()
        if found and not found["owner_job"]:
            break
        await asyncio.sleep(0.01)
    second = await judged.state.claim(session_id=judged.session_id, worker="w", job="k", pid=1)
    await judging

    assert (second.answer, second.attempt) == ("resume", 2)
    dispatched = await judged.lkapi.agent_dispatch.list_dispatch(judged.session_id)
    assert judged.metadata in [each.metadata for each in dispatched]
    assert await judged.has_room()


async def test_a_session_that_no_process_lives_to_claim_ends(judged: Judged) -> None:
    """Nobody sits before an agent that never comes, and the record says whose session it was."""
    judged.metadata = f'{{"session_id": "{judged.session_id}", "user_id": "u1", "organization": "acme"}}'
    await judged.judge()

    record = judged.record()
    assert record is not None
    assert (record["end_reason"], record["user_id"], record["organization"]) == ("crashed", "u1", "acme")
    assert not await judged.has_room()
    assert (await judged.state.read())["phase"] == "ended"


async def test_an_agent_that_left_for_its_twin_ends_nothing(judged: Judged) -> None:
    """While another process writes the session's journal its room stays, and there is no record yet."""
    twin = judged.journal()
    try:
        await judged.judge()
        assert (judged.record(), await judged.has_room()) == (None, True)
    finally:
        twin.close()


@asynccontextmanager
async def another_agent(judged: Judged) -> AsyncIterator[None]:
    """One that is in the room, of whatever worker."""
    token = api.AccessToken(judged.server.api_key, judged.server.api_secret).with_identity("agent-other")
    token = token.with_kind("agent").with_grants(api.VideoGrants(room_join=True, room=judged.session_id))
    room = rtc.Room()
    await room.connect(judged.server.url, token.to_jwt())
    try:
        yield
    finally:
        await room.disconnect()


async def test_another_agents_room_stays(judged: Judged) -> None:
    """A process that was cut off from Redis and replaced dies: the agent that took its call over goes on."""
    judged.journal().close()
    async with another_agent(judged):
        await judged.judge()
        assert await judged.has_room()


async def test_a_session_that_nobody_claims_and_somebody_serves_goes_on(
    judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was dispatched to a worker that Redis cannot reach: better than none, until a later look."""
    monkeypatch.setattr("agent.recovery.TAKE_SECONDS", 0.2)
    job = {"room": judged.session_id, "identity": "agent-j", "metadata": judged.metadata}
    await judged.state.claim(session_id=judged.session_id, worker="w", job="j", pid=1, **job)
    judged.journal().close()
    async with another_agent(judged):
        await judged.judge()
        assert await judged.has_room()
    state = await judged.state.read()
    assert (state["phase"], state["owner_job"]) == ("claimed", "")
    assert judged.state.key in await judged.client.smembers(worker_sessions_key("w"))


async def test_a_session_that_had_ended_is_closed(judged: Judged) -> None:
    """A process that died between its journal's end and the room's: the room goes, the reason stays."""
    await judged.state.claim(session_id=judged.session_id, worker="w", job="j", pid=1)
    journal = judged.journal()
    journal.append("end", reason="idle", detail="")
    journal.close()
    await judged.judge()

    record = judged.record()
    assert record is not None
    assert record["end_reason"] == "idle"
    assert not await judged.has_room()
    assert (await judged.state.read())["phase"] == "ended"


async def test_a_livekit_that_hangs_up_costs_no_record(
    judged: Judged, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A balancer drops connections without an answer: a crashed session ends all the same, with a record."""

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    monkeypatch.setattr("agent.recovery.TAKE_SECONDS", 0.2)
    job = {"room": judged.session_id, "identity": "agent-j", "metadata": judged.metadata}
    await judged.state.claim(session_id=judged.session_id, worker="w", job="j", pid=1, **job)
    judged.journal().close()
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as balancer:
        port = balancer.sockets[0].getsockname()[1]
        await judged.lkapi.aclose()
        judged.lkapi = api.LiveKitAPI(
            f"http://127.0.0.1:{port}", judged.server.api_key, judged.server.api_secret
        )
        await judged.judge()

    assert "LiveKit could not be asked" in caplog.text
    record = judged.record()
    assert record is not None
    assert record["end_reason"] == "crashed"


async def test_what_another_release_stored_decides_about_a_return(
    judged: Judged, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers of two releases live side by side for a while: `on_crash: end` is one's own or the other's."""
    job = {"room": judged.session_id, "identity": "agent-j", "metadata": judged.metadata}
    claimed = await judged.state.claim(session_id=judged.session_id, worker="w", job="j", pid=1, **job)
    await judged.state.write(claimed.fence, config='{"version": 99, "config": {"on_crash": "end"}}')
    judged.journal().close()
    await judged.judge()

    assert "is not to be resumed" in caplog.text
    assert not await judged.has_room()


async def test_a_session_that_nobody_judged_is_found_by_its_worker(judged: Judged) -> None:
    """What an error kept from being judged is settled at the second look that finds it; what runs is not."""
    job = {"room": judged.session_id, "identity": "agent-j", "metadata": judged.metadata}
    await judged.state.claim(session_id=judged.session_id, worker="w", job="j", pid=1, **job)
    await judged.client.sadd(worker_sessions_key("w"), judged.state.key)
    judged.journal().close()
    await judged.lkapi.room.delete_room(api.DeleteRoomRequest(room=judged.session_id))
    judge = judged.new_judge()
    for _ in range(3):
        await judge.look_after(lambda job: job == "j")
    await judge.look_after(lambda _: False)
    assert judged.record() is None
    await judge.look_after(lambda _: False)

    record = judged.record()
    assert record is not None
    assert record["end_reason"] == "crashed"
    await judge.look_after(lambda _: False)
    assert not await judged.client.exists(worker_sessions_key("w")), "what is over is off the list"


async def test_a_job_that_dies_while_redis_is_away_is_judged_when_it_is_back(
    livekit_server: LiveKitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judgement waits for Redis instead of taking the session for one that nobody claimed."""
    in_vain = asyncio.Event()
    read = SessionState.read

    async def tried(state: SessionState) -> dict[str, str]:
        try:
            return await read(state)
        except redis.exceptions.ConnectionError:
            in_vain.set()
            raise

    monkeypatch.setattr(SessionState, "read", tried)
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    judged = Judged(livekit_server, tmp_path, valkey.url)
    await judged.state.claim(session_id=judged.session_id, worker="w", job="j", pid=1)
    judged.journal().close()
    valkey.stop()
    judging = asyncio.create_task(judged.judge())
    await in_vain.wait()
    valkey.start()
    try:
        await judging
        found = await judged.state.read()
    finally:
        await judged.aclose()
        valkey.stop()

    assert (found["phase"], found["end_reason"]) == ("ended", "crashed"), "nobody was there to go on with"
