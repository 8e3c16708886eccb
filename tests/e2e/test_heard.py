"""What the record says was heard is what a client received."""

import asyncio
import time

import pytest

from agent.demo.caller import Caller
from agent.starting import Wanted, start_session
from tests.e2e.harness import RunningWorker
from tests.e2e.together import Together

pytestmark = pytest.mark.e2e
together = Together(at_once=4)

STORY = (
    "Once upon a time there was a small shop at the end of a long road, and in the shop there was a bell, "
    "and the bell rang every morning at nine, and it rang again every evening at five, and everybody in "
    "the street knew what time it was, and so nobody in that street ever needed a clock or a watch at all."
)
TOLERANCE_SECONDS = 1.2
"""What a client may have received more or less than was counted: its jitter buffer, and the words' own uneven
pace, which counting by letters does not know."""


async def talking(worker: RunningWorker, session_id: str, **overrides: object) -> Caller:
    started = await start_session(
        worker.settings, Wanted(session_id=session_id, bundle="heard", overrides=overrides)
    )
    return worker.caller(started)


async def story_seconds(caller: Caller, asked_at: float) -> float:
    """How long the whole story takes, as this client receives it."""
    heard = await caller.heard_all(after=asked_at, quiet=1.2, within=60)
    return heard[-1].end - heard[0].start


@together.cases(captions=True, no_captions=False)
async def test_an_answer_that_is_spoken_over_is_recorded_as_far_as_it_was_received(
    worker: RunningWorker, given: bool
) -> None:
    """The words in the record are those of the audio that the client got before the agent fell silent."""
    captions = given
    session_id = f"over-{captions}".lower()
    async with await talking(worker, session_id, captions=captions) as caller:
        await caller.heard_all(after=caller.joined_at)
        spoken = await caller.say("tell me a long story")
        whole = await story_seconds(caller, spoken.end)
        spoken = await caller.say("tell me a long story")
        begun = await caller.heard_speech(after=spoken.end)
        await asyncio.sleep(4.0)
        over = await caller.say("what are your opening hours")
        (cut, *_) = [one for one in caller.hearing.utterances(begun.start) if one.end - one.start > 1]
        received = cut_end(caller, begun.start, over.end) - begun.start
        await caller.heard_all(after=over.end)
        await caller.say("thank you goodbye")
        await caller.wait_event("ended", within=20)

    record = await worker.transcript(session_id)
    stories = [item for item in record["items"] if item.get("text", "").startswith("Once upon")]
    assert [story["interrupted"] for story in stories] == [False, True]
    assert (stories[0]["text"], stories[0]["heard"]) == (STORY, "all")
    story = stories[1]
    assert story["heard"] == "part"
    assert STORY.startswith(story["text"])
    assert STORY[len(story["text"])] in " ,", "cut at a word's end"
    recorded = whole * len(story["text"]) / len(STORY)
    print(f"captions {captions}: received {received:.2f} s of {whole:.2f} s, words of {recorded:.2f} s")
    assert recorded == pytest.approx(received, abs=TOLERANCE_SECONDS)
    texts = [item["text"] for item in record["items"] if item["type"] == "message"]
    place = texts.index(story["text"])
    assert texts[place + 1] == "what are your opening hours", "the words that cut it follow it"
    assert cut.identity


def cut_end(caller: Caller, begun: float, before: float) -> float:
    """When the client last received speech of what began then, before the agent spoke anew."""
    ends = begun
    for one in caller.hearing.utterances(begun):
        if one.start - ends > 0.8 or one.start > before:
            break
        ends = one.end
    return ends


@together.situation
async def test_an_answer_that_nobody_heard_is_marked(worker: RunningWorker) -> None:
    """A greeting said to a user who was gone when it would have been heard is `none`, not a prefix."""
    async with await talking(worker, "unheard-1", rejoin_grace_seconds=2) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.say("tell me a long story")
    record = await worker.transcript("unheard-1", within=30)

    user = [item for item in record["items"] if item.get("role") == "user"]
    answers = [item for item in record["items"] if item.get("role") == "assistant"][1:]
    assert record["end_reason"] == "user_left"
    assert [item["text"] for item in user] == ["tell me a long story"], "words that came after the user left"
    assert all(item["heard"] == "none" and item["interrupted"] for item in answers)
    left = record["participants"][0]["left_at"]
    assert user[0]["started_at"] < left, "in the place where they were said"


@together.situation
async def test_words_that_arrive_after_the_user_left_stand_where_they_were_said(
    worker: RunningWorker,
) -> None:
    """The final transcript of a user who hung up at the last word is in the record, before what followed."""
    async with await talking(worker, "late-1", rejoin_grace_seconds=3) as caller:
        await caller.heard_all(after=caller.joined_at)
        said = await caller.say("where is order seven")
        await asyncio.sleep(0.2)  # the last syllable is on its way; its words are made only after a pause
        left = time.monotonic()
    record = await worker.transcript("late-1", within=30)

    roles = [(item["role"], item["text"]) for item in record["items"] if item["type"] == "message"]
    assert roles[:2] == [("assistant", "Welcome to the shop."), ("user", "where is order seven")]
    assert left - said.end < 0.5, "gone before anything could have been understood"
