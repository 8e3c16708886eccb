"""Every bundle that ships is talked with, by callers in rooms, while doubles note what its providers get."""

import pytest

from tests.e2e.harness import said
from tests.e2e.shipped import SHIPPED, WIRED, Stage, all_of, turn, words_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def quick(shipped: Stage) -> None:
    """The bundle in Hindi with short times."""
    times = {"idle_prompts": [{"after_seconds": 2}], "idle_timeout_seconds": 5}
    shipped.serve({"hindi_quick": {"include": ["hindi_wired"], **times}})


def test_every_bundle_has_its_talk_here() -> None:
    """A bundle that is added to the folder has to be added to this file."""
    names = {path.stem for path in SHIPPED.glob("*.yaml")}
    assert names == {*WIRED, "demo", "base", "offline"}


async def interview(shipped: Stage) -> None:
    """Spoken words, a handover with another voice and a generated greeting, a panel, and the end."""
    line = "interview_wired"
    shipped.openai.words[line] += ["please hand over to the expert"]
    started = await shipped.start(line, variables={"candidate_name": "Asha"})
    async with shipped.worker.caller(started) as caller:
        await caller.wait_words("Hello Asha, shall we start?")
        greeting = (await caller.heard_all(after=caller.joined_at))[0]
        await caller.say("please go on")
        await caller.wait_event("handoff", **{"from": "triage", "to": "coding_expert"}, within=15)
        await caller.wait_words("As you wish", after=greeting.end)
        await turn(caller, "show me the panel", "It says: shown")
        await caller.wait_event("panel", panels=["coding_ide"])
        await caller.wait_attribute("session.panels", '["coding_ide"]')
        await caller.write("goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)
    record = await shipped.worker.transcript(line)
    assert said(record, "user") == ["please hand over to the expert", "show me the panel", "goodbye"]
    assert record["agents"] == ["triage", "coding_expert"]
    voices = [call.path.split("/")[3] for call in shipped.voices(line)]
    assert set(voices) == {"EXAVITQu4vr4xnSDxMaL", "onwK4e9ZLuTAKqWW03F9"}
    assert voices == sorted(voices), "first one voice, then the other"
    settings = shipped.voices(line)[0].sent[0]["voice_settings"]
    assert (settings["speed"], settings["stability"], settings["similarity_boost"]) == (1.05, 0.5, 0.8)
    first, second = shipped.thoughts(line)[:2]
    assert "interview with Asha" in words_of(first.body["messages"][0])
    assert first.body["temperature"] == 0.6
    assert "an experienced engineer" in words_of(second.body["messages"][0])
    assert "Introduce yourself in one sentence" in str(second.body["messages"][-1])
    warmed = {call.peer for call in shipped.openai.of("/models", line)}
    heard = shipped.openai.of("/audio/transcriptions", line)[0]
    assert {heard.peer, first.peer} <= warmed, "the first turn went over connections that were there"


async def support(shipped: Stage) -> None:
    """A tool that is bridged with words, a number that is redacted, and a voice that goes on elsewhere."""
    line = "support_wired"
    shipped.openai.words[line] += ["where is my order, call me at 202-456-1111"]
    started = await shipped.start(line, variables={"company": "Acme"})
    async with shipped.worker.caller(started) as caller:
        await caller.wait_words("Thank you for calling Acme")
        greeting = (await caller.heard_all(after=caller.joined_at))[0]
        await caller.say("please go on")
        await caller.wait_words("One moment", after=greeting.end, within=15)
        await caller.wait_words("It says: Order seven", after=greeting.end)
        await caller.write("goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)
    record = await shipped.worker.transcript(line)
    assert said(record, "user")[0] == "where is my order, call me at [phone_number]"
    assert [(i["name"], i["status"]) for i in record["items"] if i["type"] == "tool_call"] == [
        ("lookup_order", "ok"), ("end_call", "ok"),
    ]  # fmt: skip
    (transcribed,) = shipped.openai.of("/audio/transcriptions", line)
    assert (transcribed.body["model"], transcribed.body["language"]) == ("gpt-4o-mini-transcribe", "en")
    assert "support line of Acme" in words_of(shipped.thoughts(line)[0].body["messages"][0])


async def hindi(shipped: Stage) -> None:
    """Hearing, thinking, voice and the runtime's own sentences, all in Hindi."""
    line = "hindi_wired"
    shipped.openai.words[line] += ["नमस्ते"]
    started = await shipped.start("hindi_quick")
    async with shipped.worker.caller(started) as caller:
        await caller.wait_words("मैं आपकी क्या मदद")
        await caller.heard_all(after=caller.joined_at)
        await caller.say("hello")
        await caller.wait_words("You said नमस्ते", within=15)
        await caller.wait_words("क्या आप अभी भी वहाँ हैं?", within=15)
        await caller.wait_words("धन्यवाद, नमस्ते।", within=15)
        await caller.wait_event("ended", reason="idle", within=15)
    assert shipped.openai.of("/audio/transcriptions", line)[0].body["language"] == "hi"
    assert "Speak Hindi (hi-IN)" in words_of(shipped.thoughts(line)[0].body["messages"][0])
    assert {call.query["language_code"] for call in shipped.voices(line)} == {"hi"}


async def realtime(shipped: Stage) -> None:
    """A speech-to-speech model: fixed words by asking for them, a spoken turn, a handover, the idle end."""
    line = "realtime_wired"
    shipped.realtime.words[line] += ["please hand over to the guide"]
    started = await shipped.start(line, overrides={"idle_timeout_seconds": 6})
    async with shipped.worker.caller(started) as caller:
        await caller.wait_words("Welcome to the museum. How can I help you?")
        await caller.heard_all(after=caller.joined_at)
        await caller.say("please go on")
        await caller.wait_event("handoff", **{"from": "desk", "to": "guide"}, within=15)
        await turn(caller, "what is there to see", "You said what is there to see")
        await caller.wait_words("Thank you, goodbye.", within=20)
        await caller.wait_event("ended", reason="idle", within=15)
    record = await shipped.worker.transcript(line)
    assert said(record, "user") == ["please hand over to the guide", "what is there to see"]
    assert said(record, "assistant")[0] == "Welcome to the museum. How can I help you?"
    assert record["agents"] == ["desk", "guide"]
    updates = [
        event["session"] for call in shipped.realtime.of("/realtime", line) for event in call.sent
        if event["type"] == "session.update"
    ]  # fmt: skip
    outputs = [update["audio"]["output"] for update in updates if "output" in update.get("audio", {})]
    assert (outputs[0]["voice"], outputs[0]["speed"]) == ("marin", 1.1)


async def text_only(shipped: Stage) -> None:
    """A talk in writing: no voice, no ears, only words."""
    line = "text_only_wired"
    started = await shipped.start(line)
    async with shipped.worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Hello, what would you like to know?")
        await turn(caller, "what is a bundle", "You said what is a bundle")
        await caller.write("goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)
        assert not caller.hearing.utterances(0)
    assert not shipped.voices(line)
    assert not shipped.openai.of("/audio/speech", line)


async def demo(shipped: Stage) -> None:
    """The demo as it ships: a tool, a handover, and an end, without any key."""
    started = await shipped.start("demo")
    async with shipped.worker.caller(started, microphone=False) as caller:
        await caller.wait_words("this is the demo shop")
        await turn(caller, "where is my order number seven", "order seven")
        await turn(caller, "i would like to talk to a specialist", "This is the specialist speaking")
        await caller.write("goodbye")
        await caller.wait_event("ended", reason="agent_ended", within=15)


async def test_every_bundle_is_talked_with_on_its_providers(shipped: Stage) -> None:
    """The spoken ones are spoken with, all at once on one worker, and each does what it is an example of."""
    await all_of(interview(shipped), support(shipped), text_only(shipped))
    await all_of(hindi(shipped), realtime(shipped), demo(shipped))


@pytest.mark.parametrize("group", [WIRED[:3], WIRED[3:]], ids=" ".join)
async def test_with_offline_included_each_runs_without_keys(shipped: Stage, group: tuple[str, ...]) -> None:
    """`include: [NAME, offline]` greets and answers by rule; no provider with a key is asked."""
    asked = len(shipped.openai.calls) + len(shipped.elevenlabs.calls) + len(shipped.realtime.calls)

    async def talk(name: str) -> None:
        started = await shipped.start(f"{name}_keyless")
        async with shipped.worker.caller(started, microphone=False) as caller:
            await caller.until(lambda: caller.captions or None, f"a greeting of {name}")
            await turn(caller, "who are you", "I am an offline voice that answers by rule")
            await caller.write("goodbye")
            await caller.wait_event("ended", reason="agent_ended", within=15)

    await all_of(*(talk(name) for name in group))
    assert asked == len(shipped.openai.calls) + len(shipped.elevenlabs.calls) + len(shipped.realtime.calls)
