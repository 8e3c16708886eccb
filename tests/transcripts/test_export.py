"""Records as text, CSV, JSON and WebVTT."""

import csv
import io
import json
from typing import Any

import pytest

from agent.transcripts.export import COLUMNS, as_text, as_webvtt, export
from agent.transcripts.fold import fold
from tests.transcripts.test_fold import LIVE, agent, at, entries, start, user


@pytest.fixture
def transcript() -> dict[str, Any]:
    """A short talk with times."""
    return fold(
        entries(
            start(),
            LIVE,
            agent("Hello & <welcome>", speech_id="1", started_at=at(2), ended_at=at(3.25)),
            user("=HYPERLINK(1)", started_at=at(5), ended_at=at(6)),
            agent("never heard", speech_id="2", heard="none", interrupted=True, started_at=at(6.5)),
            agent("no end known", speech_id="3", started_at=at(70)),
            {"type": "tool_call", "call_id": "c", "name": "look", "arguments": {"id": 7}},
            {"type": "end", "reason": "idle"},
        )
    )


def test_webvtt_is_timed_from_the_first_word(transcript: dict[str, Any]) -> None:
    """Cues begin at zero with the first word, are escaped, and leave out what nobody heard."""
    assert "".join(as_webvtt(transcript)) == (
        "WEBVTT\n\n"
        "1\n00:00:00.000 --> 00:00:01.250\n<v triage>Hello &amp; &lt;welcome&gt;</v>\n\n"
        "2\n00:00:03.000 --> 00:00:04.000\n<v u1>=HYPERLINK(1)</v>\n\n"
        "5\n00:01:08.000 --> 00:01:09.000\n<v triage>no end known</v>\n\n"
    )


def test_webvtt_of_a_silent_session() -> None:
    """A session without words is a valid, empty file."""
    assert "".join(as_webvtt(fold([]))) == "WEBVTT\n\n"


def test_csv_has_a_row_per_item(transcript: dict[str, Any]) -> None:
    """Every item is a row, and no cell is a formula for a spreadsheet."""
    rows = list(csv.DictReader(io.StringIO("".join(export([transcript, transcript], "csv")))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * len(transcript["items"])
    assert "'=HYPERLINK(1)" in [row["text"] for row in rows]
    assert {row["text"][:1] for row in rows}.isdisjoint("=+-@")


def test_json_of_many_is_an_array(transcript: dict[str, Any]) -> None:
    """Many records are one JSON array; none are an empty one."""
    assert json.loads("".join(export([transcript, transcript], "json"))) == [transcript, transcript]
    assert json.loads("".join(export([], "json"))) == []


def test_text_shows_every_item(transcript: dict[str, Any]) -> None:
    """A person reads who said what, what was not heard, and what tools did."""
    lines = list(as_text(transcript))
    assert "u1: =HYPERLINK(1)" in lines
    assert "triage: never heard (not heard)" in lines
    assert "  [look(id=7), unknown]" in lines
    assert "\n".join(lines) in "".join(export([transcript], "text"))


def test_webvtt_of_many_into_one_is_refused(transcript: dict[str, Any]) -> None:
    """One WebVTT file cannot hold two sessions."""
    with pytest.raises(ValueError, match="one session per file"):
        list(export([transcript], "vtt"))
