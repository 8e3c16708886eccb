"""The record as a function of the journal: examples, and properties over random journals."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.transcripts.conversation import conversation
from agent.transcripts.entries import union
from agent.transcripts.fold import end_of, fold

KEYS = {
    "schema", "runtime_version", "session_id", "title", "room", "attempts", "organization", "user_id",
    "bundle", "preset", "digest", "origins", "verdicts", "started_at", "live_at", "ended_at",
    "duration_seconds", "end_reason", "end_detail", "lost_entries", "participants", "agents",
    "usage", "items", "metadata",
}  # fmt: skip


def at(seconds: float) -> str:
    """A moment of the session."""
    return f"2026-01-01T00:{int(seconds) // 60:02}:{seconds % 60:06.3f}Z"


def entries(*kinds: dict[str, Any], attempt: int = 1, w: str = "a", begin: float = 0) -> list[dict[str, Any]]:
    """A journal: one entry a second, numbered, of these fields."""
    return [
        {"v": 1, "attempt": attempt, "w": w, "n": number, "at": at(begin + number - 1), **fields}
        for number, fields in enumerate(kinds, 1)
    ]


def start(**fields: Any) -> dict[str, Any]:
    return {"type": "start", "session_id": "s-1", "initial_agent": "triage", **fields}


def user(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "user", "identity": "u1", "text": text, **fields}


def agent(text: str, **fields: Any) -> dict[str, Any]:
    spoken = {"speech_id": "s", "agent": "triage", "final": True, "interrupted": False, "heard": "all"}
    return {"type": "agent", "text": text, **spoken, **fields}


LIVE = {"type": "live"}


def texts(transcript: dict[str, Any]) -> list[str]:
    return [item["text"] for item in transcript["items"] if item["type"] == "message"]


def test_whole_session() -> None:
    """Every kind of entry has its place in the record."""
    verdict = {"path": "voice_tuning.pace", "verdict": "clamped", "asked": 9, "applied": 3.0, "reason": "…"}
    journal = entries(
        start(room={"name": "r", "sid": None}, job_id="AJ", worker_id="AW", organization=None, user_id="u1",
              bundle=None, preset=None, digest=None, origins={}, verdicts=[], metadata={"k": [1]},
              started_at=at(0)),
        start(room={"name": "r", "sid": "RM_x"}, bundle="interview", digest="sha256:1", verdicts=[verdict],
              origins={"voice_tuning.pace": "redis"}),
        {"type": "participant", "identity": "u1", "kind": "standard", "change": "joined"},
        LIVE,
        agent("Hello, shall we start?", item_id="i1", speech_id="s1"),
        user("Yes, with my order", item_id="i2", created_at=at(5)),
        {"type": "tool_call", "call_id": "c1", "name": "look_up", "arguments": {"id": 7}, "agent": "triage"},
        {"type": "tool_result", "call_id": "c1", "output": "found", "status": "ok"},
        {"type": "handoff", "from": "triage", "to": "expert"},
        {"type": "event", "name": "idle_prompt"},
        {"type": "error", "source": "tts", "message": "timed out"},
        {"type": "usage", "models": [{"kind": "tts", "provider": "p", "model": "m", "characters": 20}]},
        {"type": "participant", "identity": "u1", "kind": "standard", "change": "left"},
        {"type": "end", "reason": "user_left", "detail": "gone"},
    )  # fmt: skip
    transcript = fold(journal)
    assert transcript.keys() == KEYS
    assert transcript["session_id"] == "s-1"
    assert transcript["room"] == {"name": "r", "sid": "RM_x"}
    assert transcript["bundle"] == "interview"
    assert transcript["attempts"] == [{"attempt": 1, "job_id": "AJ", "worker_id": "AW", "started_at": at(0)}]
    assert transcript["verdicts"] == [verdict]
    assert (transcript["started_at"], transcript["live_at"], transcript["ended_at"]) == (at(0), at(3), at(13))
    assert transcript["duration_seconds"] == 10.0
    assert (transcript["end_reason"], transcript["end_detail"]) == ("user_left", "gone")
    assert transcript["participants"] == [
        {"identity": "u1", "kind": "standard", "joined_at": at(2), "left_at": at(12)}
    ]
    assert transcript["agents"] == ["triage", "expert"]
    assert transcript["usage"] == [{"kind": "tts", "provider": "p", "model": "m", "characters": 20}]
    assert transcript["title"] == "Yes, with my order"
    assert transcript["metadata"] == {"k": [1]}
    assert transcript["items"] == [
        {"seq": 1, "type": "message", "role": "assistant", "agent": "triage",
         "text": "Hello, shall we start?", "interrupted": False, "heard": "all", "created_at": at(4),
         "started_at": None, "ended_at": None},
        {"seq": 2, "type": "message", "role": "user", "identity": "u1", "text": "Yes, with my order",
         "created_at": at(5), "started_at": None, "ended_at": None},
        {"seq": 3, "type": "tool_call", "name": "look_up", "arguments": {"id": 7}, "output": "found",
         "status": "ok"},
        {"seq": 4, "type": "handoff", "from": "triage", "to": "expert"},
        {"seq": 5, "type": "event", "name": "idle_prompt"},
        {"seq": 6, "type": "error", "source": "tts", "message": "timed out"},
    ]  # fmt: skip


def test_nothing_gives_a_record() -> None:
    """No entries at all are folded too, with every key."""
    transcript = fold([])
    assert transcript.keys() == KEYS
    assert (transcript["items"], transcript["end_reason"], transcript["duration_seconds"]) == (
        [],
        "crashed",
        0.0,
    )


def test_nobody_came() -> None:
    """A session that nobody joined has no time of life, no items and no agents, and its reason."""
    transcript = fold(entries(start(), {"type": "end", "reason": "no_participant"}))
    assert (transcript["live_at"], transcript["duration_seconds"]) == (None, 0.0)
    assert (transcript["end_reason"], transcript["agents"]) == ("no_participant", [])


def test_answer_under_way_at_the_kill() -> None:
    """An answer without its final report is there with the words heard up to then, as interrupted."""
    journal = entries(start(), LIVE, agent("One", final=False), agent("One two", final=False))
    (item,) = fold(journal)["items"]
    assert (item["text"], item["interrupted"], item["heard"]) == ("One two", True, "part")
    assert fold(journal)["end_reason"] == "crashed"


def test_final_report_wins() -> None:
    """The final report counts, also when one of the answer under way comes after it."""
    reports = [agent("One two", final=False), agent("One two three"), agent("One", final=False)]
    assert texts(fold(entries(start(), *reports))) == ["One two three"]


def test_one_speech_says_two_things() -> None:
    """What is said before and after a tool call under one speech id is two messages."""
    journal = entries(
        start(),
        agent("Let me", final=False, item_id=None),
        agent("Let me look.", item_id="i1"),
        {"type": "tool_call", "call_id": "c", "name": "look", "arguments": "{}"},
        agent("It", final=False),
        agent("It is there.", item_id="i2"),
    )
    assert [item.get("text", item["type"]) for item in fold(journal)["items"]] == [
        "Let me look.", "tool_call", "It is there.",
    ]  # fmt: skip


def test_items_are_ordered_by_their_start() -> None:
    """Words that were committed late stand where they were spoken."""
    journal = entries(
        start(), LIVE, agent("answer", started_at=at(2)), user("question", started_at=at(1), created_at=at(1))
    )
    assert texts(fold(journal)) == ["question", "answer"]
    assert [item["seq"] for item in fold(journal)["items"]] == [1, 2]


def test_words_after_the_end_are_there() -> None:
    """What was said before the user left and committed after the end is in the record; the end stays."""
    journal = entries(
        start(), LIVE, {"type": "end", "reason": "user_left"}, user("last words", started_at=at(1.5))
    )
    transcript = fold(journal)
    assert texts(transcript) == ["last words"]
    assert (transcript["ended_at"], transcript["end_reason"]) == (at(2), "user_left")


def test_replaced_attempt_is_cut_at_the_takeover() -> None:
    """What an older attempt wrote after its successor started is left out; what came before stays."""
    first = entries(
        start(job_id="A"), LIVE, user("before"), user("too late"), {"type": "end", "reason": "idle"}
    )
    second = entries(start(job_id="B"), user("after"), attempt=2, w="b", begin=2.5)
    transcript = fold([*second, *first])
    assert texts(transcript) == ["before", "after"]
    assert [row["job_id"] for row in transcript["attempts"]] == ["A", "B"]
    assert transcript["end_reason"] == "crashed"
    assert end_of([*first, *second]) is None


def test_same_id_used_again_loses_nothing() -> None:
    """Two journals that both are attempt 1, days apart, are both in the record."""
    first = entries(start(job_id="A"), user("old"), {"type": "end", "reason": "idle"}, w="x")
    takeover = entries(start(job_id="B"), user("resumed"), attempt=2, w="y", begin=10)
    second = entries(start(job_id="C"), user("new"), {"type": "end", "reason": "user_left"}, w="z", begin=600)
    transcript = fold([*second, *takeover, *first])
    assert texts(transcript) == ["old", "resumed", "new"]
    assert transcript["end_reason"] == "user_left"


def test_parent_ends_a_crashed_session() -> None:
    """An end that the parent journals about an attempt counts, and makes no attempt of its own."""
    job = entries(start(job_id="A"), LIVE, user("hello"))
    parent = entries({"type": "end", "reason": "crashed", "detail": "killed twice"}, w="p", begin=9)
    transcript = fold([*job, *parent])
    assert (transcript["end_reason"], transcript["end_detail"]) == ("crashed", "killed twice")
    assert len(transcript["attempts"]) == 1


def test_first_end_wins() -> None:
    """Of two ends of one attempt, the first cause is the reason."""
    journal = entries(start(), {"type": "end", "reason": "idle"}, {"type": "end", "reason": "user_left"})
    assert fold(journal)["end_reason"] == "idle"


def test_intent_without_result_is_unknown() -> None:
    """A tool that was running at the kill is in the record with an outcome that nobody knows."""
    call = {"type": "tool_call", "call_id": "c", "name": "pay", "arguments": '{"sum": 3}'}
    (item,) = fold(entries(start(), call))["items"]
    assert item == {
        "seq": 1, "type": "tool_call", "name": "pay", "arguments": {"sum": 3}, "output": None,
        "status": "unknown",
    }  # fmt: skip
    (unfinished,) = conversation(entries(start(), call)).unfinished_calls
    assert unfinished["call_id"] == "c"


def test_usage_is_last_per_attempt_and_summed() -> None:
    """Usage reports are cumulative within an attempt and added up over attempts."""

    def usage(tokens: int) -> dict[str, Any]:
        return {
            "type": "usage",
            "models": [{"kind": "llm", "provider": "p", "model": "m", "input_tokens": tokens}],
        }

    first = entries(start(), usage(5), usage(9))
    second = entries(start(), usage(4), attempt=2, w="b", begin=60)
    assert fold([*first, *second])["usage"][0]["input_tokens"] == 13


def test_gaps_count_as_lost() -> None:
    """A number that was given and is not there is a lost entry; one that turns up is none any more."""
    whole = entries(start(), LIVE, user("a"), user("b"), {"type": "end", "reason": "idle"})
    assert fold(whole)["lost_entries"] == 0
    assert fold([entry for entry in whole if entry["n"] not in (2, 3)])["lost_entries"] == 2
    assert fold(whole[:3])["lost_entries"] == 0
    assert fold(entries(start(), {"type": "lost", "count": 3}))["lost_entries"] == 3


def test_conversation_knows_who_waits() -> None:
    """After a crash it is known who speaks now and whether the user waits for an answer."""
    handoff = {"type": "handoff", "from": "triage", "to": "expert"}
    asked = entries(start(), LIVE, agent("Hi", speech_id="1"), handoff, user("And?"))
    assert (conversation(asked).agent, conversation(asked).user_spoke_last) == ("expert", True)
    unheard = entries(start(), user("And?"), agent("", heard="none", interrupted=True))
    assert conversation(unheard).user_spoke_last
    cut = entries(start(), user("And?"), agent("It is", final=False))
    assert (conversation(cut).user_spoke_last, conversation(cut).answer_cut) == (False, True)
    assert conversation(entries(start())).agent == "triage"
    greeting = conversation(entries(start(), LIVE, agent("Good mor", final=False)))
    assert (greeting.user_spoke_last, greeting.answer_cut) == (False, False), "a greeting answers nobody"


def test_long_first_words_make_a_short_title() -> None:
    """A title is at most 80 characters and ends at a word."""
    title = fold(entries(start(), user("word " * 40)))["title"]
    assert len(title) <= 80
    assert title.endswith("word…")


# --- properties ---------------------------------------------------------------------------------------------

words = st.text(st.characters(), max_size=12)
junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
moments = st.floats(0, 3599).map(at) | junk
names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(
    ["start", "live", "participant", "user", "agent", "tool_call", "tool_result", "handoff", "event", "error",
     "usage", "verdicts", "revision", "lost", "end", "hologram"]
)  # fmt: skip
field_values: dict[str, st.SearchStrategy[Any]] = {
    "session_id": words, "room": junk, "origins": junk, "metadata": junk, "started_at": moments,
    "created_at": moments, "ended_at": moments, "identity": names,
    "change": st.sampled_from(["joined", "left"]),
    "item_id": names | junk, "speech_id": names | junk, "call_id": names | junk, "text": words | junk,
    "final": st.booleans() | junk, "interrupted": st.booleans() | junk, "heard": junk, "agent": names | junk,
    "from": names, "to": names,
    "models": st.lists(st.dictionaries(words, junk, max_size=3), max_size=2) | junk,
    "verdicts": st.lists(st.dictionaries(words, junk, max_size=2), max_size=2) | junk, "reason": names | junk,
    "arguments": junk, "output": junk, "status": junk, "count": st.integers(0, 9) | junk,
    "name": names | junk,
}  # fmt: skip
one_entry = st.fixed_dictionaries(
    {"attempt": st.integers(1, 3), "w": names, "n": st.integers(1, 12), "at": moments, "type": kinds},
    optional=field_values,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(one_entry, max_size=25))
def test_any_entries_give_a_valid_record(journal: list[dict[str, Any]]) -> None:
    """Whatever the entries hold, the record has all keys, is strict JSON, and numbers its items 1 to n."""
    transcript = fold(journal)
    assert transcript.keys() == KEYS
    json.dumps(transcript, allow_nan=False).encode()
    assert [item["seq"] for item in transcript["items"]] == list(range(1, len(transcript["items"]) + 1))
    assert transcript["duration_seconds"] >= 0
    conversation(journal)


@settings(max_examples=150, deadline=None)
@given(st.lists(one_entry, max_size=15), st.data())
def test_order_and_doubles_do_not_matter(journal: list[dict[str, Any]], data: st.DataObject) -> None:
    """Entries in any order, and any of them twice, give the same record."""
    doubled = journal + data.draw(st.lists(st.sampled_from(journal), max_size=5) if journal else st.just([]))
    assert fold(data.draw(st.permutations(doubled))) == fold(journal)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["user", "agent", "tool", "handoff"]), max_size=12), st.data())
def test_any_cut_gives_a_prefix_of_the_talk(steps: list[str], data: st.DataObject) -> None:
    """Cutting a journal anywhere gives the same items up to the cut, except for what was under way there."""
    fields: list[dict[str, Any]] = [start(), LIVE]
    for place, step in enumerate(steps):
        match step:
            case "user":
                fields.append(user(f"words {place}"))
            case "agent":
                fields.append(agent(f"answer {place}", speech_id=str(place), final=False))
                fields.append(agent(f"answer {place} whole", speech_id=str(place)))
            case "tool":
                fields.append({"type": "tool_call", "call_id": str(place), "name": "t", "arguments": {}})
                fields.append({"type": "tool_result", "call_id": str(place), "output": "o"})
            case _:
                fields.append({"type": "handoff", "from": "a", "to": "b"})
    journal = entries(*fields, {"type": "end", "reason": "idle"})
    whole = fold(journal)["items"]
    cut = fold(journal[: data.draw(st.integers(0, len(journal)))])["items"]
    assert len(cut) <= len(whole)
    assert cut[:-1] == whole[: max(0, len(cut) - 1)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 15), st.integers(0, 15), st.integers(0, 19), st.data())
def test_replaced_attempt_leaves_nothing_after_its_replacement(
    before: int, after: int, at_second: int, data: st.DataObject
) -> None:
    """Whenever an attempt is replaced, what it said until then stays, and nothing of what it wrote later."""
    first = entries(start(job_id="A"), LIVE, *(user(f"old {number}") for number in range(before)))
    second = entries(
        start(job_id="B"), *(user(f"new {number}") for number in range(after)),
        attempt=2, w="b", begin=at_second + 0.5,
    )  # fmt: skip
    mixed = data.draw(st.permutations([*first, *second]))
    in_time = [f"old {number}" for number in range(before) if number + 2 < at_second + 0.5]
    assert texts(fold(mixed)) == in_time + [f"new {number}" for number in range(after)]


@settings(max_examples=100, deadline=None)
@given(st.lists(one_entry, max_size=15), st.lists(one_entry, max_size=15))
def test_union_only_grows(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    """Adding entries never makes the set that a record is folded from smaller."""
    assert union(one).keys() <= union([*one, *two]).keys()
