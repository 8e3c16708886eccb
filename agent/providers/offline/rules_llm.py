"""
A language model without a network: answers by rule.

It shows turns, tools, handovers and endings, and needs nothing but the conversation it is given, so it
goes on after a crash like any other model. It cannot converse.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import llm, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr

from agent.providers.offline.rules import PLACEHOLDER, Rule, parse
from config_store.personas import HANDOFF_PREFIX

DEFAULT_FALLBACK = "Sorry, I did not catch that."
DEFAULT_OPENING = "Hello, how can I help?"

_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]")


@dataclass(frozen=True)
class Answer:
    """What the model does in one turn."""

    say: str = ""
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    delay_seconds: float = 0.0


def decide(
    rules: Iterable[Rule],
    items: Sequence[llm.ChatItem],
    tools: frozenset[str],
    *,
    fallback: str | None = None,
) -> Answer:
    """
    The answer to a conversation.

    After a tool its result is spoken. To the user's words the first rule answers that matches and whose
    tool this agent has, so that one list of rules serves all agents of a bundle. Asked to speak unprompted
    (a generated greeting), it says what the instructions of that moment put in quotation marks; the other
    words of instructions are never spoken.
    """
    unknown = DEFAULT_FALLBACK if fallback is None else fallback
    told = ""
    outputs: list[str] = []
    for item in reversed(items):
        if item.type == "function_call_output":
            if not item.name.startswith(HANDOFF_PREFIX):
                outputs.insert(0, item.output)
                continue
            break
        if outputs:
            break
        if item.type != "message":
            continue
        if item.role in ("system", "developer"):
            told = told or (item.text_content or "")
            continue
        quoted = _QUOTED.search(told)
        if item.role == "user" and not quoted:
            return _by_rule(rules, item.text_content or "", tools) or Answer(say=unknown)
        break
    if outputs:
        return Answer(say=" ".join(outputs).strip())
    quoted = _QUOTED.search(told)
    return Answer(say=quoted[1] if quoted else DEFAULT_OPENING if fallback is None else fallback)


def _by_rule(rules: Iterable[Rule], words: str, tools: frozenset[str]) -> Answer | None:
    for rule in rules:
        found = rule.when.search(words)
        if found and (rule.tool is None or rule.tool in tools):
            return Answer(
                _filled(rule.say, found), rule.tool, _filled(rule.arguments, found), rule.delay_seconds
            )
    return None


def _filled(value: Any, found: re.Match[str]) -> Any:
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda m: found[int(m[1]) if m[1].isdigit() else m[1]] or "", value)
    if isinstance(value, Mapping):
        return {name: _filled(item, found) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, found) for item in value]
    return value


class RulesLLM(llm.LLM[Any]):
    """
    Answers by rule; see `decide`.

    Raises:
        ValueError: The options are wrong; names the first place.
    """

    def __init__(self, *, rules: Sequence[Mapping[str, Any]] = (), fallback: str | None = None) -> None:
        super().__init__()
        options: dict[str, Any] = {"rules": rules}
        if fallback is not None:
            options["fallback"] = fallback
        self.rules = parse(options)
        self.fallback = fallback

    @property
    def model(self) -> str:
        """For usage and metrics."""
        return "rules"

    @property
    def provider(self) -> str:
        """For usage and metrics."""
        return "offline"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,  # noqa: ARG002
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,  # noqa: ARG002
    ) -> llm.LLMStream:
        """One turn."""
        allowed = [] if tool_choice == "none" else tools or []
        return _Turn(self, chat_ctx=chat_ctx, tools=allowed, conn_options=conn_options)


class _Turn(llm.LLMStream):
    def __init__(
        self,
        rules: RulesLLM,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(rules, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)
        self._answers = rules

    async def _run(self) -> None:
        names = frozenset(llm.ToolContext(self._tools).function_tools)
        answer = decide(self._answers.rules, self._chat_ctx.items, names, fallback=self._answers.fallback)
        if answer.delay_seconds:
            await asyncio.sleep(answer.delay_seconds)
        turn = utils.shortuuid("rules_")
        if answer.say:
            self._event_ch.send_nowait(
                llm.ChatChunk(id=turn, delta=llm.ChoiceDelta(role="assistant", content=answer.say))
            )
        if answer.tool:
            call = llm.FunctionToolCall(
                name=answer.tool,
                arguments=json.dumps(dict(answer.arguments)),
                call_id=utils.shortuuid("call_"),
            )
            self._event_ch.send_nowait(
                llm.ChatChunk(id=turn, delta=llm.ChoiceDelta(role="assistant", tool_calls=[call]))
            )
