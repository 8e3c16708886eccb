"""Where a session stood when its process died: what the next attempt has to know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.transcripts.entries import Entry, union
from agent.transcripts.fold import end_of_kept
from agent.transcripts.items import items_of
from agent.transcripts.runs import runs_of, surviving


@dataclass(frozen=True)
class Conversation:
    """The talk so far, as far as it was journalled; words are redacted where the journal is."""

    items: tuple[dict[str, Any], ...]
    """As in the record. An answer that the crash cut off has `cut: true` beside `interrupted`."""
    agent: str | None
    """Who speaks now: the target of the last handoff, else the start's initial agent; None: not known."""
    user_spoke_last: bool
    """Whether the user waits for an answer: theirs is the last word, or nothing of the answer was heard."""
    answer_cut: bool
    """Whether the last word is an answer to the user that the crash cut off after some of it was heard."""
    unfinished_calls: tuple[Entry, ...]
    """Tool intents without a result (the journal entries): their outcome is unknown, never run them again."""
    participants: tuple[Entry, ...]
    """Who came and went (the journal entries), by time."""
    live_at: str | None
    """When the user was first there, by the clock of that process; None: the user had not been there."""
    attempts: int
    """The highest attempt that is in the journal; 0 if it is empty."""
    end: Entry | None
    """The end, if there is one: then there is nothing to go on with."""


def conversation(entries: Iterable[Mapping[str, Any]]) -> Conversation:
    """Where the session stands according to its entries, in any order; pure and total like `fold`."""
    runs = runs_of(union(entries))
    kept = surviving(runs)
    items = items_of(kept, open_answers_are_cut=False)
    done = {str(entry.get("call_id")) for entry in kept if entry["type"] == "tool_result"}
    heard = [
        item
        for item in items
        if item["type"] == "message" and not (item["role"] == "assistant" and item["heard"] == "none")
    ]
    last = heard[-1] if heard else None
    return Conversation(
        items=tuple(items),
        agent=_current_agent(kept),
        user_spoke_last=last is not None and last["role"] == "user",
        answer_cut=last is not None
        and last.get("cut", False)
        and any(item["role"] == "user" for item in heard),  # a greeting answers nobody
        unfinished_calls=tuple(
            entry for entry in kept if entry["type"] == "tool_call" and str(entry.get("call_id")) not in done
        ),
        attempts=max((run.attempt for run in runs), default=0),
        participants=tuple(entry for entry in kept if entry["type"] == "participant"),
        live_at=next((entry["at"] for entry in kept if entry["type"] == "live"), None),
        end=end_of_kept(runs, kept),
    )


def _current_agent(kept: list[Entry]) -> str | None:
    current: str | None = None
    for entry in kept:
        name: object = None
        if entry["type"] == "handoff":
            name = entry.get("to")
        elif current is None and entry["type"] == "start":
            name = entry.get("initial_agent")
        elif current is None and entry["type"] == "agent":
            name = entry.get("agent")
        if isinstance(name, str) and name:
            current = name
    return current
