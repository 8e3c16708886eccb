"""Two people in one room with an agent that hears both."""

import time

import pytest

from agent.demo.caller import Caller
from agent.running import end_session
from tests.e2e.harness import RunningWorker, said
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together()


@together.situation
async def test_an_agent_that_listens_to_all_hears_both_callers(worker: RunningWorker) -> None:
    """Each one's words are understood, answered, and carry the name of who said them, in captions as well."""
    started = await worker.session("both-1", user_id="u1", overrides={"listen_to": "all"})
    async with (
        worker.caller(started) as user,
        Caller(started.url, worker.token("both-1", "guest"), name="guest") as guest,
    ):
        await user.heard_all(after=user.joined_at)
        spoken = await guest.ask("what are your opening hours")
        await user.wait_words("nine to five", after=spoken.end)
        await user.heard_all(after=spoken.end)
        spoken = await user.ask("where is order seven")
        await guest.wait_words("arrives tomorrow", after=spoken.end)
        await guest.heard_all(after=spoken.end)
        await guest.write("transfer me to sales")
        spoken = await guest.ask("what are your opening hours")
        await user.wait_words("nine to five", after=spoken.end)
        captions = {(one.identity, one.text) for one in user.captions if not one.identity.startswith("agent")}
        await end_session(worker.settings, "both-1", reason="operator", wait=False)
        await user.wait_event("ended", within=15)

    record = await worker.transcript("both-1")
    assert [(i["identity"], i["text"]) for i in record["items"] if i.get("role") == "user"] == [
        ("guest", "what are your opening hours"),
        ("u1", "where is order seven"),
        ("guest", "what are your opening hours"),
    ], "spoken words of both, and no text of the guest's"
    assert captions == {("guest", "what are your opening hours"), ("u1", "where is order seven")}
    assert [i for i in record["items"] if i["type"] == "handoff"] == []


@together.situation
async def test_a_guest_resets_idle_and_does_not_keep_a_call_without_its_user(worker: RunningWorker) -> None:
    """Anybody's words begin the silence anew; without the user nobody is heard, and the call ends."""
    overrides = {"listen_to": "all", "idle_timeout_seconds": 6, "rejoin_grace_seconds": 2}
    started = await worker.session("both-2", user_id="u1", overrides=overrides)
    async with Caller(started.url, worker.token("both-2", "guest"), name="guest") as guest:
        async with worker.caller(started) as user:
            await user.heard_all(after=user.joined_at)
            until = time.monotonic() + 10
            while time.monotonic() < until:
                spoken = await guest.say("what are your opening hours")
                await user.heard_all(after=spoken.end)
            assert not any(event["type"] == "ended" for event in user.events), "the silence began anew"
        left = time.monotonic()
        while guest.disconnect_reason is None and time.monotonic() - left < 12:
            await guest.say("where is order seven")
    record = await worker.transcript("both-2")

    assert guest.disconnect_reason == "ROOM_DELETED"
    assert record["end_reason"] == "user_left"
    assert "where is order seven" not in said(record, "user")
