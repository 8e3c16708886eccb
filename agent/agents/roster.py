"""The agents of a session, made when they are first needed and kept, so that A → B → A finds A as it was."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from livekit.agents import llm
from livekit.agents.voice import SpeechHandle

from agent.agents.configured import ConfiguredAgent
from agent.agents.seeing import wanted_by
from agent.agents.tools import (
    END_CALL,
    SET_PANEL,
    ToolBudget,
    ToolLoadError,
    ToolWatch,
    end_call_tool,
    handoff_tool,
    load_function,
    method_tool,
    python_tool,
    set_panel_tool,
)
from agent.heard import Heard
from agent.providers.capability import ProviderError
from agent.providers.offline.rules import ends_by_rule
from agent.providers.sentences import language_instruction
from config_store.schema import AgentConfig, SessionConfig

HANDOFF_CAP = 20
"""Most handovers in one session without a word of the user between them; a loop of agents ends there."""


class Stage(Protocol):
    """What agents act upon: the conversation they are part of."""

    async def entered(self, agent: ConfiguredAgent) -> None:
        """An agent takes the floor."""

    def history(self) -> llm.ChatContext:
        """The conversation so far."""

    async def pictures(self) -> list[llm.ImageContent]:
        """What the present agent sees of the user."""

    def end_call(self, speech: SpeechHandle) -> None:
        """An agent ended the call with this speech."""

    def show_panel(self, panel: str) -> None:
        """An agent shows a panel on the client."""

    def say(self, text: str) -> None:
        """The present agent says this."""


class Roster:
    """
    The agents of one session.

    Args:
        config: The session's config.
        models: Makes the models that an agent has for itself, by its name.
        heard: Where agents note what they say.
        watch: What happens around tools.
        stage: What the agents act upon.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        models: Callable[[str], Mapping[str, Any]],
        heard: Heard,
        watch: ToolWatch,
        stage: Stage,
    ) -> None:
        self._config = config
        self._models = models
        self._heard = heard
        self._watch = watch
        self._stage = stage
        self._agents: dict[str, ConfiguredAgent] = {}
        self._handoffs_in_a_row = 0
        self._budget = ToolBudget()

    def agent(self, name: str, chat_ctx: llm.ChatContext | None = None) -> ConfiguredAgent:
        """The agent of this name; made now when nobody asked for it before."""
        if name not in self._agents:
            described = self._config.agents[name]
            self._agents[name] = _class_of(described)(
                name,
                config=self._config,
                instructions=_instructions(described.instructions, self._config.target_language),
                loudness=self._config.tuning_for(name).loudness,
                tools=self._tools(name, described),
                models=self._models(name),
                heard=self._heard,
                entered=self._stage.entered,
                seen=self._stage.pictures if wanted_by(self._config, name) else None,
                watched=lambda tool: method_tool(tool, self._watch, self._budget),
                chat_ctx=chat_ctx,
            )
        return self._agents[name]

    @property
    def made(self) -> tuple[str, ...]:
        """The names of the agents there are so far."""
        return tuple(self._agents)

    async def change(self, config: SessionConfig, voices: Mapping[str, Any]) -> None:
        """
        Another config for all agents, those of later handovers too.

        Args:
            config: What the session is from now on.
            voices: New voices of agents that have been made, by name.
        """
        self._config = config
        for name, agent in self._agents.items():
            agent.loudness = config.tuning_for(name).loudness
            if name in voices:
                agent.update_options(tts=voices[name])
            wanted = _instructions(config.agents[name].instructions, config.target_language)
            if agent.instructions != wanted:
                await agent.update_instructions(wanted)

    def user_spoke(self) -> None:
        """The user said something: handovers and tools may begin again."""
        self._handoffs_in_a_row = 0
        self._budget.renew()

    async def _hand_over(self, target: str) -> Any:
        self._handoffs_in_a_row += 1
        if self._handoffs_in_a_row > HANDOFF_CAP:
            return "No more handovers now: answer the user yourself."
        context = carried(self._stage.history(), self._config.agents[target].context)
        agent = self.agent(target)
        await agent.update_chat_ctx(context)
        return agent

    def _tools(self, name: str, described: AgentConfig) -> list["llm.Tool | llm.Toolset"]:
        tools: list[llm.Tool | llm.Toolset] = []
        for tool in described.tool_configs:
            if tool.name == END_CALL:
                tools.append(end_call_tool(self._stage.end_call, self._watch))
            elif tool.name == SET_PANEL:
                tools.append(
                    set_panel_tool(described.panels, self._stage.show_panel, self._watch, self._budget)
                )
            else:
                tools.append(python_tool(tool, self._watch, self._stage.say, self._budget))
        is_told_to_end = ends_by_rule(self._config.models_for(name).llm)
        if is_told_to_end and END_CALL not in {tool.called for tool in described.tool_configs}:
            tools.append(end_call_tool(self._stage.end_call, self._watch))
        for target in described.handoffs:
            if target != name:
                description = f"Hand the call over to the agent '{target}', who then talks with the user."
                tools.append(handoff_tool(target, description, self._hand_over))
        return tools


def _class_of(described: AgentConfig) -> type[ConfiguredAgent]:
    """
    The Python class that is this agent: the bundle's own, else the configured one.

    Raises:
        ProviderError: There is no such class, or it is none of `ConfiguredAgent`'s.
    """
    if described.class_ is None:
        return ConfiguredAgent
    try:
        found = load_function(described.class_)
    except ToolLoadError as exc:
        raise ProviderError(str(exc).replace("tool", "class", 1)) from exc
    if not (isinstance(found, type) and issubclass(found, ConfiguredAgent)):
        raise ProviderError(
            f"agent class '{described.class_}' is no ConfiguredAgent; derive it from the one in agent.agents"
        )
    return found


def _instructions(text: str, language: str) -> str:
    """The agent's part, and the language it speaks."""
    return f"{text.rstrip()}\n\n{language_instruction(language)}".lstrip()


def carried(history: llm.ChatContext, context: str) -> llm.ChatContext:
    """What the next agent is told of the talk so far: `all`, `last:N` items, or `none`."""
    if context == "none":
        return llm.ChatContext.empty()
    copy = history.copy(exclude_instructions=True, exclude_handoff=True, exclude_config_update=True)
    if context.startswith("last:"):
        return copy.truncate(max_items=int(context.removeprefix("last:")))
    return copy
