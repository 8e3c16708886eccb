"""
What can be wrong with a bundle, and how it is said.

    Problem                 one mistake with its place
    ConfigError             .problems, all of one bundle; str() is the report
    ├── BundleNotFoundError .name, .available
    └── InvalidBundleError  .name
    ConfigRefused           a session that does not start: .reason, .verdicts
    StoreUnavailableError   Redis or the database gave no answer in time; the caller chooses what follows
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from config_store.names import suggestion
from config_store.span import Span
from config_store.verdict import Verdict

_WIDEST_LINE = 100
_MAYBE_SECRET = re.compile(
    r"(?i)\b(?:\w*(?:api_?key|secret|token|passw(?:or)?d)|authorization)[\"']?\s*:\s*[\"']?(?!\$\{)[^\s\"'},\]]"
    r"|\bapi_key_env[\"']?\s*:\s*[\"']?\w*[^\w\s\"'},\]]"
    r"|\bsk[-_][a-z0-9_-]{6,}"
)
"""A line in which somebody may have put a key: a report goes to logs, so that it shows no such line."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One mistake.

    `line` is the source line (None: not shown, because there is none or it may hold a secret). `chain` names
    the bundles through which the file came in, the asked-for one first.
    """

    message: str
    span: Span | None = None
    line: str | None = None
    chain: tuple[str, ...] = ()
    is_warning: bool = False

    def render(self) -> str:
        """`file:line:column: message`, the source line with a caret, the include chain."""
        kind = "warning: " if self.is_warning else ""
        head = f"{self.span}: {kind}{self.message}" if self.span else f"{kind}{self.message}"
        parts = [head]
        if self.span is not None and self.line is not None and not _MAYBE_SECRET.search(self.line):
            parts += _excerpt(self.span, self.line)
        if len(self.chain) > 1:
            parts.append(f"  included by {' -> '.join(self.chain)}")
        return "\n".join(parts)


def _excerpt(span: Span, line: str) -> list[str]:
    start = span.column - 1
    length = max(1, min(span.length, len(line) - start)) if start < len(line) else 1
    first = max(0, start - _WIDEST_LINE // 2) if len(line) > _WIDEST_LINE else 0
    cut = line[first : first + _WIDEST_LINE]
    length = min(length, max(1, len(cut) - (start - first)))
    lead, marked = cut[: start - first], cut[start - first : start - first + length]
    shown = f"{'…' if first else ''}{_visible(cut)}{'…' if first + _WIDEST_LINE < len(line) else ''}"
    pad = " " * (1 if first else 0) + "".join("\t" if char == "\t" else " " * _width(char) for char in lead)
    carets = "^" * max(1, sum(_width(char) for char in marked))
    number = str(span.line)
    gutter = " " * len(number)
    return [f"  {number} | {shown.rstrip()}", f"  {gutter} | {pad}{carets}"]


def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _visible(text: str) -> str:
    return "".join(
        char if char == "\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def report(name: str, problems: Sequence[Problem]) -> str:
    """The report of one bundle: a headline, then every problem; warnings last."""
    wrong = [problem for problem in problems if not problem.is_warning]
    counted = f"{len(wrong)} problem{'' if len(wrong) == 1 else 's'}"
    head = f"bundle '{name}' is not valid: {counted}" if wrong else f"bundle '{name}' is valid, with warnings"
    ordered = [*wrong, *(problem for problem in problems if problem.is_warning)]
    return "\n".join([head, *(problem.render() for problem in ordered)])


class ConfigError(Exception):
    """Something about a bundle is wrong."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(message)


class BundleNotFoundError(ConfigError):
    """There is no bundle of that name."""

    def __init__(self, name: str, available: Iterable[str]) -> None:
        self.name = name
        self.available = tuple(sorted(available))
        known = suggestion(name, self.available) or "; the folder holds no bundle"
        super().__init__(f"no bundle '{name}'{known}")


class InvalidBundleError(ConfigError):
    """A bundle has problems; str() is the whole report."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        self.name = name
        super().__init__(report(name, found), found)


class StoreUnavailableError(Exception):
    """Redis or the database did not give an answer in time; trying again later may help."""

    def __init__(self, store: str, cause: str) -> None:
        self.store = store
        self.cause = cause
        super().__init__(f"{store} is not available: {cause}")


class OverrideLateError(StoreUnavailableError):
    """Redis answers, and the revision of the override that the dispatch announced is not there in time."""

    def __init__(self, revision: int) -> None:
        super().__init__("Redis", "the override is late")
        self.args = (f"revision {revision} of the override did not come within the time budget",)


@dataclass
class ConfigRefused(Exception):
    """A session that must not start. `reason` is one line without any value that was asked for."""

    reason: str
    verdicts: tuple[Verdict, ...] = field(default=())

    def __str__(self) -> str:
        return self.reason
