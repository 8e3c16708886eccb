"""Ending a session from outside, on a real Valkey and a real database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr

from agent import running
from agent.running import RecordMissingError, end_session
from agent.settings import Settings
from agent.transcripts.database import open_engine
from agent.transcripts.finalize import finalize
from agent.transcripts.migrations import upgrade
from config_store.state import SessionState, commands_key, state_key
from tests.transcripts.conftest import talk


@pytest.fixture
def settings(valkey_url: str, tmp_path: Path) -> Settings:
    found = Settings(redis_url=valkey_url, data=tmp_path)
    tmp_path.joinpath("journals").mkdir()
    upgrade(found.database())
    return found


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis.from_url(valkey_url) as client:
        yield client


async def test_waiting_for_a_session_that_has_ended_waits_for_its_record(
    settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that is over and has no record yet is waited for like one that was told to end."""
    state = SessionState(client, state_key("over-1", "over-1"))
    claimed = await state.claim(session_id="over-1", worker="w", job="j", pid=1)
    await state.end("idle", session_id="over-1", fence=claimed.fence, tombstone=True)
    monkeypatch.setattr(running, "WAIT_SECONDS", 0.1)

    assert await end_session(settings, "over-1", reason="operator", wait=False) == "ended"
    with pytest.raises(RecordMissingError, match="over-1"):
        await end_session(settings, "over-1", reason="operator", wait=True)

    talk(settings.journals, "over-1")
    engine = open_engine(settings.database())
    finalize("over-1", engine=engine, journals=settings.journals, redis=None)
    engine.dispose()
    monkeypatch.setattr(running, "WAIT_SECONDS", 30.0)
    assert await end_session(settings, "over-1", reason="operator", wait=True) == "ended"


async def test_waiting_without_a_database_makes_none(settings: Settings, client: Any, tmp_path: Path) -> None:
    """With a mistyped `DATABASE_URL` the session is told to end, and waiting says at once why it cannot."""
    state = SessionState(client, state_key("mistyped-1", "mistyped-1"))
    await state.claim(session_id="mistyped-1", worker="w", job="j", pid=1)
    mistyped = Settings(**{**dict(settings), "database_url": SecretStr(f"sqlite:///{tmp_path}/mistyped.db")})

    with pytest.raises(RecordMissingError, match="there is no file"):
        await end_session(mistyped, "mistyped-1", reason="operator", wait=True)

    assert await client.xlen(commands_key("mistyped-1")) == 1
    assert not (tmp_path / "mistyped.db").exists()


async def test_a_session_that_was_prevented_has_no_record_to_wait_for(
    settings: Settings, client: Any
) -> None:
    """Told to end before it began, it stays prevented however often it is told, also with `--wait`."""
    assert await end_session(settings, "never-2", reason="operator", wait=True) == "prevented"
    assert await end_session(settings, "never-2", reason="operator", wait=True) == "prevented"
    tombstone = await SessionState(client, state_key("never-2", "never-2")).read()
    assert (tombstone["phase"], tombstone["end_reason"]) == ("ended", "operator")


async def test_a_session_that_redis_knows_nothing_of_hears_of_its_end(
    settings: Settings, client: Any
) -> None:
    """One that was claimed while Redis was away follows its commands all the same."""
    assert await end_session(settings, "never-3", reason="user_ended", wait=False) == "prevented"
    ((_, command),) = await client.xrange(commands_key("never-3"))
    assert command == {b"command": b"end", b"reason": b"user_ended"}
    assert await client.ttl(commands_key("never-3")) > 0


async def test_a_session_that_was_claimed_meanwhile_is_told(
    settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim between looking and ending keeps its state, and the end reaches it as a command."""
    state = SessionState(client, state_key("raced-1", "raced-1"))

    async def nothing_yet(*_: Any) -> dict[str, str]:
        await state.claim(session_id="raced-1", worker="w", job="j", pid=1)
        return {}

    monkeypatch.setattr(running, "find_session", nothing_yet)
    assert await end_session(settings, "raced-1", reason="operator", wait=False) == "asked"
    assert (await state.read())["owner_job"] == "j"
    assert await client.xlen(commands_key("raced-1")) == 1
