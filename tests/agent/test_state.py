"""The claim of a session, on a real Valkey: who gets it, who does not, and who is replaced."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from config_store.state import (
    TOMBSTONE_SECONDS,
    Claim,
    SessionState,
    heartbeat_key,
    mint_session_id,
    state_key,
)

_names = itertools.count()


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(valkey_url) as opened:
        yield opened


@pytest.fixture
async def state(client: "redis.asyncio.Redis") -> SessionState:
    return SessionState(client, state_key(f"test-state-{next(_names)}", "room"))


async def claim(state: SessionState, job: str, worker: str = "w1") -> Claim:
    return await state.claim(session_id="s-1", worker=worker, job=job, pid=7)


async def beat(client: "redis.asyncio.Redis", worker: str) -> None:
    await client.set(heartbeat_key(worker), "1", ex=60)


def test_keys_are_those_that_other_programs_read() -> None:
    """A session's state is found by its id, and without one by its room."""
    assert state_key("s-1", "r") == "session:s-1:state"
    assert state_key(None, "lobby") == "room:lobby:state"
    assert mint_session_id("AJ_x") == "s-AJ_x"


async def test_the_first_claim_is_new_and_counts_as_the_first_attempt(state: SessionState) -> None:
    """A session that nobody had is new."""
    claimed = await claim(state, "j1")

    assert (claimed.answer, claimed.attempt, claimed.fence) == ("new", 1, 1)
    assert claimed.now_ms > 1_700_000_000_000
    found = await state.read()
    assert (found["owner_job"], found["pid"], found["phase"]) == ("j1", "7", "claimed")


async def test_a_live_owner_keeps_the_session(state: SessionState, client: "redis.asyncio.Redis") -> None:
    """While the owner's worker beats, another job is told who has it, and changes nothing."""
    await beat(client, "w1")
    await claim(state, "j1")
    other = await claim(state, "j2", "w2")

    assert (other.answer, other.owner_worker) == ("held", "w1")
    assert (await state.read())["attempts"] == "1"


async def test_of_many_claims_at_once_one_wins(state: SessionState, client: "redis.asyncio.Redis") -> None:
    """Twenty simultaneous dispatches of one session end with one owner."""
    for worker in range(4):
        await beat(client, f"w{worker}")
    claims = await asyncio.gather(*(claim(state, f"j{n}", f"w{n % 4}") for n in range(20)))

    assert sorted(c.answer for c in claims) == ["held"] * 19 + ["new"]


async def test_an_owner_whose_worker_is_gone_is_replaced_once(
    state: SessionState, client: "redis.asyncio.Redis"
) -> None:
    """Of two that find the same dead owner one takes over, and the other finds it held."""
    await claim(state, "j1", "dead")
    for worker in ("w2", "w3"):
        await beat(client, worker)
    claims = await asyncio.gather(claim(state, "j2", "w2"), claim(state, "j3", "w3"))

    assert sorted(c.answer for c in claims) == ["held", "resume"]
    winner = next(c for c in claims if c.answer == "resume")
    assert (winner.attempt, winner.session_id) == (2, "s-1")


async def test_a_released_session_is_resumed_with_its_fields(state: SessionState) -> None:
    """After a release the next job resumes, and finds what the first one wrote."""
    first = await claim(state, "j1")
    await state.write(first.fence, config="{}", live_at="@now")
    assert await state.release("j1") is True
    assert await state.release("j1") is False, "it is nobody's now"
    second = await claim(state, "j2")

    assert (second.answer, second.attempt) == ("resume", 2)
    assert second.state["config"] == "{}"
    assert int(second.state["live_at"]) >= first.now_ms


async def test_a_replaced_owner_can_write_and_end_nothing(state: SessionState) -> None:
    """The fence of an owner that was replaced holds no more."""
    first = await claim(state, "j1")
    await state.release("j1")
    await claim(state, "j2")

    assert await state.write(first.fence, phase="live") is False
    assert await state.end("idle", session_id="s-1", fence=first.fence, tombstone=True) is False
    assert (await state.read())["phase"] == "claimed"


async def test_an_owner_whose_session_was_adopted_can_write_and_end_nothing(
    state: SessionState, client: "redis.asyncio.Redis"
) -> None:
    """A job that lives on where Redis did not reach it harms nothing once another worker has its session."""
    first = await claim(state, "j1", "cut off")
    await beat(client, "w2")
    assert await state.adopt("cut off", "w2") is True
    assert await state.adopt("cut off", "w3") is False

    assert await state.write(first.fence, phase="live") is False
    assert await state.end("operator", session_id="s-1", fence=first.fence, tombstone=True) is False
    assert (await claim(state, "j2", "w2")).answer == "resume"


async def test_an_ended_session_stays_ended(state: SessionState, client: "redis.asyncio.Redis") -> None:
    """The tombstone outlives tokens, holds no config, and answers `ended`."""
    claimed = await claim(state, "j1")
    await state.write(claimed.fence, config="{}")
    assert await state.end("idle", session_id="s-1", fence=claimed.fence, tombstone=True)

    assert (await claim(state, "j2")).answer == "ended"
    assert await state.read() == {
        "phase": "ended",
        "end_reason": "idle",
        "end_detail": "",
        "session_id": "s-1",
    }
    assert TOMBSTONE_SECONDS - 5 <= await client.ttl(state.key) <= TOMBSTONE_SECONDS


async def test_an_end_before_the_claim_prevents_the_session(state: SessionState) -> None:
    """A session that was ended before any job came does not begin."""
    assert await state.end_unclaimed("operator", session_id="s-9")

    assert (await claim(state, "j1")).answer == "ended"


async def test_an_end_before_the_claim_comes_too_late_for_a_claim(state: SessionState) -> None:
    """A session that was claimed a moment earlier is not ended over its owner's head."""
    first = await claim(state, "j1")

    assert await state.end_unclaimed("operator", session_id="s-1") is False
    assert await state.write(first.fence, phase="live") is True


async def test_a_rooms_next_call_is_another_session(state: SessionState) -> None:
    """Without a session id an end stops nobody: the next call in the room is new."""
    first = await claim(state, "j1")
    await state.end("idle", session_id=first.session_id, fence=first.fence, tombstone=False)
    second = await state.claim(session_id="s-2", worker="w1", job="j2", pid=8)

    assert (second.answer, second.session_id, second.attempt) == ("new", "s-2", 1)


async def test_what_the_store_lost_is_written_anew_by_its_owner(
    state: SessionState, client: "redis.asyncio.Redis"
) -> None:
    """A state that is gone, or that is an older one of a replica, comes back whole with the next write."""
    claimed = await claim(state, "j1")
    await state.write(claimed.fence, phase="live", config="{}")
    older = await client.hgetall(state.key)
    whole = await state.read()
    for lost in (None, {**older, b"fence": b"0", b"config": b"old"}):
        await client.delete(state.key)
        if lost is not None:
            await client.hset(state.key, mapping=lost)
        assert await state.write(claimed.fence, user_id="u")
        assert await state.read() == {**whole, "user_id": "u"}
    assert await client.ttl(state.key) > 0


async def test_what_ended_or_belongs_to_another_is_not_written_anew(
    state: SessionState, client: "redis.asyncio.Redis"
) -> None:
    """The owner of a state that was lost comes second to a tombstone, and to a later owner."""
    claimed = await claim(state, "j1")
    await client.delete(state.key)
    await state.end_unclaimed("operator", session_id="s-1")
    assert not await state.write(claimed.fence, phase="live")
    assert (await state.read())["phase"] == "ended"
    await client.delete(state.key)
    await client.hset(state.key, mapping={"fence": claimed.fence + 1, "phase": "live"})
    assert not await state.write(claimed.fence, phase="user_away")
    assert (await state.read())["phase"] == "live"


async def test_what_the_store_did_not_take_comes_with_the_next_write(
    state: SessionState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that failed is not lost: the fields of both are there after the next one."""
    claimed = await claim(state, "j1")
    with monkeypatch.context() as away:
        away.setattr(state, "_redis", redis.asyncio.Redis(unix_socket_path="/nowhere"))
        with pytest.raises(redis.exceptions.ConnectionError):
            await state.write(claimed.fence, live_at=5)
    await state.write(claimed.fence, phase="live")
    found = await state.read()
    assert (found["live_at"], found["phase"]) == ("5", "live")
