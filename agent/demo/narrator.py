"""What `agent demo` prints as it runs: a line per happening, in colour on a terminal, plain elsewhere."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from agent.demo.caller import Caption

PLAIN_WIDTH = 120
"""Columns of tables where there is no terminal to ask."""

COLOURS = {
    "caller": "cyan", "agent": "green", "event": "magenta", "redis": "yellow", "kill": "bold red",
    "held": "bold green", "failed": "bold red",
}  # fmt: skip
"""By the kind of line; others have none."""

SIGNS = {"held": "✓", "failed": "✗"}

QUIET_EVENTS = frozenset({"config_applied"})
"""Session events that a scene checks but that would only be noise here."""


class Narrator:
    """Writes lines with the seconds since the start, whose call it is, and what happened."""

    def __init__(self, *, plain: bool) -> None:
        """
        Args:
            plain: No colour, whatever the output is.
        """
        on_terminal = sys.stdout.isatty()
        self.console = Console(
            highlight=False,
            markup=False,
            no_color=plain or None,
            force_terminal=False if plain else None,
            width=None if on_terminal else PLAIN_WIDTH,
        )
        self._began = time.monotonic()

    def title(self, *lines: str) -> None:
        """What stands above a group of lines."""
        self.console.print()
        for text in lines:
            self.console.print(Text(text, style="bold"), soft_wrap=True)

    def line(self, call: str, kind: str, text: str) -> None:
        """
        One happening.

        Args:
            call: Whose call: a short name; empty: no call's.
            kind: `caller`, `agent`, `event`, `redis`, `kill`, `held`, `failed`, or any other word.
            text: What happened.
        """
        seconds = time.monotonic() - self._began
        colour = COLOURS.get(kind, "")
        line = Text()
        line.append(f"{seconds:6.1f}  ", style="dim")
        line.append(f"{call:<9}", style="bold")
        line.append(f"{SIGNS.get(kind, kind):<8}", style=colour)
        line.append(text, style=colour if kind in SIGNS else "")
        self.console.print(line, soft_wrap=True)

    def notes(self, call: str) -> Callable[[str, Any], None]:
        """What a caller's `on_note` wants: says what the caller said, was told and heard."""

        def note(kind: str, what: Any) -> None:
            if kind == "says":
                self.line(call, "caller", what)
            elif kind == "caption" and isinstance(what, Caption) and what.identity.startswith("agent"):
                self.line(call, "agent", what.text.strip())
            elif kind == "event" and what.get("type") not in QUIET_EVENTS:
                shown = {
                    key: value
                    for key, value in what.items()
                    if key not in ("session_id", "seq", "at", "type")
                }
                self.line(call, "event", f"{what.get('type')} {_compact(shown) if shown else ''}".rstrip())

        return note


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
