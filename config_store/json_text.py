"""JSON from outside, read strictly: every text has one defined outcome."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 24
MAX_INTEGER = 2**53 - 1


class JsonRefusedError(ValueError):
    """The text cannot be used; the message names the cause in one line and holds nothing of the text."""


def parse_object(raw: str | bytes, *, max_bytes: int) -> dict[str, Any]:
    """
    Read one JSON object.

    Refuses what different readers understand differently or what no store can keep: keys given twice, NaN and
    infinite numbers, whole numbers beyond 2**53 - 1, text that is not UTF-8, NUL characters, deep nesting.

    Args:
        raw: The text, or its bytes in UTF-8.
        max_bytes: Largest size allowed, in bytes.

    Raises:
        JsonRefusedError: With the cause.
    """
    if len(raw) > max_bytes:
        raise JsonRefusedError(f"is larger than {max_bytes // 1024} KiB")
    if isinstance(raw, bytes):
        try:
            raw = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise JsonRefusedError(f"is not UTF-8 at byte {exc.start}") from None
    try:
        value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise JsonRefusedError(f"is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    except RecursionError:
        raise JsonRefusedError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except JsonRefusedError:
        raise
    except ValueError:  # an integer of more digits than Python converts
        raise JsonRefusedError("holds a number that is too large") from None
    if not isinstance(value, dict):
        raise JsonRefusedError(f"is {shape_of(value)}, not a JSON object")
    _check(value)
    return value


def shape_of(value: object) -> str:
    """What kind of value it is, in words: `a number`, `text`, `a list`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list | tuple) else "a map"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = dict(pairs)
    if len(found) != len(pairs):
        raise JsonRefusedError("gives a key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise JsonRefusedError(f"holds {name}, which is not JSON")


def _check(value: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise JsonRefusedError(f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise JsonRefusedError("holds a number that is too large")
        elif isinstance(item, int) and abs(item) > MAX_INTEGER:
            raise JsonRefusedError("holds a whole number beyond 2**53 - 1")
        elif isinstance(item, dict):
            waiting.extend((key, depth) for key in item)
            waiting.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            waiting.extend((child, depth + 1) for child in item)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise JsonRefusedError("holds a NUL character")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise JsonRefusedError("holds half of a surrogate pair") from None
