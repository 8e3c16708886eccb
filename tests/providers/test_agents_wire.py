"""Agents of a bundle and their tools, as a language model sees them: the real plugin against its double."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.agents import AgentSession, llm

from agent.agents.configured import ConfiguredAgent
from agent.agents.roster import HANDOFF_CAP, Roster
from agent.agents.tools import CALLS_CAP, TOOL_STEPS, ToolWatch
from agent.heard import Heard
from agent.providers import registry
from config_store.schema import SessionConfig
from tests.doubles.openai_server import OpenAIDouble
from tests.providers.configs import KEYS

RAN: list[str] = []


async def weigh(parcel: str, kilograms: float, fragile: bool = False) -> str:
    """Weigh a parcel.

    Args:
        parcel: Its name.
        kilograms: What the scales say.
    """
    RAN.append(parcel)
    return f"{parcel} weighs {kilograms:g}"


async def stuck() -> str:
    """Never answers."""
    await asyncio.Event().wait()
    return ""


async def broken() -> str:
    """Fails."""
    raise RuntimeError("a secret of the inside")


def here(name: str) -> str:
    return f"tests.providers.test_agents_wire:{name}"


class Stage:
    """A stage on which agents greet, and everything is noted."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.panels: list[str] = []
        self.entered_by: list[str] = []
        self.session: AgentSession[None] | None = None

    async def entered(self, agent: ConfiguredAgent) -> None:
        self.entered_by.append(agent.id)

    def history(self) -> llm.ChatContext:
        assert self.session is not None
        return self.session.history

    async def pictures(self) -> list[llm.ImageContent]:
        return []

    def end_call(self, speech: Any) -> None:
        self.said.append("the end")

    def show_panel(self, panel: str) -> None:
        self.panels.append(panel)

    def say(self, text: str) -> None:
        self.said.append(f"{text} ({len(RAN)} ran)")


class Talk:
    """A session with the agents of a config, its model on the double."""

    def __init__(self, double: OpenAIDouble, agents: dict[str, Any], **fields: Any) -> None:
        model = {"provider": "openai", "model": "gpt-4.1", "base_url": double.url}
        self.config = SessionConfig.model_validate(
            {"models": {"llm": model}, "modality_profile": "text_only", "agents": agents, **fields}
        )
        self.double = double
        self.stage = Stage()
        self.results: list[tuple[str, str]] = []

    async def __aenter__(self) -> Talk:
        RAN.clear()

        async def begin(call_id: str, name: str, arguments: dict[str, Any]) -> None:
            self.results.append((name, str(arguments)))

        def end(call_id: str, output: str, status: str) -> None:
            self.results.append((status, output))

        self.roster = Roster(
            self.config, models=lambda _: {}, heard=Heard(), watch=ToolWatch(begin, end), stage=self.stage
        )
        self.mind = registry.build_llm(self.config, None, KEYS)
        assert self.mind is not None
        self.session: AgentSession[None] = AgentSession(llm=self.mind, max_tool_steps=TOOL_STEPS)
        self.stage.session = self.session
        await self.session.start(self.roster.agent(next(iter(self.config.agents))))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.aclose()
        await registry.close(self.mind)

    async def says(self, words: str) -> list[str]:
        """What the agent answers."""
        self.roster.user_spoke()
        result = await self.session.run(user_input=words)
        return [event.item.text_content or "" for event in result.events if event.type == "message"]

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the requests for answers."""
        return [call.body for call in self.double.of("/chat/completions")]


def scripted(*answers: tuple[str, list[tuple[str, dict[str, Any]]]]) -> Any:
    """A model that gives these answers, then repeats what the last message says."""
    left = list(answers)

    def reply(body: dict[str, Any]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        return left.pop(0) if left else (f"I read: {body['messages'][-1]['content']}", [])

    return reply


def outputs(body: dict[str, Any]) -> list[str]:
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


async def test_a_tool_s_schema_comes_from_its_signature_and_docstring(openai_double: OpenAIDouble) -> None:
    """Name, description and arguments with theirs; a description in the bundle is stronger."""
    tools = [here("weigh"), {"name": here("stuck"), "description": "Wait for the boat."}, "end_call"]
    async with Talk(openai_double, {"a": {"instructions": "x", "tools": tools}}) as talk:
        await talk.says("hello")
    sent = {tool["function"]["name"]: tool["function"] for tool in talk.asked[0]["tools"]}
    assert set(sent) == {"weigh", "stuck", "end_call"}
    assert sent["weigh"]["description"].startswith("Weigh a parcel.")
    arguments = sent["weigh"]["parameters"]["properties"]
    assert arguments["parcel"]["description"] == "Its name."
    assert arguments["kilograms"]["type"] == "number"
    assert sent["stuck"]["description"] == "Wait for the boat."


async def test_arguments_are_validated_and_the_model_can_speak_about_it(openai_double: OpenAIDouble) -> None:
    """A wrong argument does not reach the function; the model is told which one it was."""
    openai_double.reply = scripted(
        ("", [("weigh", {"parcel": "box", "kilograms": "much", "fragile": False})])
    )
    async with Talk(openai_double, {"a": {"instructions": "x", "tools": [here("weigh")]}}) as talk:
        said = await talk.says("weigh the box")
    assert RAN == []
    assert "kilograms" in outputs(talk.asked[1])[0]
    assert said[-1].startswith("I read: ")


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ({"name": here("stuck"), "timeout_seconds": 0.05}, "stuck did not answer within 0.05 seconds"),
        ({"name": here("broken")}, "broken failed"),
    ],
    ids=["timeout", "exception"],
)
async def test_a_tool_that_fails_is_told_in_a_sentence(
    openai_double: OpenAIDouble, tool: dict[str, Any], told: str
) -> None:
    """The model reads what happened and can say so; nothing of the inside gets out."""
    openai_double.reply = scripted(("", [(told.split()[0], {})]))
    async with Talk(openai_double, {"a": {"instructions": "x", "tools": [tool]}}) as talk:
        said = await talk.says("go")
    assert told in outputs(talk.asked[1])[0]
    assert told in said[-1]
    assert "secret" not in str(talk.asked)
    assert talk.results[-1] == ("error", told) or talk.results[-1][0] == "error"


async def test_words_bridge_the_time_a_tool_takes(openai_double: OpenAIDouble) -> None:
    """What a bundle says while a tool works is said before it runs."""
    openai_double.reply = scripted(("", [("weigh", {"parcel": "box", "kilograms": 2, "fragile": False})]))
    tool = {"name": here("weigh"), "say": "One moment."}
    async with Talk(openai_double, {"a": {"instructions": "x", "tools": [tool]}}) as talk:
        await talk.says("weigh the box")
    assert talk.stage.said == ["One moment. (0 ran)"]
    assert RAN == ["box"]


async def test_a_model_that_loops_is_stopped(openai_double: OpenAIDouble) -> None:
    """Tools run at most so often in one turn, then the model has to answer; the next turn has them again."""
    call = ("weigh", {"parcel": "box", "kilograms": 2, "fragile": False})

    def reply(body: dict[str, Any]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        return ("Enough.", []) if body.get("tool_choice") == "none" else ("", [call] * 3)

    openai_double.reply = reply
    async with Talk(openai_double, {"a": {"instructions": "x", "tools": [here("weigh")]}}) as talk:
        assert (await talk.says("weigh"))[-1].strip() == "Enough."
        assert len(RAN) == CALLS_CAP
        assert any("No more tools now" in output for output in outputs(talk.asked[-1]))
        await talk.says("again")
        assert len(RAN) == 2 * CALLS_CAP


async def test_a_panel_is_shown_and_one_that_is_not_offered_is_refused(openai_double: OpenAIDouble) -> None:
    """`set_panel` names the agent's panels to the model, and takes no others."""
    openai_double.reply = scripted(
        ("", [("set_panel", {"panel": "map"})]), ("Here.", []), ("", [("set_panel", {"panel": "none"})])
    )
    agents = {"a": {"instructions": "x", "tools": ["set_panel"], "panels": ["map", "list"]}}
    async with Talk(openai_double, agents) as talk:
        await talk.says("the map")
        await talk.says("the other")
    (schema,) = talk.asked[0]["tools"]
    assert schema["function"]["parameters"]["properties"]["panel"]["enum"] == ["map", "list"]
    assert talk.stage.panels == ["map"]
    assert "there are: map, list" in outputs(talk.asked[-1])[-1]


def two(**second: Any) -> dict[str, Any]:
    return {
        "a": {"instructions": "You are A.", "handoffs": ["b"]},
        "b": {"instructions": "You are B.", "handoffs": ["a"], **second},
    }


TO_B, TO_A = ("", [("handoff_to_b", {})]), ("", [("handoff_to_a", {})])


async def test_a_handover_there_and_back_keeps_the_talk_in_order(openai_double: OpenAIDouble) -> None:
    """A → B → A: each has its own instructions and all that was said; it is a tool with a description."""
    openai_double.reply = scripted(("One.", []), TO_B, ("Two.", []), TO_A, ("Three.", []))
    async with Talk(openai_double, two()) as talk:
        for words in ("first", "to b", "second", "to a", "third"):
            await talk.says(words)
    assert "Hand the call over to the agent 'b'" in talk.asked[0]["tools"][0]["function"]["description"]
    assert talk.stage.entered_by == ["a", "b", "a"]
    for body, part in ((talk.asked[2], "You are B."), (talk.asked[-1], "You are A.")):
        assert part in body["messages"][0]["content"]
    messages = [m for m in talk.asked[-1]["messages"] if m["role"] in ("user", "assistant")]
    words = [m["content"] for m in messages if m.get("content")]
    assert words == ["first", "One. ", "to b", "second", "Two. ", "to a", "third"]


@pytest.mark.parametrize(
    ("context", "known"),
    [("all", ["first", "to b", "second"]), ("none", ["second"]), ("last:1", ["to b", "second"])],
)
async def test_the_next_agent_is_told_as_much_as_the_bundle_says(
    openai_double: OpenAIDouble, context: str, known: list[str]
) -> None:
    """`context` decides what of the talk so far stands in the next agent's first request."""
    openai_double.reply = scripted(("One.", []), TO_B, ("Two.", []))
    async with Talk(openai_double, two(context=context)) as talk:
        for words in ("first", "to b", "second"):
            await talk.says(words)
    users = [message["content"] for message in talk.asked[2]["messages"] if message["role"] == "user"]
    assert users == known


async def test_agents_that_hand_over_to_each_other_for_ever_are_stopped(openai_double: OpenAIDouble) -> None:
    """After so many handovers without a word of the user the agent that has the floor must answer."""
    async with Talk(openai_double, two()) as talk:
        for _ in range(HANDOFF_CAP):
            assert isinstance(await talk.roster._hand_over("b"), ConfiguredAgent)
        assert "answer the user yourself" in await talk.roster._hand_over("a")
        talk.roster.user_spoke()
        assert isinstance(await talk.roster._hand_over("a"), ConfiguredAgent)
