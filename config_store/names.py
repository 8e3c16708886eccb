"""Names of bundles and prompts: paths in the bundles folder without the ending."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_PART = r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
MAX_LENGTH = 200


def is_bundle_name(text: str) -> bool:
    """Whether the text can be a bundle's name: parts of letters, digits, `_`, `-`, `.`, joined by `/`."""
    return len(text) <= MAX_LENGTH and _NAME.fullmatch(text) is not None


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None when nothing is near."""
    choices = sorted(known)
    by_lower = {choice.lower(): choice for choice in choices}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    if len(name) > MAX_LENGTH:
        return None
    found = difflib.get_close_matches(name.lower(), sorted(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(name: str, known: Iterable[str], *, shown: int = 12) -> str:
    """`; did you mean 'x'?` when a known name is near, else the known names; empty when there are none."""
    choices = sorted(known)
    near = closest(name, choices)
    if near is not None:
        return f"; did you mean '{near}'?"
    if not choices:
        return ""
    more = f", and {len(choices) - shown} more" if len(choices) > shown else ""
    return f" (has: {', '.join(choices[:shown])}{more})"
