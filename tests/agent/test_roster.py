"""The agents of a session after a change of its config."""

from typing import Any, cast

from agent.agents.roster import Roster, Stage
from agent.agents.tools import ToolWatch
from agent.heard import Heard
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
