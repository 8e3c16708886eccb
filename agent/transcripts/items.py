"""What was said and done in a session, in the order in which it began."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.transcripts.entries import Entry, from_json, iso, plain

HEARD = ("all", "part", "none")


@dataclass
class _Placed:
    """An item, and where it belongs: when it began, then the place of its first entry."""

    begun: str
    place: tuple[str, int, str, int]
    item: dict[str, Any]
    cut: bool = False
    """An answer that never got its final entry."""


def items_of(kept: list[Entry], *, open_answers_are_cut: bool) -> list[dict[str, Any]]:
    """
    The items of the record.

    Args:
        kept: Surviving entries by time.
        open_answers_are_cut: Leave out the mark `cut` that tells an answer that a crash cut off from one
            that was interrupted (the record knows only `interrupted`).
    """
    placed = [*_user_words(kept), *_answers(kept), *_tool_calls(kept), *_others(kept)]
    placed.sort(key=lambda one: (one.begun, one.place))
    items = []
    for seq, one in enumerate(placed, 1):
        item = {"seq": seq, **one.item}
        if one.cut and not open_answers_are_cut:
            item["cut"] = True
        items.append(item)
    return items


def _user_words(kept: list[Entry]) -> list[_Placed]:
    found: dict[object, _Placed] = {}
    for entry in kept:
        if entry["type"] != "user":
            continue
        item_id = entry.get("item_id")
        key = item_id if isinstance(item_id, str) and item_id else _place(entry)
        times = _times(entry)
        times["created_at"] = times["created_at"] or entry["at"]
        item = {
            "type": "message",
            "role": "user",
            "identity": _text(entry.get("identity")),
            "text": _text(entry.get("text")) or "",
            **times,
        }
        before = found.get(key)
        place = before.place if before else _place(entry)
        found[key] = _Placed(times["started_at"] or times["created_at"] or place[0], place, item)
    return list(found.values())


def _answers(kept: list[Entry]) -> list[_Placed]:
    """
    One message per answer, from its reports: several while it is under way, a final one after it.

    One speech can say several things (before and after a tool call): each final report with an item id of
    its own is a message of its own.
    """
    speeches: dict[tuple[object, ...], list[Entry]] = {}
    for entry in kept:
        if entry["type"] == "agent":
            speech = entry.get("speech_id")
            own = (speech,) if isinstance(speech, str) and speech else _place(entry)
            speeches.setdefault((entry["attempt"], entry["w"], *own), []).append(entry)
    placed = []
    for reports in speeches.values():
        for under_way, final in _parts(reports):
            placed.append(_answer(under_way, final))
    return placed


def _parts(reports: list[Entry]) -> list[tuple[list[Entry], Entry | None]]:
    """The reports of one speech by message: those under way, and the final one (None: there is none)."""
    parts: list[tuple[list[Entry], Entry | None]] = []
    under_way: list[Entry] = []
    for report in sorted(reports, key=lambda entry: entry["n"]):
        last_final = parts[-1][1] if parts else None
        if not report.get("final", True):
            if last_final is None or under_way or not _is_late(report, last_final):
                under_way.append(report)
            continue
        if last_final is not None and not under_way and _is_same(report, last_final):
            parts[-1] = (parts[-1][0], report)
        else:
            parts.append((under_way, report))
            under_way = []
    if under_way:
        parts.append((under_way, None))
    return parts


def _is_same(report: Entry, final: Entry) -> bool:
    ours, theirs = report.get("item_id"), final.get("item_id")
    return ours is None or theirs is None or ours == theirs


def _is_late(report: Entry, final: Entry) -> bool:
    """Whether a report of an answer under way came after its final one, and so says nothing new."""
    if report.get("item_id") is not None and report.get("item_id") == final.get("item_id"):
        return True
    said = (_text(report.get("text")) or "").split()
    return said == (_text(final.get("text")) or "").split()[: len(said)]


def _answer(under_way: list[Entry], final: Entry | None) -> _Placed:
    reports = [*under_way, final] if final else under_way
    first, last = reports[0], reports[-1]
    text = _text(last.get("text")) or ""
    heard = last.get("heard")
    started_at = next((time for report in reports if (time := iso(report.get("started_at")))), None)
    created_at = next((time for report in reports if (time := iso(report.get("created_at")))), None)
    if final is None:
        interrupted, heard = True, "part" if text.strip() else "none"
    else:
        interrupted = final.get("interrupted") is True
    item = {
        "type": "message",
        "role": "assistant",
        "agent": _text(last.get("agent")),
        "text": text,
        "interrupted": interrupted,
        "heard": heard if heard in HEARD else ("all" if text else "none"),
        "created_at": created_at or first["at"],
        "started_at": started_at,
        "ended_at": iso(last.get("ended_at")) if final else (iso(last.get("ended_at")) or last["at"]),
    }
    return _Placed(started_at or created_at or first["at"], _place(first), item, cut=final is None)


def _tool_calls(kept: list[Entry]) -> list[_Placed]:
    """Intents with their results; an intent without one is `unknown`: nobody can say whether it was done."""
    found: dict[str, _Placed] = {}
    placed = []
    for entry in kept:
        call_id = entry.get("call_id")
        if entry["type"] == "tool_call":
            if isinstance(call_id, str) and call_id in found:
                continue
            item = {
                "type": "tool_call",
                "name": _text(entry.get("name")),
                "arguments": _arguments(entry.get("arguments")),
                "output": None,
                "status": "unknown",
            }
            one = _Placed(entry["at"], _place(entry), item)
            placed.append(one)
            if isinstance(call_id, str):
                found[call_id] = one
    for entry in kept:
        call_id = entry.get("call_id")
        if entry["type"] == "tool_result" and isinstance(call_id, str) and call_id in found:
            item = found[call_id].item
            output = plain(entry.get("output"))
            item["output"] = output
            item["status"] = "error" if entry.get("status") == "error" else "ok"
    return placed


def _others(kept: list[Entry]) -> list[_Placed]:
    placed = []
    for entry in kept:
        if entry["type"] == "handoff":
            item = {"type": "handoff", "from": _text(entry.get("from")), "to": _text(entry.get("to"))}
        elif entry["type"] == "event":
            item = {"type": "event", "name": _text(entry.get("name"))}
            if entry.get("detail") is not None:
                item["detail"] = plain(entry["detail"])
        elif entry["type"] == "error":
            item = {
                "type": "error",
                "source": _text(entry.get("source")),
                "message": _text(entry.get("message")),
            }
        else:
            continue
        placed.append(_Placed(entry["at"], _place(entry), item))
    return placed


def _arguments(value: object) -> Any:
    if isinstance(value, str):
        parsed = from_json(value)
        return parsed if parsed is not None else ({"": plain(value)} if value else {})
    return plain(value) if isinstance(value, Mapping) else {}


def _times(entry: Entry) -> dict[str, str | None]:
    return {key: iso(entry.get(key)) for key in ("created_at", "started_at", "ended_at")}


def _place(entry: Entry) -> tuple[str, int, str, int]:
    return entry["at"], entry["attempt"], entry["w"], entry["n"]


def _text(value: object) -> str | None:
    return str(plain(value)) if isinstance(value, str) else None
