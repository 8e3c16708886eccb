"""Ends that something stands in the way of, and crashes of every kind, happening side by side."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from livekit import api

from agent.demo.caller import Caller
from agent.running import end_session
from tests.e2e.harness import RunningWorker, dispatch_metadata, eventually, journalled, said
from tests.e2e.test_comings import kind_token
from tests.e2e.together import Together
from tests.e2e.tools import DIES_BEFORE_ITS_CLAIM
from tests.e2e.wire import FOR_EVER, Wire

pytestmark = pytest.mark.e2e
together = Together(Wire)

GOODBYE = "The call ends now."


async def at_the_maximum(
    worker: RunningWorker, session_id: str, written: str, *, bundle: str = "life", seconds: int = 5
) -> dict[str, Any]:
    """A call whose user writes one thing and then waits for the maximum duration; its record."""
    overrides = {"max_duration_seconds": seconds}
    started = await worker.session(session_id, bundle=bundle, overrides=overrides)
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_event("config_applied", within=20)
        if written:
            await caller.write(written)
        await caller.wait_event("ended", reason="max_duration", within=seconds + 20)
        assert await caller.wait_left() == "ROOM_DELETED"
    record = await worker.transcript(session_id, within=40)
    assert record["end_reason"] == "max_duration"
    assert seconds <= record["duration_seconds"] < seconds + 13, "the goodbye has at most 10 s"
    return record


@together.situation
async def test_the_maximum_ends_a_tool_that_ignores_its_cancellation(worker: RunningWorker) -> None:
    """The call is over for the caller at once, and the process that cannot end is ended soon after."""
    ending = asyncio.create_task(at_the_maximum(worker, "max-stubborn", "do not stop"))
    state = await until_state(worker, "max-stubborn", "pid")
    await ending
    await eventually(lambda: not is_running(int(state["pid"])), "the process is gone", 20)


@together.situation
async def test_the_maximum_ends_a_tool_in_the_middle(worker: RunningWorker) -> None:
    """The goodbye is heard, and the record has the tool without a good end."""
    record = await at_the_maximum(worker, "max-tool", "take all the time")
    (call,) = [item for item in record["items"] if item["type"] == "tool_call"]
    assert call["status"] in ("error", "unknown")
    assert said(record, "assistant")[-1] == GOODBYE


@together.situation
async def test_the_maximum_ends_a_handover_in_the_middle(worker: RunningWorker) -> None:
    """An agent that takes a minute to take the floor does not hold up the end."""
    await at_the_maximum(worker, "max-handover", "transfer me to sales")


@together.situation
async def test_the_maximum_ends_an_answer_that_never_ends(worker: RunningWorker) -> None:
    """A language model that streams for ever is cut, what was heard is kept, and the goodbye is heard."""
    record = await at_the_maximum(worker, "max-forever", f"go on {FOR_EVER}", bundle="wire", seconds=8)
    answer, goodbye = said(record, "assistant")[-2:]
    assert answer.startswith("and on and on.")
    assert goodbye == GOODBYE


@together.situation
async def test_the_maximum_ends_a_voice_that_stalls(worker: RunningWorker) -> None:
    """A voice that never answers holds up neither the end nor its goodbye for longer than the cap."""
    await at_the_maximum(worker, "max-stalled", "", bundle="stalled", seconds=3)


async def crashed_and_back(
    worker: RunningWorker, way: str, *, maximum: int = 12, kind: str = "standard"
) -> dict[str, Any]:
    """A session whose process ends so in the middle of a tool, and which then runs into its maximum."""
    session_id = f"crash-{way}"
    overrides = {"max_duration_seconds": maximum}
    started = await worker.session(session_id, bundle="life", overrides=overrides)
    token = kind_token(worker, session_id, "caller", kind)
    async with Caller(started.url, token, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        await caller.heard_all(after=caller.joined_at)
        if way == "kill":
            os.kill(int((await worker.state(session_id))["pid"]), signal.SIGKILL)
        else:
            await caller.write(f"crash by {way}")
        await caller.wait_event("resumed", attempt=2, within=15)
        await caller.wait_event("ended", reason="max_duration", within=maximum + 13)
    record = await worker.transcript(session_id, within=40)
    assert len(record["attempts"]) == 2
    assert maximum <= record["duration_seconds"] < maximum + 11, "the deadline went on"
    assert said(record, "assistant").count("Welcome to the shop.") == 1
    assert any(text.startswith("Sorry, I lost you") for text in said(record, "assistant"))
    return record


@together.situation
async def test_a_segfault_is_survived(worker: RunningWorker) -> None:
    """The process is gone in the middle of a tool: the tool is not run again, and the deadline holds."""
    record = await crashed_and_back(worker, "segfault")
    calls = [(i["name"], i["status"]) for i in record["items"] if i["type"] == "tool_call"]
    assert calls == [("crash", "unknown")]


@together.situation
async def test_what_was_written_while_a_tool_worked_survives_a_kill(worker: RunningWorker) -> None:
    """It is in the record once, and the next process answers it."""
    started = await worker.session("written-kill", bundle="life")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        await quiet(caller)
        await caller.write("take all the time")
        await journalled(worker, "written-kill", "tool_call")
        await caller.write("what are your opening hours")
        await journalled(worker, "written-kill", "opening hours")
        os.kill(int((await worker.state("written-kill"))["pid"]), signal.SIGKILL)
        await caller.wait_event("resumed", attempt=2, within=15)
        await caller.wait_words("nine to five", within=20)
        await end_session(worker.settings, "written-kill", reason="operator", wait=False)
        await caller.wait_event("ended", within=20)
    record = await worker.transcript("written-kill", within=40)
    assert said(record, "user") == ["take all the time", "what are your opening hours"]


@together.situation
async def test_an_answer_that_was_being_written_survives_a_kill(worker: RunningWorker) -> None:
    """As with a voice: what the client had of it is in the record, interrupted."""
    started = await worker.session("writing-kill", bundle="letters_wire")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        await caller.write(f"go on {FOR_EVER}")
        await journalled(worker, "writing-kill", "and on and on. and on and on")
        os.kill(int((await worker.state("writing-kill"))["pid"]), signal.SIGKILL)
        await caller.wait_event("resumed", attempt=2, within=15)
        await end_session(worker.settings, "writing-kill", reason="operator", wait=False)
        await caller.wait_event("ended", within=20)
    record = await worker.transcript("writing-kill", within=40)
    answer = next(item for item in record["items"] if item.get("text", "").startswith("and on and on."))
    assert (answer["interrupted"], answer["heard"]) == (True, "part")


@together.situation
async def test_a_process_that_dies_with_its_last_word_leaves_nobody_alone(
    worker: RunningWorker,
) -> None:
    """The client was told that the call ended, and the room was not deleted yet: the parent does it."""
    started = await worker.session("last-word", bundle="life")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        pid = int((await worker.state("last-word"))["pid"])
        await end_session(worker.settings, "last-word", reason="operator", wait=False)
        await caller.wait_event("ended", reason="operator", within=15)
        os.kill(pid, signal.SIGKILL)
        assert await caller.wait_left(within=10) == "ROOM_DELETED"
    record = await worker.transcript("last-word", within=40)
    assert (record["end_reason"], len(record["attempts"])) == ("operator", 1)


@together.situation
async def test_a_refused_session_whose_process_dies_leaves_no_room(worker: RunningWorker) -> None:
    """It was waiting for somebody to tell; the one who comes would sit there alone."""
    metadata = dispatch_metadata(session_id="refused-kill", bundle="no-such-bundle")
    async with worker.livekit() as lkapi:
        request = api.CreateAgentDispatchRequest(
            agent_name=worker.settings.name, room="refused-kill", metadata=metadata
        )
        await lkapi.agent_dispatch.create_dispatch(request)
        pid = int((await until_state(worker, "refused-kill", "pid"))["pid"])
        waiting = api.ListParticipantsRequest(room="refused-kill")
        async with asyncio.timeout(20):
            while not (await lkapi.room.list_participants(waiting)).participants:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    record = await worker.transcript("refused-kill", within=40)
    assert (record["end_reason"], record["items"]) == ("config_refused", [])
    assert not await worker.room_exists("refused-kill")


@together.situation
async def test_a_process_that_dies_before_its_claim_is_replaced(worker: RunningWorker) -> None:
    """The parent claims the session in its name and has it served, and the user notices nothing."""
    started = await worker.session(DIES_BEFORE_ITS_CLAIM)
    async with worker.caller(started) as caller:
        await caller.wait_words("Welcome to the shop", within=10)
        await end_session(worker.settings, DIES_BEFORE_ITS_CLAIM, reason="operator", wait=False)
        await caller.wait_event("ended", within=15)
        assert not [event for event in caller.events if event["type"] == "resumed"]
    record = await worker.transcript(DIES_BEFORE_ITS_CLAIM)
    assert [attempt["attempt"] for attempt in record["attempts"]] == [2]


@together.situation
async def test_a_telephone_call_survives_a_restarted_connection(worker: RunningWorker) -> None:
    """
    The agent's SDK joins anew, everybody seems to leave for a moment, and LiveKit ends the job: the caller
    has not hung up, and another process goes on.
    """
    await crashed_and_back(worker, "reconnect", kind="sip")


@together.situation
async def test_a_process_in_which_nothing_can_run_is_ended(worker: RunningWorker) -> None:
    """What keeps the interpreter to itself stops our watchdog's thread, too: the kernel ends the process."""
    await crashed_and_back(worker, "hold", maximum=25)


@together.situation
async def test_after_a_crash_the_user_is_who_it_was(worker: RunningWorker) -> None:
    """Nobody was named: the one who had been heard goes on, and those who looked on are told nothing."""
    started = await worker.session("crowd", bundle="life")
    tokens = [kind_token(worker, "crowd", name, "standard") for name in ("caller", "b", "a", "z")]
    async with contextlib.AsyncExitStack() as stack:
        caller, *observers = [Caller(started.url, token, microphone=False) for token in tokens]
        for each in (caller, *observers):
            await stack.enter_async_context(each)
            if each is caller:
                await caller.wait_event("config_applied", within=20)
        os.kill(int((await worker.state("crowd"))["pid"]), signal.SIGKILL)
        await caller.wait_event("resumed", attempt=2, within=15)
        await caller.write("transfer me to the front")
        await caller.wait_words("Say it differently", within=15)
        await end_session(worker.settings, "crowd", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)
        assert not [event for observer in observers for event in observer.events]


@together.situation
async def test_a_call_whose_state_redis_lost_goes_on(worker: RunningWorker) -> None:
    """As after a failover to a replica that lacks the last writes: the process knows what was there."""
    started = await worker.session("forgotten", bundle="life")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_event("config_applied", within=20)
        async with worker.redis() as client:
            await client.delete("session:forgotten:state")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_event("config_applied", within=20)
        state = await until_state(worker, "forgotten", "config")
        await end_session(worker.settings, "forgotten", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)
    assert (state["bundle"], state["attempts"]) == ("life", "1")
    assert (await worker.transcript("forgotten"))["end_reason"] == "operator"


@together.situation
async def test_an_exit_with_status_zero_is_survived(worker: RunningWorker) -> None:
    """`os._exit(0)` looks like success to everybody but the journal."""
    await crashed_and_back(worker, "exit")


@together.situation
async def test_an_entrypoint_that_raises_is_survived(worker: RunningWorker) -> None:
    """livekit reports success for it; the journal has no end, so the call goes on."""
    await crashed_and_back(worker, "raising")


@together.situation
async def test_what_was_said_before_a_crash_is_told_to_the_model_as_it_is_kept(worker: RunningWorker) -> None:
    """After a kill the model is given the words of before, a redacted one as its placeholder, and told so."""
    wire = together.beside(Wire)
    started = await worker.session("told-again", bundle="wire")
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        await caller.heard_all(after=caller.joined_at)
        await caller.write("I am jane@example.org")
        await caller.wait_words("You said I am", within=15)
        await caller.write("and I like tea")
        await caller.wait_words("You said and I like tea", within=15)
        os.kill(int((await worker.state("told-again"))["pid"]), signal.SIGKILL)
        await caller.wait_event("resumed", within=15)
        await caller.write("what do I like")
        await caller.wait_words("You said what do I like", within=20)
        await end_session(worker.settings, "told-again", reason="operator", wait=False)
        await caller.wait_left(within=20)

    before, after = wire.asked_after("and I like tea")[0], wire.asked_after("what do I like")[-1]
    assert any("jane@example.org" in text for text in before)
    assert not any("jane@example.org" in text for text in after)
    for words in ("Welcome to the shop.", "I am [email]", "and I like tea", "Words in square brackets"):
        assert any(words in text for text in after), words


@together.situation
async def test_a_user_who_is_gone_is_not_called_back(worker: RunningWorker) -> None:
    """A crash while the user is away: the grace runs out, the room is closed, and no second agent comes."""
    overrides = {"rejoin_grace_seconds": 4}
    started = await worker.session("away-crash", bundle="life", overrides=overrides)
    async with worker.caller(started) as caller:
        await caller.wait_words("Welcome", within=20)
    os.kill(int((await worker.state("away-crash"))["pid"]), signal.SIGKILL)
    record = await worker.transcript("away-crash", within=30)

    assert (record["end_reason"], len(record["attempts"])) == ("crashed", 1)
    assert not await worker.room_exists("away-crash")


@together.situation
async def test_a_silence_goes_on_through_a_crash(worker: RunningWorker) -> None:
    """The prompt that was said is not said again after a kill, and the end comes when the silence is long."""
    overrides = {
        "idle_timeout_seconds": 9,
        "idle_prompts": [{"after_seconds": 2, "say": "Are you still there?"}],
    }
    started = await worker.session("idle-crash", bundle="life", overrides=overrides)
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Are you still there", within=20)
        await quiet(caller)
        os.kill(int((await worker.state("idle-crash"))["pid"]), signal.SIGKILL)
        await caller.wait_event("ended", reason="idle", within=30)
    record = await worker.transcript("idle-crash", within=20)

    assert [i["name"] for i in record["items"] if i.get("name") == "idle_prompt"] == ["idle_prompt"]
    assert len(record["attempts"]) == 2


async def quiet(caller: Caller) -> None:
    """The agent has said everything."""
    await caller.heard_all(after=caller.joined_at)


async def until_state(worker: RunningWorker, session_id: str, field: str) -> dict[str, str]:
    """The session's state once it has this field."""
    async with asyncio.timeout(20):
        while not (state := await worker.state(session_id)).get(field):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    return state


def is_running(pid: int) -> bool:
    """Whether there is such a process, zombies apart."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
