"""`{{name}}` in the texts of a bundle: nothing else is a template, and a value is never searched again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from config_store.schema import AgentConfig, Generate, SessionConfig, ToolConfig, VoiceTuning
from config_store.section import NAME
from config_store.span import Path

LONGEST_WORDS = 2000
LONGEST_PROMPT = 4000
LONGEST_INSTRUCTIONS = 100_000
"""The schema's limits in characters: spoken words, what a model is told to say, and instructions."""

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(NAME)


def templates_in(text: str) -> Iterator[tuple[str, str, bool]]:
    """Every template of a text: as written, its inside, and whether that is a name."""
    for found in _TEMPLATE.finditer(text):
        inside = found.group(1).strip()
        yield found.group(), inside, _NAME.match(inside) is not None


def render(text: str, variables: Mapping[str, str]) -> str:
    """
    The text with its templates replaced.

    Raises:
        KeyError: A variable has no value.
    """
    if "{{" not in text:
        return text
    return _TEMPLATE.sub(lambda found: _value(found, variables), text)


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    inside = found.group(1).strip()
    return variables[inside] if _NAME.match(inside) else found.group()


def is_template(path: Path) -> bool:
    """Whether templates count in the text at a path of a config."""
    match path:
        case (
            ("goodbye" | "recovery" | "last_words",)
            | ("agents", _, "instructions" | "greeting")
            | ("agents", _, "greeting", "generate")
            | ("idle_prompts" | "max_duration_warnings", _, "say")
            | ("agents", _, "tools", _, "say")
            | ("voice_tuning", "instructions")
            | ("agents", _, "voice_tuning", "instructions")
        ):
            return True
    return False


def texts_of(config: SessionConfig) -> Iterator[tuple[Path, str]]:
    """Every text of a config in which templates count, with its path."""
    for key in ("goodbye", "recovery", "last_words"):
        text = getattr(config, key)
        if isinstance(text, str):
            yield (key,), text
    if config.voice_tuning.instructions is not None:
        yield ("voice_tuning", "instructions"), config.voice_tuning.instructions
    for number, prompt in enumerate(config.idle_prompts):
        if prompt.say is not None:
            yield ("idle_prompts", number, "say"), prompt.say
    for number, warning in enumerate(config.max_duration_warnings):
        if warning.say is not None:
            yield ("max_duration_warnings", number, "say"), warning.say
    for name, agent in config.agents.items():
        yield ("agents", name, "instructions"), agent.instructions
        greeting = agent.greeting
        if isinstance(greeting, Generate):
            yield ("agents", name, "greeting", "generate"), greeting.generate
        elif greeting is not None:
            yield ("agents", name, "greeting"), greeting
        if agent.voice_tuning.instructions is not None:
            yield ("agents", name, "voice_tuning", "instructions"), agent.voice_tuning.instructions
        for number, tool in enumerate(agent.tools):
            if isinstance(tool, ToolConfig) and tool.say is not None:
                yield ("agents", name, "tools", number, "say"), tool.say


def rendered(config: SessionConfig, variables: Mapping[str, str]) -> SessionConfig:
    """
    The config with every template replaced.

    Raises:
        KeyError: A variable has no value.
    """
    if not any("{{" in text for _, text in texts_of(config)):
        return config

    def done(text: str | None, limit: int = LONGEST_WORDS) -> str | None:
        # cut, so that a long value leaves a text that the schema takes: a later attempt reads it again
        return render(text, variables)[:limit] if text is not None else None

    prompts = (prompt.model_copy(update={"say": done(prompt.say)}) for prompt in config.idle_prompts)
    warnings = (item.model_copy(update={"say": done(item.say)}) for item in config.max_duration_warnings)
    agents = {name: _agent(agent, done) for name, agent in config.agents.items()}
    update: dict[str, Any] = {
        "goodbye": done(config.goodbye) if isinstance(config.goodbye, str) else config.goodbye,
        "recovery": done(config.recovery),
        "last_words": done(config.last_words),
        "voice_tuning": _tuning(config.voice_tuning, done),
        "idle_prompts": tuple(prompts),
        "max_duration_warnings": tuple(warnings),
        "agents": type(config.agents)(agents),
    }
    return config.model_copy(update=update)


def _agent(agent: AgentConfig, done: Callable[[str | None, int], str | None]) -> AgentConfig:
    greeting = agent.greeting
    if isinstance(greeting, Generate):
        new: Any = Generate(generate=done(greeting.generate, LONGEST_PROMPT) or greeting.generate)
    else:
        new = done(greeting, LONGEST_WORDS)
    tools = (
        tool.model_copy(update={"say": done(tool.say, LONGEST_WORDS)})
        if isinstance(tool, ToolConfig)
        else tool
        for tool in agent.tools
    )
    instructions = done(agent.instructions, LONGEST_INSTRUCTIONS)
    update = {
        "instructions": instructions,
        "greeting": new,
        "tools": tuple(tools),
        "voice_tuning": _tuning(agent.voice_tuning, done),
    }
    return agent.model_copy(update=update)


def _tuning(tuning: VoiceTuning, done: Callable[[str | None, int], str | None]) -> VoiceTuning:
    if tuning.instructions is None:
        return tuning
    return tuning.model_copy(update={"instructions": done(tuning.instructions, LONGEST_WORDS)})
