"""A running session in lines for the terminal: its config, its verdicts, its timers, turns and events."""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.dev.live import Live
from agent.explained import text_of, verdict_lines


def looked_at(live: Live, known: str | None, occasion: object) -> Iterator[str]:
    """
    What a look at the session tells.

    Args:
        live: The session now.
        known: The digest of the config that was told before; None: nothing was.
        occasion: Type of the journal's entry for which it was looked at. A process writes `start` twice,
            before and with its config; the second one tells nothing new when the first look found it.
    """
    if live.digest != known:
        yield from beginning(live)
    elif occasion == "start":
        return
    yield from timers(live)


def beginning(live: Live) -> Iterator[str]:
    """What the session is: every value that is not a default, with its origin, and every verdict."""
    yield f"bundle {live.bundle}  {live.digest[:19]}"
    first = max((len(path) for path, _, _ in live.values), default=0)
    for path, value, origin in live.values:
        yield f"  {path:<{first}}  {value}  ({origin})"
    for line in verdict_lines(live.verdicts):
        yield f"verdict {line}"


def timers(live: Live) -> Iterator[str]:
    """When what will happen by itself."""
    for timer in live.timers:
        yield (
            f"timer {timer.name}: in {timer.seconds:.0f} s"
            if timer.after is None
            else (f"timer {timer.name}: {timer.seconds:g} s after {timer.after}")
        )


def line_of(entry: Mapping[str, Any]) -> str | None:
    """One line for an entry of the journal; None for what is no news to people."""
    match entry.get("type"):
        case "participant":
            return f"{entry.get('identity')} {entry.get('change')}"
        case "user":
            return f"{entry.get('identity') or 'user'}: {entry.get('text')}"
        case "agent" if entry.get("final"):
            cut = " [interrupted]" if entry.get("interrupted") else ""
            return f"{entry.get('agent')}: {entry.get('text')}{cut}"
        case "tool_call":
            return f"tool {entry.get('name')} {text_of(entry.get('arguments') or {})}"
        case "tool_result":
            return f"tool result ({entry.get('status')}): {text_of(entry.get('output') or '')}"
        case "handoff":
            return f"handoff {entry.get('from')} → {entry.get('to')}"
        case "event":
            return f"event {entry.get('name')} {entry.get('detail') or ''}".rstrip()
        case "revision":
            return f"config changed: {', '.join(entry.get('changed') or ())}"
        case "error":
            return f"error {entry.get('source')}: {entry.get('message')}"
        case "end":
            return f"ended: {entry.get('reason')} {entry.get('detail') or ''}".rstrip()
    return None
