"""The language model by rules, alone and in a session."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, RunContext, function_tool, llm

from agent.providers import registry
from agent.providers.offline import rules_llm
from agent.providers.offline.rules import parse, problems
from agent.providers.offline.rules_llm import Answer, RulesLLM, decide
from tests.providers.configs import session

RULES: list[dict[str, Any]] = [
    {"when": r"order (?P<number>\w+)", "call": "lookup_order", "arguments": {"number": "{number}"}},
    {"when": "expert", "say": "One moment.", "handoff": "expert"},
    {"when": "bye", "say": "Goodbye!", "end": True},
    {"when": r"my name is (?P<name>\w+)", "say": "Nice to meet you, {name}."},
]


def _told(*messages: tuple[str, str]) -> list[llm.ChatItem]:
    context = llm.ChatContext.empty()
    for role, text in messages:
        context.add_message(role=role, content=text)  # type: ignore[arg-type]
    return context.items


def _answer(
    *messages: tuple[str, str], tools: frozenset[str] = frozenset({"lookup_order", "end_call"})
) -> Answer:
    return decide(parse({"rules": RULES}), _told(*messages), tools, fallback="Pardon?")


def test_the_first_rule_that_matches_answers() -> None:
    """`when` is searched, ignoring case, in the user's last words, and groups fill `say`."""
    assert _answer(("user", "Hi, MY NAME IS Ana")).say == "Nice to meet you, Ana."
    assert (
        _answer(("user", "my name is Ana"), ("assistant", "Hi"), ("user", "order 7, bye")).tool
        == "lookup_order"
    )


def test_arguments_are_filled_from_groups() -> None:
    """A tool's arguments take what the groups of `when` matched."""
    assert _answer(("user", "where is order seven")).arguments == {"number": "seven"}


def test_groups_fill_arguments_inside_lists_and_maps() -> None:
    """Placeholders count at every depth of the arguments; numbers and the like stay what they are."""
    rules = parse({"rules": [{
        "when": r"to (?P<city>\w+)", "call": "look",
        "arguments": {"cities": ["{city}", 3], "where": {"near": {"name": "{1}"}}},
    }]})  # fmt: skip

    assert decide(rules, _told(("user", "to Paris")), frozenset({"look"})).arguments == {
        "cities": ["Paris", 3], "where": {"near": {"name": "Paris"}},
    }  # fmt: skip


def test_an_empty_fallback_says_nothing() -> None:
    """A fallback is used as it was written, also when it is empty; without one there is a default."""
    rules = parse({"rules": RULES})

    assert decide(rules, _told(("user", "what")), frozenset(), fallback="") == Answer()
    assert decide(rules, _told(), frozenset(), fallback="") == Answer()
    assert decide(rules, _told(("user", "what")), frozenset()).say == rules_llm.DEFAULT_FALLBACK


def test_a_rule_whose_tool_the_agent_lacks_is_passed_over() -> None:
    """One list serves all agents: the expert has no handover to itself and answers with the fallback."""
    assert _answer(("user", "the expert please")) == Answer(say="Pardon?")
    assert _answer(("user", "the expert please"), tools=frozenset({"handoff_to_expert"})) == Answer(
        say="One moment.", tool="handoff_to_expert"
    )


def test_unknown_words_get_the_fallback() -> None:
    """What no rule knows is answered with the bundle's own fallback."""
    assert _answer(("user", "blah")).say == "Pardon?"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([("system", 'You are Ana. Say "secret" never.')], "Pardon?"),
        (
            [("system", "You are Ana."), ("system", 'Greet with "Welcome to Acme!" warmly.')],
            "Welcome to Acme!",
        ),
        ([("user", "order 1"), ("assistant", "Sent."), ("system", 'Ask "Still there?"')], "Still there?"),
        ([("user", "order 1"), ("assistant", "Sent.")], "Pardon?"),
    ],
)
def test_unprompted_it_says_what_it_was_told_in_quotes(messages: list[tuple[str, str]], said: str) -> None:
    """A generated greeting or reminder is what stands in quotation marks, and no other words of a prompt."""
    context = _told(*messages)
    if len(messages) == 1:
        context[0].content = ["You are Ana, and keep this secret."]  # type: ignore[union-attr]
    assert decide(parse({"rules": RULES}), context, frozenset(), fallback="Pardon?").say == said


def test_a_resumed_conversation_needs_only_its_context() -> None:
    """Another model object answers the same conversation the same way."""
    context = _told(("user", "hello"), ("assistant", "Hi."), ("user", "bye"))
    first, second = (RulesLLM(rules=RULES) for _ in range(2))
    tools = frozenset({"end_call"})
    assert decide(first.rules, context, tools) == decide(second.rules, context, tools)


@pytest.mark.parametrize(
    ("options", "place", "words"),
    [
        ({"rulez": []}, "rulez", "unknown option"),
        ({"rules": [{"when": "(", "say": "x"}]}, "rules[0].when", "not a regular expression"),
        ({"rules": [{"when": "a"}]}, "rules[0]", "does nothing"),
        ({"rules": [{"say": "a"}]}, "rules[0]", "has no when"),
        ({"rules": [{"when": "a", "say": "{name}"}]}, "rules[0].say", "{name} is not a group"),
        ({"rules": [{"when": "a", "call": "t", "end": True}]}, "rules[0].end", "cannot stand beside call"),
        (
            {"rules": [{"when": "a", "say": "b", "delay_seconds": -1}]},
            "rules[0].delay_seconds",
            "from 0 to 60",
        ),
        ({"rules": [{"when": "a", "tell": "b"}]}, "rules[0].tell", "unknown"),
        ({"rules": "a"}, "rules", "must be a list"),
    ],
)
def test_mistakes_in_rules_are_placed(options: dict[str, Any], place: str, words: str) -> None:
    """Every mistake names its place below options."""
    found = dict(problems(options))
    assert words in found[place]


def test_right_rules_have_no_problem() -> None:
    """The rules of this file are right."""
    assert problems({"rules": RULES, "fallback": "x"}) == []


async def test_a_delay_is_waited_for_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """`delay_seconds` passes before anything is said."""
    happened: list[object] = []

    async def sleep(seconds: float) -> None:
        happened.append(seconds)

    monkeypatch.setattr(rules_llm.asyncio, "sleep", sleep)
    model = RulesLLM(rules=[{"when": "slow", "say": "Here I am.", "delay_seconds": 7}])
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="a slow one")
    async with model.chat(chat_ctx=context) as stream:
        async for chunk in stream:
            happened.append(chunk.delta.content if chunk.delta else None)
    assert happened == [7.0, "Here I am."]


async def test_no_tool_is_called_when_none_may_be() -> None:
    """With tool choice `none` the rules that call are passed over."""
    model = RulesLLM(rules=RULES, fallback="Pardon?")
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="where is order seven")
    answer = await model.chat(chat_ctx=context, tools=_Triage().tools, tool_choice="none").collect()
    assert (answer.text, answer.tool_calls) == ("Pardon?", [])


class _Expert(Agent):
    def __init__(self, context: llm.ChatContext) -> None:
        super().__init__(instructions="You know everything.", chat_ctx=context)

    async def on_enter(self) -> None:
        await self.session.generate_reply(instructions='Greet with "I am the expert."')


class _Triage(Agent):
    ended = False

    def __init__(self) -> None:
        super().__init__(instructions="You are at the front desk.")

    @function_tool
    async def lookup_order(self, number: str) -> str:
        """Looks an order up."""
        return f"Order {number} has left."

    @function_tool
    async def handoff_to_expert(self) -> Agent:
        """Hands over."""
        return _Expert(self.chat_ctx.copy(exclude_instructions=True))

    @function_tool
    async def end_call(self, context: RunContext[Any]) -> None:
        """Ends the call."""
        type(self).ended = True
        await context.wait_for_playout()


async def test_a_session_talks_calls_hands_over_and_ends() -> None:
    """In a real AgentSession: a tool and its result, a handover with a greeting, and the end."""
    config = session("llm", {"provider": "offline", "options": {"rules": RULES, "fallback": "Pardon?"}})
    model = registry.build_llm(config, None, {})
    async with AgentSession[None](llm=model) as talk:
        await talk.start(_Triage())
        result = await talk.run(user_input="where is order seven")
        result.expect.next_event().is_function_call(name="lookup_order", arguments={"number": "seven"})
        result.expect.next_event().is_function_call_output(output="Order seven has left.")
        assert result.expect.next_event().is_message(role="assistant").event().item.text_content == (
            "Order seven has left."
        )
        result = await talk.run(user_input="bye")
        assert result.expect.next_event().is_message(role="assistant").event().item.text_content == "Goodbye!"
        result.expect.next_event().is_function_call(name="end_call")
        assert _Triage.ended
        result = await talk.run(user_input="an expert please")
        said = [event.item.text_content for event in result.events if event.type == "message"]
        assert said == ["One moment.", "I am the expert."]
    await registry.close(model)
