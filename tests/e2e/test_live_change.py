"""A running session is changed from outside, heard by a caller and read in the record."""

import asyncio
import json
import subprocess
import time
from typing import Any

import pytest

from agent.demo.audio import fundamental_hz
from agent.demo.caller import Caller
from agent.demo.hearing import Utterance
from agent.overriding import change_session
from agent.running import end_session, live_sessions
from tests.e2e.harness import RunningWorker, eventually, said
from tests.e2e.test_recovery import kill_job
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together()


async def answer(caller: Caller) -> Utterance:
    """Ask by text and hear the whole answer: always the same words."""
    asked = time.monotonic()
    await caller.write("what are your opening hours")
    return (await caller.heard_all(after=asked))[0]


async def told(caller: Caller, digest: str) -> dict[str, Any]:
    """The `config_applied` of a revision."""
    return await caller.wait_event("config_applied", digest=digest)


async def override(worker: RunningWorker, *arguments: str) -> tuple[int, dict[str, Any]]:
    """`agent session override … --json`: its exit status and what it printed."""
    command = worker.command("session", "override", *arguments, "--json")
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env=worker.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout or done.stderr.strip().splitlines()[-1])


@together.situation
async def test_a_change_of_voice_is_heard_from_the_next_utterance_on(worker: RunningWorker) -> None:
    """Who speaks finishes as they began; the next utterance has the new pace and the new voice."""
    started = await worker.session("live-voice", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        before = await answer(caller)

        asked = time.monotonic()
        await caller.write("what are your opening hours")
        await caller.heard_speech(after=asked)
        change = {"voice_tuning": {"pace": 1.7}, "tts_voice_id": "en-us+f3"}
        changed = await change_session(worker.settings, "live-voice", change)
        during = (await caller.heard_all(after=asked))[0]

        after = await answer(caller)
        event = await told(caller, changed["digest"])
        heard = [caller.hearing.between(one.start, one.end) for one in (before, during, after)]
        await end_session(worker.settings, "live-voice", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)

    # a busy machine may stretch what is received, and nothing shortens it: 1.7 times the pace would be 0.59
    assert during.seconds > before.seconds * 0.85
    assert after.seconds < before.seconds / 1.4
    low, same, high = [fundamental_hz(sound) for sound in heard]
    assert same == pytest.approx(low, rel=0.1)
    assert high > low * 1.2
    assert {v["path"]: (v["verdict"], v["effect"]) for v in changed["verdicts"]} == {
        "voice_tuning.pace": ("applied", "next_utterance"), "voice_id": ("applied", "next_utterance"),
    }  # fmt: skip
    assert all("next utterance" in verdict["reason"] for verdict in event["verdicts"])
    record = await worker.transcript("live-voice")
    assert {v["path"] for v in record["verdicts"] if v.get("source") == "command"} >= {"voice_tuning.pace"}
    assert changed["digest"] != record["digest"], "the record names what the session began with"


@together.situation
async def test_a_voice_that_is_none_lets_the_default_speak(worker: RunningWorker) -> None:
    """At the start, at a handover and in a change: the call goes on with the voice that the verdict names."""
    wrong = {"voice_id": "zz-nope", "agents": {"sales": {"voice_id": {"offline": "zz-nope"}}}}
    started = await worker.session("live-nope", overrides=wrong)
    async with worker.caller(started) as caller:
        greeting = (await caller.heard_all(after=caller.joined_at))[0]
        first = await answer(caller)
        await change_session(worker.settings, "live-nope", {"voice_id": "en-us+f3"})
        changed = await answer(caller)
        back = await change_session(worker.settings, "live-nope", {"voice_id": "zz-nope"})
        again = await answer(caller)
        asked = time.monotonic()
        await caller.write("transfer me to sales")
        sales = (await caller.heard_all(after=asked))[0]
        heard = [
            caller.hearing.between(one.start, one.end) for one in (first, changed, again, sales, greeting)
        ]
        await end_session(worker.settings, "live-nope", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)

    low, high, same, other, welcome = [fundamental_hz(sound) for sound in heard]
    assert high > low * 1.2
    assert [same, other, welcome] == [pytest.approx(low, rel=0.15)] * 3
    assert [(v["path"], v["verdict"]) for v in back["verdicts"]] == [("voice_id", "unsupported")]
    record = await worker.transcript("live-nope")
    assert record["end_reason"] == "operator"
    reasons = {v["path"]: v["reason"] for v in record["verdicts"] if v["verdict"] == "unsupported"}
    assert reasons["voice_id"] == reasons["agents.sales.voice_id"]
    assert reasons["voice_id"] == "not a voice of offline; its default voice speaks, en-us"


@together.situation
async def test_a_loudness_where_there_was_none_is_heard_from_both_agents(worker: RunningWorker) -> None:
    """The first gain puts another voice before the one that is there, for later agents as well."""
    started = await worker.session("live-loud")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        before = await answer(caller)
        await change_session(worker.settings, "live-loud", {"voice_tuning": {"loudness": 0.25}})
        after = await answer(caller)
        levels = [_level(caller, one) for one in (before, after)]
        asked = time.monotonic()
        await caller.write("transfer me to sales")
        sales = (await caller.heard_all(after=asked))[0]
        levels.append(_level(caller, sales))
        await end_session(worker.settings, "live-loud", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)

    assert levels[1] < levels[0] * 0.4
    assert levels[2] < levels[0] * 0.6


def _level(caller: Caller, one: Utterance) -> float:
    samples = caller.hearing.between(one.start, one.end).astype(float)
    return float((samples**2).mean() ** 0.5)


@together.situation
async def test_a_shorter_idle_timeout_holds_at_once(worker: RunningWorker) -> None:
    """A limit and the last words change now: the call ends by the new limit with the new goodbye."""
    started = await worker.session("live-idle", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        change = {"idle_timeout_seconds": 1.5, "goodbye": "Good night, {{user_name}}."}
        status, answered = await override(
            worker,
            "live-idle",
            "--live",
            *(part for k, v in change.items() for part in ("--set", f"{k}={v}")),
        )
        await caller.wait_words("Good night, friend", within=10)
        await caller.wait_event("ended", reason="idle", within=10)

    assert status == 0
    assert {v["path"]: v["effect"] for v in answered["verdicts"]} == {
        "idle_timeout_seconds": "now", "goodbye": "now",
    }  # fmt: skip
    record = await worker.transcript("live-idle")
    assert (record["end_reason"], said(record, "assistant")[-1]) == ("idle", "Good night, friend.")
    assert record["duration_seconds"] < 30


@together.situation
async def test_a_command_that_was_there_before_the_session_is_applied(worker: RunningWorker) -> None:
    """A change that is sent ahead of the claim holds from the first words on."""
    change = {"voice_tuning": {"pace": 1.7}, "goodbye": "That was quick."}
    async with worker.redis() as client:
        fields = {"command": "override", "override": json.dumps(change)}
        await client.xadd("session:live-ahead:commands", fields)
    started = await worker.session("live-ahead", user_id="u1")
    await _answers(worker, "live-ahead")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        quick = await answer(caller)
        await end_session(worker.settings, "live-ahead", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)
    record = await worker.transcript("live-ahead")

    assert quick.seconds < 1.5, "at the voice's own pace it takes about two seconds"
    assert said(record, "assistant")[-1] == "That was quick."


@together.situation
async def test_a_killed_process_comes_back_with_the_changed_config(worker: RunningWorker) -> None:
    """A second attempt has the last revision; a command is applied once, by its stream id and by its own."""
    started = await worker.session("live-kill", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        before = await answer(caller)
        command = {
            "command": "override", "id": "mine-1",
            "override": json.dumps({"voice_tuning": {"pace": 1.7}, "goodbye": "See you soon."}),
        }  # fmt: skip
        async with worker.redis() as client:
            await client.xadd("session:live-kill:commands", command)
            await client.xadd("session:live-kill:commands", command)
        answers = await _answers(worker, "live-kill")
        killed = await kill_job(worker, "live-kill")
        await caller.wait_event("resumed", attempt=2)
        await caller.heard_all(after=killed + 0.5)
        after = await answer(caller)
        event = await told(caller, answers[0]["digest"])
        later = await _answers(worker, "live-kill")
        await end_session(worker.settings, "live-kill", reason="operator", wait=False)
        await caller.wait_words("See you soon", within=10)
        await caller.wait_event("ended", within=15)

    assert after.seconds < before.seconds / 1.4
    assert [one["id"] for one in later] == ["mine-1"]
    assert event["digest"] == (await worker.transcript("live-kill"))["digest"]


async def _answers(worker: RunningWorker, session_id: str) -> list[dict[str, Any]]:
    """What the job answered to overrides, once it did."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if found := json.loads((await worker.state(session_id)).get("revisions", "[]")):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("no answer")


@together.situation
async def test_what_may_not_change_is_answered(worker: RunningWorker) -> None:
    """Refused, waiting for the next session, and broken: each is said, and the call goes on as it was."""
    started = await worker.session("live-refused")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        asked = ("turn_taking.min_delay=3", "captions=false", "voice_tuning.pace=9", "nonsense=1")
        status, answered = await override(
            worker, "live-refused", "--live", *(part for pair in asked for part in ("--set", pair))
        )
        async with worker.redis() as client:
            await client.xadd("session:live-refused:commands", {"command": "override", "override": "no JSON"})
            await eventually(lambda: len(caller.events) >= 3, "the client is told")
        digests = [e["digest"] for e in caller.events if e["type"] == "config_applied"]
        await answer(caller)
        await end_session(worker.settings, "live-refused", reason="operator", wait=False)
        await caller.wait_event("ended", within=15)

    assert status == 0
    assert {v["path"]: v["verdict"] for v in answered["verdicts"]} == {
        "turn_taking.min_delay": "refused", "captions": "unsupported",
        "voice_tuning.pace": "clamped", "nonsense": "refused",
    }  # fmt: skip
    assert digests[1] == digests[2] == answered["digest"] != digests[0]


@together.situation
async def test_an_override_before_the_start_is_added_to_what_is_there(worker: RunningWorker) -> None:
    """Values are merged under the session's key, its life kept; unknown, begun and ended sessions exit 2."""
    async with worker.redis() as client:
        await client.set(
            "session:live-new:config", json.dumps({"voice_tuning": {"pace": 1.1}, "rev": 4}), ex=99
        )
        status, _ = await override(
            worker, "live-new", "--set", "voice_tuning.pitch=0.2", "--set", "voiceId=x"
        )
        there = json.loads(await client.get("session:live-new:config"))
        left = await client.ttl("session:live-new:config")
    assert status == 0
    assert there == {"voice_tuning": {"pace": 1.1, "pitch": 0.2}, "rev": 4, "voice_id": "x"}
    assert 0 < left <= 99

    await worker.session("live-begun", user_id="u5")
    listed = next(s for s in await live_sessions(worker.settings) if s["session_id"] == "live-begun")
    assert (listed["phase"], listed["user_id"], listed["live_at"]) == ("configured", "u5", None)
    assert listed["started_at"].endswith("Z")
    assert (await override(worker, "live-begun", "--set", "voice_id=x"))[0] == 2
    await end_session(worker.settings, "live-begun", reason="operator", wait=True)
    status, answered = await override(worker, "live-begun", "--live", "--set", "voice_id=x")
    assert (status, answered["error"]["code"]) == (2, "unknown_session")
    status, answered = await override(worker, "live-nobody", "--live", "--set", "voice_id=x")
    assert (status, answered["error"]["code"]) == (2, "unknown_session")
