"""The agents of a session after a change of its config."""

from typing import Any, ClassVar, cast

import pytest
from livekit.agents import RunContext, StopResponse, ToolError, function_tool, llm

from agent.agents import ConfiguredAgent
from agent.agents.roster import Roster, Stage
from agent.agents.tools import ToolWatch
from agent.heard import Heard
from agent.providers.capability import ProviderError
from agent.providers.sentences import language_instruction
from config_store.schema import SessionConfig


def config(**fields: Any) -> SessionConfig:
    return SessionConfig.model_validate(
        {"agents": {"a": {"instructions": "You are A."}, "b": {"instructions": "You are B."}}, **fields}
    )


class Nobody:
    """A stage on which nothing happens."""

    async def entered(self, agent: Any) -> None:
        """Nothing."""


class Stood(Nobody):
    """A stage whose call can be ended, and on which something can be said."""

    def end_call(self, speech: Any) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


async def test_another_language_reaches_agents_of_now_and_of_later() -> None:
    """The instructions name the language that is spoken from now on; the part itself stays."""
    watch = ToolWatch(cast(Any, None), cast(Any, None))
    roster = Roster(config(), models=lambda _: {}, heard=Heard(), watch=watch, stage=cast(Stage, Nobody()))
    first = roster.agent("a")
    assert roster.made == ("a",)
    await roster.change(config(target_language="hi-IN", voice_tuning={"loudness": 0.5}), {})

    for agent, part in ((first, "You are A."), (roster.agent("b"), "You are B.")):
        assert agent.instructions == f"{part}\n\n{language_instruction('hi-IN')}"
        assert agent.loudness == 0.5


class Interviewer(ConfiguredAgent):
    """An agent of a user's own."""


class Clerk(ConfiguredAgent):
    """An agent of a user's own, with tools of its own, as livekit's documentation writes them."""

    orders: ClassVar[list[str]] = []

    @function_tool
    async def cancel(self, context: RunContext[Any], order: str, urgent: bool = False) -> str:
        """Cancel an order.

        Args:
            order: Its number.
            urgent: Whether it is urgent.
        """
        assert context is not None
        if order == "7":
            raise StopResponse
        self.orders.append(f"{self.id} {order} {urgent}")
        return "cancelled"

    @function_tool(raw_schema={"name": "raw", "parameters": {"type": "object", "properties": {}}})
    async def as_it_comes(self, raw_arguments: dict[str, object]) -> str:
        """What the model sends, unread."""
        raise ValueError(f"nobody is told of {raw_arguments}")


def roster_of(class_: str, watch: ToolWatch | None = None) -> Roster:
    described = {"a": {"instructions": "You are A.", "class": class_, "tools": ["end_call"]}}
    watch = watch or ToolWatch(cast(Any, None), cast(Any, None))
    return Roster(
        config(agents=described), models=lambda _: {}, heard=Heard(), watch=watch, stage=cast(Stage, Stood())
    )


async def test_tools_that_are_methods_of_a_class_are_journalled_before_they_run() -> None:
    """Like the tools of a bundle: the intent first, then the result; what they do and take stays."""
    seen: list[Any] = []

    async def begin(_call_id: str, name: str, arguments: dict[str, Any]) -> None:
        seen.append((name, arguments, list(Clerk.orders)))

    watch = ToolWatch(begin, lambda _call_id, output, status: seen.append((output, status)))
    agent = roster_of("tests.agent.test_roster:Clerk", watch).agent("a")
    tools = {tool.info.name: tool for tool in cast(list[Any], agent.tools)}
    assert set(tools) == {"cancel", "raw", "end_call"}
    schema = llm.utils.build_legacy_openai_schema(tools["cancel"])["function"]
    assert (schema["description"].strip(), set(schema["parameters"]["properties"])) == (
        "Cancel an order.", {"order", "urgent"},
    )  # fmt: skip

    context = cast(RunContext[Any], object.__new__(RunContext))
    args, kwargs = llm.utils.prepare_function_arguments(
        fnc=tools["cancel"], json_arguments='{"order": "4"}', call_ctx=context
    )
    assert await tools["cancel"](*args, **kwargs) == "cancelled"
    assert Clerk.orders == ["a 4 False"]
    with pytest.raises(StopResponse):
        await tools["cancel"](context, order="7")
    with pytest.raises(ToolError, match=r"^raw failed$"):
        await tools["raw"](raw_arguments={"a": 1})

    assert seen == [
        ("cancel", {"order": "4", "urgent": False}, []), ("cancelled", "ok"),
        ("cancel", {"order": "7"}, ["a 4 False"]), ("", "ok"),
        ("raw", {"raw_arguments": {"a": 1}}, ["a 4 False"]), ("ValueError", "error"),
    ]  # fmt: skip


async def test_a_class_of_ones_own_is_the_agent_and_has_the_config() -> None:
    """`class:` in a bundle makes the agent from that class, with the session's config."""
    agent = roster_of("tests.agent.test_roster:Interviewer").agent("a")

    assert isinstance(agent, Interviewer)
    assert (agent.id, agent.config.agents["a"].instructions) == ("a", "You are A.")


@pytest.mark.parametrize(
    "name", ["tests.agent.test_roster:Missing", "tests.agent.test_roster:Nobody", "no.such:X"]
)
async def test_a_class_that_cannot_be_an_agent_is_said(name: str) -> None:
    """A class that is missing or is no agent ends the session with a reason, not with a traceback."""
    with pytest.raises(ProviderError, match="class") as caught:
        roster_of(name).agent("a")
    if name.endswith("Nobody"):
        assert str(caught.value) == (
            f"agent class '{name}' is no ConfiguredAgent; derive it from the one in agent.agents"
        )


def one() -> str:
    """One thing."""
    return "one"


end_call = two = one


async def test_a_tool_has_the_name_that_the_bundle_says() -> None:
    """Whatever the function calls itself, so that checking a bundle tells whether two have the same name."""
    begun: list[str] = []

    async def begin(_call_id: str, name: str, _arguments: dict[str, Any]) -> None:
        begun.append(name)

    here = "tests.agent.test_roster"
    described = {
        "a": {"instructions": "You are A.", "tools": [f"{here}:one", f"{here}:two", f"{here}:end_call"]}
    }
    ends = {"provider": "offline", "options": {"rules": [{"when": "bye", "end": True}]}}
    watch = ToolWatch(begin, lambda *_: None)
    agent = Roster(
        config(agents=described, models={"llm": ends}),
        models=lambda _: {}, heard=Heard(), watch=watch, stage=cast(Stage, Stood()),
    ).agent("a")  # fmt: skip

    tools = cast(list[Any], agent.tools)
    assert [tool.info.name for tool in tools] == ["one", "two", "end_call"]
    assert [await tool() for tool in tools] == ["one"] * 3
    assert begun == ["one", "two", "end_call"]


@pytest.mark.parametrize(
    ("llm", "names"),
    [
        ({"provider": "offline", "options": {"rules": [{"when": "bye", "end": True}]}}, ["end_call"]),
        ({"provider": "openai", "model": "m", "fallback": [
            {"provider": "offline", "options": {"rules": [{"when": "bye", "end": True}]}}]}, ["end_call"]),
        ({"provider": "offline", "options": {"rules": [{"when": "bye", "say": "Bye."}]}}, []),
        ({"provider": "openai", "model": "m"}, []),
    ],
    ids=["by rule", "by rule of a fallback", "no such rule", "another model"],
)  # fmt: skip
async def test_a_rule_that_ends_the_call_can(llm: dict[str, Any], names: list[str]) -> None:
    """`end: true` of the offline model ends the call also where the agent does not list the tool."""
    watch = ToolWatch(cast(Any, None), cast(Any, None))
    stage = cast(Stage, Stood())
    roster = Roster(config(models={"llm": llm}), models=lambda _: {}, heard=Heard(), watch=watch, stage=stage)

    assert [tool.info.name for tool in cast(Any, roster.agent("a").tools)] == names
