"""A record for people and other programs: JSON, text, CSV and WebVTT, produced piece by piece."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from agent.transcripts.entries import seconds_of

Format = Literal["json", "text", "csv", "vtt"]

COLUMNS = (
    "session_id", "seq", "time", "type", "role", "speaker", "text", "interrupted", "heard", "status",
)  # fmt: skip
_LETTERS_PER_SECOND = 15.0
_SHORTEST_CUE = 1.0


def export(transcripts: Iterable[dict[str, Any]], form: Format) -> Iterator[str]:
    """
    Many records as one text, piece by piece; holds one record at a time.

    Args:
        transcripts: Records, transcript/v1.
        form: `json`: an array of transcript/v1; `text`; `csv`: one row per item, with a header. WebVTT knows
            one session per file: `as_webvtt`.
    """
    first = True
    if form == "json":
        yield "["
        for transcript in transcripts:
            yield ("\n" if first else ",\n") + json.dumps(transcript, ensure_ascii=False)
            first = False
        yield "\n]\n"
    elif form == "csv":
        yield _row(COLUMNS)
        for transcript in transcripts:
            yield from as_csv(transcript)
    elif form == "text":
        for transcript in transcripts:
            if not first:
                yield "\n" + "-" * 72 + "\n"
            yield from (f"{line}\n" for line in as_text(transcript))
            first = False
    else:
        raise ValueError("WebVTT holds one session per file: export one, or many into a folder")


def as_text(transcript: dict[str, Any]) -> Iterator[str]:
    """The record as lines for reading: what it is, then what was said and done."""
    yield f"session   {transcript['session_id']}"
    if transcript["title"]:
        yield f"title     {transcript['title']}"
    yield f"bundle    {transcript['bundle'] or '-'}"
    yield f"user      {transcript['user_id'] or '-'}"
    yield f"started   {transcript['started_at']}"
    detail = f" ({transcript['end_detail']})" if transcript["end_detail"] else ""
    yield (
        f"ended     {transcript['ended_at']}, {transcript['end_reason']}{detail}, "
        f"after {transcript['duration_seconds']:.1f} s"
    )
    if len(transcript["attempts"]) > 1:
        yield f"attempts  {len(transcript['attempts'])}"
    if transcript["lost_entries"]:
        yield f"lost      {transcript['lost_entries']} entries of the journal"
    yield ""
    for item in transcript["items"]:
        yield item_line(item)


def as_csv(transcript: dict[str, Any]) -> Iterator[str]:
    """
    The items as rows of `COLUMNS`, without the header.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it: people say what they
    like, and a caller must not run formulas on the desk of whoever reads the export.
    """
    for item in transcript["items"]:
        yield _row(
            (
                transcript["session_id"],
                item["seq"],
                item.get("started_at") or item.get("created_at"),
                item["type"],
                item.get("role"),
                _speaker(item) if item["type"] == "message" else None,
                item["text"] if item["type"] == "message" else item_line(item).strip(),
                item.get("interrupted"),
                item.get("heard"),
                item.get("status"),
            )
        )


def as_webvtt(transcript: dict[str, Any]) -> Iterator[str]:
    """
    The words as WebVTT cues, timed from the first word; what nobody heard is left out.

    A message without a known end is given the time that its length takes to say (15 letters a second), at
    most up to the next one.
    """
    yield "WEBVTT\n\n"
    said = [
        (begin, item)
        for item in transcript["items"]
        if item["type"] == "message" and item["text"].strip() and item.get("heard") != "none"
        if (begin := seconds_of(item["started_at"] or item["created_at"])) is not None
    ]
    if not said:
        return
    origin = min(begin for begin, _ in said)
    for place, (begin, item) in enumerate(said):
        end = seconds_of(item["ended_at"])
        if end is None or end <= begin:
            end = begin + max(_SHORTEST_CUE, len(item["text"]) / _LETTERS_PER_SECOND)
            following = [later for later, _ in said[place + 1 :] if later > begin]
            end = min(end, *following) if following else end
        speaker = _escaped(" ".join(_speaker(item).split())).replace("&gt;", "")
        words = _escaped(" ".join(item["text"].split()))
        yield f"{item['seq']}\n{_cue_time(begin - origin)} --> {_cue_time(end - origin)}\n"
        yield f"<v {speaker}>{words}</v>\n\n"


def item_line(item: dict[str, Any]) -> str:
    """One item as one line."""
    match item["type"]:
        case "message":
            return f"{_speaker(item)}: {' '.join(item['text'].split())}{_remark(item)}"
        case "tool_call":
            output = "" if item["output"] is None else f" → {item['output']}"
            arguments = ", ".join(f"{name}={value!r}" for name, value in item["arguments"].items())
            return f"  [{item['name']}({arguments}){output}, {item['status']}]"
        case "handoff":
            return f"  [{item['from']} hands over to {item['to']}]"
        case "event":
            return f"  [{item['name']}]"
        case _:
            return f"  [error of {item.get('source')}: {item.get('message')}]"


def _speaker(item: dict[str, Any]) -> str:
    if item["role"] == "user":
        return item["identity"] or "user"
    return item["agent"] or "agent"


def _remark(item: dict[str, Any]) -> str:
    if item["role"] == "user":
        return ""
    if item["heard"] == "none":
        return " (not heard)"
    return " … (interrupted)" if item["interrupted"] else ""


def _row(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(
        f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
        for cell in cells
    )
    return line.getvalue()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cue_time(seconds: float) -> str:
    milliseconds = round(max(0.0, seconds) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}.{milliseconds:03}"
