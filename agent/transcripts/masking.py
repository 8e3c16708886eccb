"""What is taken out of an entry before it is written: people's data in words, and secrets anywhere."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.transcripts.entries import WORDS, Entry

Redact = Callable[[str], str]

UNMASKABLE = "[redaction failed]"
"""Stands for words that the redactor could not be run on: nothing unredacted is ever written instead."""

_LEAST_SECRET = 6


def mask(entry: Entry, redact: Redact | None, secrets: Sequence[str] = ()) -> Entry:
    """
    The entry without what must not be stored.

    Words (what was said, arguments, results, errors, details) go through `redact`; ids, identities and the
    application's own metadata stay as given; entries of a type unknown here are redacted as a whole. Secrets
    of at least 6 characters are replaced everywhere. Digits in an argument that is a number are redacted too.

    Args:
        entry: A whole entry; not changed.
        redact: The redactor of the bundle, or None when it asks for nothing. One that raises costs the words.
        secrets: Values, such as keys, that must never be stored.
    """
    masked = dict(entry)
    kind = entry.get("type")
    words = WORDS.get(str(kind), tuple(key for key in entry if key not in _FRAME))
    if redact is not None and words:
        partial = kind == "agent" and (not entry.get("final", True) or bool(entry.get("interrupted")))
        apply = _guarded(getattr(redact, "partial", redact) if partial else redact)
        for key in words:
            if key in masked:
                masked[key] = _deep(masked[key], apply)
    hidden = [secret for secret in secrets if len(secret) >= _LEAST_SECRET]
    if hidden:
        masked = {key: _deep(value, _hide(hidden)) for key, value in masked.items()}
    return masked


_FRAME = frozenset(
    {"v", "attempt", "w", "n", "at", "type", "item_id", "call_id", "speech_id", "identity", "name", "agent"}
)


def _guarded(redact: Redact) -> Redact:
    def apply(text: str) -> str:
        try:
            return redact(text)
        except Exception:  # noqa: BLE001
            return UNMASKABLE  # a redactor that fails must not let the words through

    return apply


def _hide(secrets: Sequence[str]) -> Redact:
    def apply(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[secret]")
        return text

    return apply


def _deep(value: Any, apply: Redact, depth: int = 0) -> Any:
    if isinstance(value, str):
        return apply(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 1_000_000:
        digits = str(int(value)) if math.isfinite(value) else str(value)  # models write 4111.0 for 4111, too
        changed = apply(digits)
        return value if changed == digits else changed
    if depth < 12 and isinstance(value, Mapping):
        return {_deep(key, apply, depth + 1): _deep(item, apply, depth + 1) for key, item in value.items()}
    if depth < 12 and isinstance(value, (list, tuple)):
        return [_deep(item, apply, depth + 1) for item in value]
    return value
