"""Who comes, goes, comes back, is put out, and watches."""

import asyncio
import time
from pathlib import Path

import pytest
from livekit import api

from agent.demo.caller import Caller
from agent.running import end_session
from agent.services.livekit_server import LiveKitServer
from agent.starting import NotStartedError
from tests.e2e.harness import RunningWorker, dispatch_metadata, eventually, said
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together()


async def end(worker: RunningWorker, session_id: str) -> dict[str, object]:
    """End a session by command; its record."""
    assert await end_session(worker.settings, session_id, reason="operator", wait=True) == "ended"
    return await worker.transcript(session_id)


@together.situation
async def test_a_caller_who_comes_back_as_somebody_else_goes_on(worker: RunningWorker) -> None:
    """A new identity within the grace takes the user's place, is heard, and is not greeted again."""
    started = await worker.session("new-id-1", user_id="u1", overrides={"rejoin_grace_seconds": 10})
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
    async with Caller(started.url, worker.token("new-id-1", "u1-again")) as caller:
        await caller.wait_event("config_applied")
        spoken = await caller.ask("what are your opening hours")
        await caller.wait_words("nine to five", after=spoken.end)
        record = await end(worker, "new-id-1")

    assert said(record, "assistant").count("Welcome to the shop.") == 1  # type: ignore[arg-type]
    assert [i["identity"] for i in record["items"] if i.get("role") == "user"] == ["u1-again"]  # type: ignore[attr-defined]


@together.situation
async def test_a_second_tab_takes_over_from_the_first(worker: RunningWorker) -> None:
    """The same identity joins twice: the first connection goes, the talk goes on."""
    started = await worker.session("tab-1", user_id="u1")
    async with worker.caller(started) as first:
        await first.heard_all(after=first.joined_at)
        async with worker.caller(started) as second:
            assert await first.wait_left() == "DUPLICATE_IDENTITY"
            await second.wait_agent()
            spoken = await second.ask("what are your opening hours")
            await second.wait_words("nine to five", after=spoken.end)
            record = await end(worker, "tab-1")

    assert said(record, "assistant")[0] == "Welcome to the shop."
    assert len(record["attempts"]) == 1  # type: ignore[arg-type]


@together.situation
async def test_an_observer_is_listed_and_neither_heard_nor_waited_for(worker: RunningWorker) -> None:
    """Somebody who was there before the user left does not become the user, nor keep the call open."""
    started = await worker.session("watch-1", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        async with Caller(started.url, worker.token("watch-1", "watcher")) as watcher:
            await watcher.say("what are your opening hours")
            await caller.write("where is order seven")
            await caller.wait_words("arrives tomorrow")
            await caller.leave()
            assert await watcher.wait_left(within=10) == "ROOM_DELETED"

    record = await worker.transcript("watch-1")
    assert record["end_reason"] == "user_left"
    assert said(record, "user") == ["where is order seven"]
    assert {p["identity"] for p in record["participants"]} == {"u1", "watcher"}


@together.cases(
    user_removed=("user", "operator"),
    agent_removed=("agent", "operator"),
    room_deleted=("room", "room_deleted"),
)
async def test_what_the_api_does_to_a_call_ends_it(worker: RunningWorker, given: tuple[str, str]) -> None:
    """A removed user or agent, or a deleted room, ends the session for its own reason; no room is left."""
    what, reason = given
    session_id = f"api-{what}"
    started = await worker.session(session_id, user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        async with worker.livekit() as lkapi:
            if what == "room":
                await lkapi.room.delete_room(api.DeleteRoomRequest(room=started.room))
            else:
                identity = "u1" if what == "user" else caller.agents_seen[-1]
                await lkapi.room.remove_participant(
                    api.RoomParticipantIdentity(room=started.room, identity=identity)
                )
        await caller.wait_left()

    record = await worker.transcript(session_id)
    assert record["end_reason"] == reason
    assert said(record, "assistant") == ["Welcome to the shop."], "nobody was there for a goodbye"
    assert not await worker.room_exists(session_id)


@together.situation
async def test_a_caller_who_leaves_during_the_goodbye_does_not_hold_up_the_end(worker: RunningWorker) -> None:
    """The end that was asked for stands, and the goodbye is marked as cut."""
    goodbye = (
        "This is a rather long goodbye, with many good wishes for you and for everybody who is dear to you."
    )
    started = await worker.session("bye-1", overrides={"goodbye": goodbye})
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await end_session(worker.settings, "bye-1", reason="operator", wait=False)
        await caller.wait_words("rather long")
    left = time.monotonic()
    record = await worker.transcript("bye-1")

    last = record["items"][-1]
    assert record["end_reason"] == "operator"
    assert (last["interrupted"], last["heard"]) == (True, "part")
    assert time.monotonic() - left < 6


@together.situation
async def test_a_session_that_was_ended_before_it_began_does_not_begin(worker: RunningWorker) -> None:
    """An end that comes before the claim leaves a tombstone: starting it fails with the reason."""
    assert await end_session(worker.settings, "never-1", reason="operator", wait=False) == "prevented"
    with pytest.raises(NotStartedError, match=r"has ended \(operator\)"):
        await worker.session("never-1")


@together.situation
async def test_a_session_that_is_refused_says_why_to_who_starts_it(worker: RunningWorker) -> None:
    """`agent session start` reports the reason of a refusal."""
    with pytest.raises(NotStartedError, match="preset") as caught:
        await worker.session("refused-org", organization="acme", preset="none-such")

    assert caught.value.code == "config_refused"


async def test_a_restarted_livekit_finds_the_call_with_one_agent(tmp_path: Path) -> None:
    """
    LiveKit is killed and comes back: a call with an id and one without go on with one agent each, in rooms
    that were made anew, and new calls are served.
    """
    with LiveKitServer(tmp_path / "livekit") as server:
        worker = RunningWorker(server, tmp_path / "data")
        try:
            worker.start()
            metadata = dispatch_metadata(session_id="restart-1", bundle="talk")
            overrides = '{"rejoin_grace_seconds": 30}'
            async with worker.redis() as client:
                await client.set("session:restart-1:config", overrides)
                await client.set("room:restart-2:config", overrides)
            async with (
                Caller(server.url, worker.token("restart-1", "u1", metadata=metadata)) as caller,
                Caller(
                    server.url, worker.token("restart-2", "u2", metadata="talk"), microphone=False
                ) as other,
            ):
                await caller.heard_all(after=caller.joined_at)
                await other.heard_all(after=other.joined_at)
                server.kill()
                await asyncio.to_thread(server.start)
                await eventually(lambda: worker.probe("/readyz")[0] == 200, "registered again", 40)
                await caller.wait_agent(within=30)
                await caller.until(lambda: len(caller.room.remote_participants) == 1, "one agent", within=30)
                spoken = await caller.ask("what are your opening hours")
                await caller.wait_words("nine to five", after=spoken.end, within=20)
                assert sum("nine to five" in c.text for c in caller.captions) == 1, "one agent answers"
                await other.until(lambda: len(other.room.remote_participants) == 1, "one agent", within=30)
                await other.write("where is order seven")
                await other.wait_words("arrives tomorrow", within=20)
                assert sum("Welcome" in c.text for c in other.captions) == 1, "no second greeting"
            async with Caller(server.url, worker.token("after-1", "u2", metadata="talk")) as caller:
                await caller.wait_words("Welcome", within=10)
        finally:
            worker.stop()
            print(worker.log_text()[-6000:])
