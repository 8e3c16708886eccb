"""The bytes of a YAML file as text with lines, and places in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from config_store.errors import Problem
from config_store.span import Span

MAX_BYTES = 512 * 1024
_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(slots=True)
class SourceText:
    """The text of one file; makes places and problems in it."""

    file: str
    text: str
    lines: list[str] = field(init=False)
    _starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = []
        self._starts = []
        at = 0
        # the line breaks of YAML 1.2 only: str.splitlines would also break at form feeds and U+2028
        for found in _BREAK.finditer(self.text):
            self._starts.append(at)
            self.lines.append(self.text[at : found.start()])
            at = found.end()
        self._starts.append(at)
        self.lines.append(self.text[at:])

    def span(self, start: int, end: int) -> Span:
        """The place of the characters from `start` up to `end`, as far as they are on the first line."""
        line = max(0, bisect_right(self._starts, start) - 1)
        column = start - self._starts[line]
        rest = len(self.lines[line].rstrip()) - column
        return Span(self.file, line + 1, column + 1, max(1, min(end - start, rest)))

    def find(self, span: Span, words: str) -> Span:
        """The place of some words at or after a place; the place itself when they are not found."""
        start = self._starts[min(span.line, len(self._starts)) - 1] + span.column - 1
        at = self.text.find(words, start)
        return self.span(at, at + len(words)) if at >= 0 else span

    def line_of(self, span: Span) -> str:
        """The source line of a place."""
        return self.lines[span.line - 1] if span.line <= len(self.lines) else ""

    def problem(self, message: str, span: Span) -> Problem:
        """A problem in this file."""
        return Problem(message, span, self.line_of(span))


def decode(raw: bytes, file: str) -> SourceText | Problem:
    """The text of a file, without a byte order mark; a problem when it is not UTF-8, or too large."""
    if len(raw) > MAX_BYTES:
        size = f"{len(raw) // 1024} KiB"
        return Problem(f"the file has {size}; a bundle may have {MAX_BYTES // 1024} KiB", Span(file, 1, 1))
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Problem("the file is UTF-16; save it as UTF-8", Span(file, 1, 1))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = raw[: exc.start].decode("utf-8-sig", "replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        byte = raw[exc.start]
        return Problem(
            f"the file is not UTF-8: byte 0x{byte:02X}; save it as UTF-8", Span(file, line, column)
        )
    return SourceText(file, text)
