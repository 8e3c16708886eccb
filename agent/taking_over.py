"""What an attempt inherits from the one before it: the words, the present agent, and the time gone by."""

import asyncio
import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import redis
from livekit.agents import llm

from agent.attempt import Attempt
from agent.people import people_of
from agent.silence import silence_of
from agent.transcripts.conversation import Conversation as Talk
from agent.transcripts.conversation import conversation
from agent.transcripts.entries import seconds_of
from agent.transcripts.reading import read_journals
from agent.transcripts.stream import read_stream
from config_store.redis_client import open_sync

REDACTED_NOTE = (
    "The call was cut off by a technical fault and goes on now. Words in square brackets such as [email] "
    "stand for what was said and is not kept; ask for it again when you need it."
)
UNKNOWN_OUTCOME = "It is not known whether this was done, because the call was cut off meanwhile. Ask first."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Past:
    """A session that this attempt takes over."""

    talk: Talk
    agent: str | None
    """The agent that had the floor; None: not known, the initial one begins."""
    live_seconds: float | None
    """Seconds since the user was first present; None: the user never was."""
    idle_seconds: float
    """Silence of the user so far, in seconds."""
    user: str | None = None
    """Identity of the user; None: not known."""
    observers: frozenset[str] = frozenset()
    """Identities of those who were there beside the user."""

    @property
    def owes_answer(self) -> bool:
        """Whether the user waits for an answer."""
        return self.talk.user_spoke_last or self.talk.answer_cut

    @property
    def greeters(self) -> set[str]:
        """Names of the agents that had the floor and greet no more."""
        spoke = {item.get("agent") for item in self.talk.items if item["type"] == "message"}
        return {name for name in (*spoke, self.agent) if isinstance(name, str)}

    def history(self) -> llm.ChatContext:
        """The talk so far as the language model is told it."""
        history = llm.ChatContext.empty()
        history.add_message(role="system", content=REDACTED_NOTE)
        for item in self.talk.items:
            _add(history, item)
        return history


def _add(history: llm.ChatContext, item: dict[str, Any]) -> None:
    if item["type"] == "message" and (item["role"] == "user" or item["heard"] != "none"):
        history.add_message(
            role=item["role"], content=item["text"], interrupted=item.get("interrupted", False)
        )
    elif item["type"] == "tool_call":
        call_id = f"call_{len(history.items)}"
        arguments = json.dumps(item.get("arguments") or {}, ensure_ascii=False)
        output = UNKNOWN_OUTCOME if item["status"] == "unknown" else str(item.get("output") or "")
        history.insert(
            [
                llm.FunctionCall(call_id=call_id, name=item["name"], arguments=arguments),
                llm.FunctionCallOutput(
                    call_id=call_id, name=item["name"], output=output, is_error=item["status"] != "ok"
                ),
            ]
        )


async def past_of(attempt: Attempt) -> Past | None:
    """What came before this attempt; None for a session that begins, also one whose user had not come yet."""
    if attempt.answer != "resume":
        return None
    entries = await asyncio.to_thread(_entries, attempt)
    talk = conversation(entries)
    state = attempt.claimed.state
    live_at = int(state["live_at"]) if state.get("live_at") else None
    if (
        live_at is None and (seconds := seconds_of(talk.live_at)) is not None
    ):  # Redis was away when the user came
        live_at = round(seconds * 1000)
    if live_at is None and not talk.items:
        return None
    now = attempt.claimed.now_ms
    people = people_of(talk.participants, attempt.user_id)
    return Past(
        talk=talk,
        agent=talk.agent,
        live_seconds=max(0.0, (now - live_at) / 1000) if live_at is not None else None,
        idle_seconds=silence_of(entries, now),
        user=people.user,
        observers=frozenset(people.observers),
    )


def _entries(attempt: Attempt) -> list[dict[str, Any]]:
    """What is on this machine's disk and in Redis; either may be incomplete, together they are not."""
    entries = list(read_journals(attempt.settings.journals, attempt.session_id))
    client = open_sync(attempt.redis_url, 1.0)
    try:
        entries += read_stream(client, attempt.session_id)
    except (redis.RedisError, OSError) as exc:
        logger.warning("the journal in Redis could not be read: %s", type(exc).__name__)
    finally:
        client.close()
    return entries


def owes_answer(history: llm.ChatContext, unheard: Collection[str]) -> bool:
    """Whether the user's last words have no answer that was heard to its end; `unheard`: ids of messages."""
    items = list(history.items)
    last = max((n for n, i in enumerate(items) if i.type == "message" and i.role == "user"), default=None)
    if last is None:
        return False
    later = [i for i in items[last + 1 :] if i.type == "message" and i.role == "assistant"]
    return all(i.interrupted or i.id in unheard for i in later)


def up_to_the_users_words(history: llm.ChatContext) -> llm.ChatContext:
    """The talk without what the agent said to the user's last words; tools that ran for them stay."""
    items = list(history.items)
    last = max((n for n, i in enumerate(items) if i.type == "message" and i.role == "user"), default=-1)
    kept = [i for n, i in enumerate(items) if n <= last or i.type != "message"]
    return llm.ChatContext(kept)
