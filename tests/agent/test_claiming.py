"""What a job does at its claim and at its end, on a real Valkey: ends that were begun, told before, raced."""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from agent.attempt import Attempt
from agent.ending import SUPERSEDED, End
from agent.settings import Settings, load
from agent.taking_over import past_of
from agent.transcripts.fold import end_of
from agent.transcripts.reading import read_journals
from config_store.state import SessionState, commands_key, state_key, worker_sessions_key
from tests.agent import jobs

_names = itertools.count()
Claim = Callable[..., Awaitable[Attempt]]


class Vanished(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(valkey_url, decode_responses=True) as opened:
        yield opened


@pytest.fixture
def settings(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    def gone(status: int) -> None:
        raise Vanished

    monkeypatch.setattr(os, "_exit", gone)
    return load(redis_url=valkey_url, data=tmp_path, worker_id="w-claim")


@pytest.fixture
def session_id() -> str:
    return f"claimed-{next(_names)}"


@pytest.fixture
async def claim(settings: Settings, session_id: str) -> AsyncIterator[Claim]:
    """Claims the session as a job does; what was claimed is closed at the end."""
    opened: list[Attempt] = []

    async def claim_one() -> Attempt:
        opened.append(await jobs.claim(settings, session_id))
        return opened[-1]

    yield claim_one
    for attempt in opened:
        await attempt.close()


async def test_an_end_in_the_stream_before_the_claim_writes_the_tombstone(
    client: "redis.asyncio.Redis", claim: Claim, session_id: str
) -> None:
    """Any program's `XADD … command end` keeps a session from beginning, now and with every later token."""
    await client.xadd(commands_key(session_id), {"command": "override"})
    await client.xadd(commands_key(session_id), {"command": "end", "reason": "user_ended"})
    attempt = await claim()

    assert attempt.answer == "ended"
    tombstone = await SessionState(client, state_key(session_id, "r")).read()
    assert (tombstone["phase"], tombstone["end_reason"]) == ("ended", "user_ended")
    assert not await client.exists(commands_key(session_id)), "it was written without a time to live"
    assert (await claim()).answer == "ended"


async def test_another_command_before_the_claim_ends_nothing(
    client: "redis.asyncio.Redis", claim: Claim, session_id: str
) -> None:
    """An override that waits in the stream is applied by the session that begins."""
    await client.xadd(commands_key(session_id), {"command": "override"})

    assert (await claim()).answer == "new"


async def test_an_end_that_was_begun_is_known_to_the_process_that_takes_over(
    client: "redis.asyncio.Redis", claim: Claim, session_id: str
) -> None:
    """A process that dies in the goodbye leaves its end, also when the user went away meanwhile."""
    first = await claim()
    assert first.was_ending is None
    first.ending(End("operator", "command"))
    first.here(False)
    await first.close()
    await first.lease.state.release(first._ctx.job.id)
    second = await claim()

    assert (second.answer, second.was_ending) == ("resume", End("operator", "command"))


async def test_an_agent_that_was_removed_by_who_took_its_session_over_is_gone(
    claim: Claim, session_id: str
) -> None:
    """Removed from the room it asks whose the session is: its own it ends, another's it leaves alone."""
    attempt = await claim()
    await attempt.lease.vanish_if_replaced()
    await attempt.lease.state.adopt("w-claim", "another")

    with pytest.raises(Vanished):
        await attempt.lease.vanish_if_replaced()
    with pytest.raises(Vanished):
        await attempt.end(End("operator"))


async def test_a_session_without_a_claim_does_not_come_back_either(
    client: "redis.asyncio.Redis", claim: Claim, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away at the claim and is back at the end: there is a tombstone, over no other session."""

    async def away(*_: Any, **__: Any) -> Any:
        raise redis.exceptions.ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(SessionState, "claim", away)
        unguarded = await claim()
        other = await claim()
    await unguarded.end(End("user_left"))
    assert (await claim()).answer == "ended"

    await client.delete(state_key(session_id, "r"))
    assert (await claim()).answer == "new"
    await other.end(End("user_left"))
    assert (await SessionState(client, state_key(session_id, "r")).read())["phase"] == "claimed"


async def test_a_session_that_crashed_goes_on_without_a_claim(
    claim: Claim, settings: Settings, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is slow at the second claim: by the journal on the disk the user is not greeted as a new one."""

    async def away(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr(SessionState, "claim", away)
    first = await claim()
    first.journal.append("live")
    assert first.journal.flush()
    twin = await claim()
    assert (twin.answer, twin.number) == ("new", 1), "its journal is still written"
    assert first.journal.close(5)
    second = await claim()

    assert (second.answer, second.number) == ("resume", 2)
    past = await past_of(second)
    assert past is not None
    assert past.live_seconds is not None
    assert past.live_seconds < 60
    second.journal.append("end", reason="idle")
    assert second.journal.close(5)
    assert (await claim()).answer == "new"


async def test_a_session_that_is_over_is_not_listed_again(
    client: "redis.asyncio.Redis", claim: Claim, settings: Settings, session_id: str
) -> None:
    """What trouble with Redis left to be caught up with comes too late for the worker's list."""
    attempt = await claim()
    await attempt.lease.enlist()
    mine = worker_sessions_key(settings.worker_id or "")
    assert await client.smembers(mine) == {attempt.lease.state.key}
    await attempt.end(End("idle"))
    await attempt.lease.enlist()
    assert await client.smembers(mine) == set()


async def test_last_words_of_a_process_that_fails_while_it_ends(
    claim: Claim, settings: Settings, session_id: str
) -> None:
    """The end that had begun is in the journal, so that nobody takes the session up; a twin's is not."""
    attempt = await claim()
    attempt.last_word(End(SUPERSEDED))
    assert end_of(read_journals(settings.journals, session_id)) is None
    attempt.last_word(End("user_ended", "x"))

    end = end_of(read_journals(settings.journals, session_id))
    assert end is not None
    assert end["reason"] == "user_ended"
