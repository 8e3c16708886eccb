"""Lists, pages, ownership and search, on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.transcripts.filters import EVERYONE, OPERATOR, Filters, Owner
from agent.transcripts.finalize import finalize
from agent.transcripts.history import count_hidden, every_transcript, list_transcripts, load, rename
from agent.transcripts.journal import Journal
from agent.transcripts.search import search
from agent.transcripts.stats import statistics
from tests.transcripts.conftest import talk


def day(number: int) -> str:
    return f"2026-01-{number:02}T09:00:00.000Z"


def record(
    engine: Engine, journals: Path, session_id: str, said: tuple[str, ...] = ("hello",), **start: object
) -> None:
    """A recorded talk."""
    end = str(start.pop("end", "idle"))
    talk(journals, session_id, said=said, end=end, **start)
    finalize(session_id, engine=engine, journals=journals)


def ids(engine: Engine, owner: Owner = OPERATOR, filters: Filters | None = None) -> list[str]:
    return [row["session_id"] for row in every_transcript(engine, owner, filters)]


def test_newest_first_in_pages(engine: Engine, journals: Path) -> None:
    """Pages hold each record once, newest first, also when two started at the same moment."""
    for number in (3, 1, 2, 5, 4):
        record(engine, journals, f"s-{number}", started_at=day(min(number, 4)))
    first = list_transcripts(engine, OPERATOR, limit=2)
    assert first.next is not None
    assert [row["session_id"] for row in first.transcripts] == ["s-5", "s-4"]
    second = list_transcripts(engine, OPERATOR, limit=2, after=first.next)
    assert [row["session_id"] for row in second.transcripts] == ["s-3", "s-2"]
    last = list_transcripts(engine, OPERATOR, limit=2, after=second.next)
    assert ([row["session_id"] for row in last.transcripts], last.next) == (["s-1"], None)


def test_pages_stay_right_while_records_arrive(engine: Engine, journals: Path) -> None:
    """A record that arrives between two pages moves nothing to or from the pages that follow."""
    for number in (1, 2, 3, 4):
        record(engine, journals, f"s-{number}", started_at=day(number))
    first = list_transcripts(engine, OPERATOR, limit=2)
    record(engine, journals, "s-9", started_at=day(9))
    second = list_transcripts(engine, OPERATOR, limit=2, after=first.next)
    assert [row["session_id"] for row in second.transcripts] == ["s-2", "s-1"]


def test_filters(engine: Engine, journals: Path) -> None:
    """Bundle, reason, agent and times narrow the list, alone and together."""
    record(engine, journals, "a", bundle="interview", started_at=day(1), end="idle")
    record(
        engine, journals, "b", bundle="acme/support", started_at=day(2), end="user_left", initial_agent="x"
    )
    record(engine, journals, "c", bundle="interview", started_at=day(3), end="user_left")
    assert ids(engine, filters=Filters(bundle="interview")) == ["c", "a"]
    assert ids(engine, filters=Filters(end_reason="user_left")) == ["c", "b"]
    assert ids(engine, filters=Filters(agent="x")) == ["b"]
    assert ids(engine, filters=Filters(agent="triage")) == ["c", "b", "a"]
    assert ids(engine, filters=Filters(since="2026-01-02")) == ["c", "b"]
    assert ids(engine, filters=Filters(until="2026-01-03")) == ["b", "a"]
    assert ids(engine, filters=Filters(bundle="interview", end_reason="idle", since=day(1))) == ["a"]
    assert ids(engine, filters=Filters(agent="triage", until=day(2))) == ["a"]


def test_what_belongs_to_another_is_not_found(engine: Engine, journals: Path) -> None:
    """Lists, single records, renaming and search see what their owner has, and nothing else."""
    record(engine, journals, "mine", ("secret plans",), organization="acme", user_id="u1")
    record(engine, journals, "colleague's", ("secret plans",), organization="acme", user_id="u2")
    record(engine, journals, "other's", ("secret plans",), organization="other", user_id="u1")
    record(engine, journals, "shared", ("secret plans",), organization=None, user_id="u1")
    seen = {
        Owner("acme", "u1"): ["mine"],
        Owner("acme"): ["colleague's", "mine"],
        Owner(None, "u1"): ["shared"],
        Owner(None): ["shared"],
        Owner(EVERYONE, "u1"): ["mine", "other's", "shared"],
        Owner("acme", ""): [],
        OPERATOR: ["colleague's", "mine", "other's", "shared"],
    }
    for owner, expected in seen.items():
        assert sorted(ids(engine, owner)) == expected
        assert (
            sorted(hit.session_id for hit in search(engine, owner, "secret") if hit.role == "user")
            == expected
        )
        for session_id in ("mine", "colleague's", "other's", "shared"):
            assert (load(engine, session_id, owner) is not None) == (session_id in expected)
            assert rename(engine, session_id, owner, "x") == (session_id in expected)


def test_silent_sessions_are_hidden_from_a_user(engine: Engine, journals: Path) -> None:
    """A session in which the user said nothing is recorded, and not in the user's history unless asked."""
    record(engine, journals, "spoken")
    record(engine, journals, "silent", ())
    assert sorted(ids(engine)) == ["silent", "spoken"]
    assert ids(engine, Owner(None, "u1")) == ["spoken"]
    assert sorted(ids(engine, Owner(None, "u1"), Filters(silent=True))) == ["silent", "spoken"]
    counted = [
        count_hidden(engine, owner, filters)
        for owner in (OPERATOR, Owner(None, "u1"), Owner(EVERYONE, "u1"), Owner("acme", "u1"))
        for filters in (None, Filters(silent=True))
    ]
    assert counted == [0, 0, 1, 0, 1, 0, 0, 0]


def test_title_of_one_s_own(engine: Engine, journals: Path) -> None:
    """A session is called by the user's first words, by a given title, and by its first words again."""
    record(engine, journals, "s", ("my first words", "more"))
    assert list_transcripts(engine, OPERATOR).transcripts[0]["title"] == "my first words"
    assert rename(engine, "s", OPERATOR, "Interview")
    assert list_transcripts(engine, OPERATOR).transcripts[0]["title"] == "Interview"
    assert rename(engine, "s", OPERATOR, None)
    assert (load(engine, "s", OPERATOR) or {})["title"] == "my first words"


@pytest.mark.parametrize(
    ("said", "query", "marked"),
    [
        ("Where is my Order today", "order", "Where is my **Order** today"),
        ("आप कैसे हैं, नमस्ते दुनिया", "नमस्ते", "आप कैसे हैं, **नमस्ते** दुनिया"),
        ("मैं ठीक हूँ", "हूँ", "मैं ठीक **हूँ**"),
        ("我想预订酒店房间", "酒店", "我想预订**酒****店**房间"),
        ("ผมอยากจองห้อง", "จอง", "ผมอยาก**จ****อ****ง**ห้อง"),
        ("Größe und STRASSE", "straße", "Größe und **STRASSE**"),
        ("привет, мир", "МИР", "привет, **мир**"),
        ("the quick brown fox", '"quick brown"', "the **quick** **brown** fox"),
        ("an international call", "inter*", "an **international** call"),
        ("it's o'clock; drop table", "clock'", "it's o'**clock**; drop table"),
        ("café ﬁne", "fine", "café **ﬁne**"),
    ],
)
def test_words_of_any_script_are_found(
    engine: Engine, journals: Path, said: str, query: str, marked: str
) -> None:
    """Search finds words of many scripts, phrases and begins, and marks them in the text."""
    record(engine, journals, "s", (said,))
    record(engine, journals, "t", ("nothing of it",))
    hits = [hit for hit in search(engine, OPERATOR, query) if hit.role == "user"]
    assert [(hit.session_id, hit.snippet()) for hit in hits] == [("s", marked)]


@pytest.mark.parametrize("query", ["की", "brown quick fast", '"brown quick"', "NOT", "hel", "OR", "*", '"'])
def test_other_words_are_not_found(engine: Engine, journals: Path, query: str) -> None:
    """Other vowels, another order in a phrase, a missing word and words of query languages find nothing."""
    record(engine, journals, "s", ("का quick brown hello",))
    if query in ("*", '"'):
        with pytest.raises(ValueError, match="at least one word"):
            search(engine, OPERATOR, query)
    else:
        assert search(engine, OPERATOR, query) == []


def test_better_matches_come_first(engine: Engine, journals: Path) -> None:
    """A message that is about a word comes before one that mentions it in passing; then the newer one."""
    record(engine, journals, "passing", ("well " * 30 + "refund " + "well " * 30,), initial_agent=None)
    record(engine, journals, "about", ("refund my refund",))
    record(engine, journals, "also", ("refund my refund",))
    hits = [hit.session_id for hit in search(engine, OPERATOR, "refund") if hit.role == "user"]
    assert hits == ["also", "about", "passing"]


def test_search_is_narrowed_by_filters(engine: Engine, journals: Path) -> None:
    """Filters of lists hold for search too."""
    record(engine, journals, "a", ("refund",), bundle="x")
    record(engine, journals, "b", ("refund",), bundle="y")
    hits = search(engine, OPERATOR, "refund", Filters(bundle="y"))
    assert {hit.session_id for hit in hits} == {"b"}


def test_growth_replaces_what_is_searched(engine: Engine, journals: Path) -> None:
    """After a record grew, each message is found once."""
    talk(journals, "s", said=("refund",), end=None)
    finalize("s", engine=engine, journals=journals)
    record(engine, journals, "s", ("order",), attempt=2)
    assert [hit.seq for hit in search(engine, OPERATOR, "refund") if hit.role == "user"] == [1]


def test_statistics(engine: Engine, journals: Path) -> None:
    """Counts, durations and turns are added up by day, bundle or reason, for one owner."""
    record(engine, journals, "a", ("one", "two"), bundle="x", started_at=day(1), organization="acme")
    record(engine, journals, "b", ("one",), bundle="x", started_at=day(2), organization="acme")
    record(engine, journals, "c", ("one",), bundle="y", started_at=day(2), organization="other")
    rows = statistics(engine, Owner("acme"), by="bundle")
    assert [(row["bundle"], row["sessions"], row["turns"]) for row in rows] == [("x", 2, 3)]
    days = statistics(engine, OPERATOR, by="day")
    assert [(row["day"], row["sessions"]) for row in days] == [("2026-01-02", 2), ("2026-01-01", 1)]
    used = Journal(journals, "d", 1)
    used.append("start", session_id="d", bundle="z", started_at=day(3))
    used.append("live")
    for number in (1, 2):  # each report says all so far
        model = {"kind": "llm", "provider": "p", "model": "m"}
        tokens = {"input_tokens": 70 * number, "output_tokens": 30 * number}
        voice = {"kind": "tts", "provider": "p", "model": "v", "characters": 55 * number, "seconds": 2.5}
        used.append("usage", models=[model | tokens, voice])
    used.append("end", reason="idle")
    assert used.close()
    finalize("d", engine=engine, journals=journals)
    (newest,) = statistics(engine, OPERATOR, Filters(bundle="z", silent=True), by="day")
    assert (newest["day"], newest["tokens"], newest["characters"]) == ("2026-01-03", 200, 110)
    assert newest["duration_seconds"] >= 0
    assert statistics(engine, OPERATOR, by="reason")[0].keys() == {
        "reason", "sessions", "duration_seconds", "turns", "tokens", "characters",
    }  # fmt: skip
