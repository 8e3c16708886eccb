"""The agents of a bundle: who speaks, what they know, and what they may do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from config_store.marks import Mark
from config_store.models import Models
from config_store.section import Name, Section
from config_store.voice import VoiceId, VoiceTuning

Modality = Literal["text_only", "audio_only", "audio_camera", "audio_screenshare", "audio_camera_screenshare"]

MODALITY_PARTS: dict[str, frozenset[str]] = {
    "text_only": frozenset(),
    "audio_only": frozenset({"audio"}),
    "audio_camera": frozenset({"audio", "camera"}),
    "audio_screenshare": frozenset({"audio", "screenshare"}),
    "audio_camera_screenshare": frozenset({"audio", "camera", "screenshare"}),
}

REFERENCE = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"
"""A Python object: `module:name`."""

HANDOFF_PREFIX = "handoff_to_"
"""How a model calls a handover: this and the name of the agent."""

Words = Annotated[str, Field(max_length=2000)]
"""Words to be spoken, up to 2000 characters."""


class Generate(Section):
    """Words that the language model makes up."""

    generate: str = Field(min_length=1, max_length=4000)
    """What the model is told, for instance: greet the caller in one sentence."""


class ToolConfig(Section):
    """A tool with its settings; a bare name in the list means the same with the defaults."""

    name: str = Field(min_length=1, max_length=200)
    """A built-in tool, or `module:function` from the modules of `AGENT_MODULES`."""

    description: str | None = Field(None, max_length=2000)
    """What the model is told the tool does; absent: the function's docstring."""

    timeout_seconds: float = Field(30.0, gt=0, le=120)
    """Seconds after which the call counts as failed, up to 120."""

    say: Words | None = None
    """Words spoken when the tool begins; absent: silence until it is done."""

    @property
    def called(self) -> str:
        """What a model calls it: the name of the function."""
        return self.name.rpartition(":")[2]


class AgentConfig(Section):
    """One persona."""

    instructions: Annotated[str, Mark("default", "next_session")] = Field("", max_length=100_000)
    """What the language model is told about its part: text, `{file: path}` or `{prompt: ID}`."""

    greeting: Annotated[Words | Generate | None, Mark("default")] = None
    """Words said on entering, `{generate: instructions}`, or absent: the agent waits for the user."""

    handoffs: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Agents this one may hand the talk over to."""

    tools: Annotated[tuple[str | ToolConfig, ...], Field(strict=False)] = ()
    """Built-in tools by name, Python functions as `module:function`, or a map with settings."""

    voice_id: Annotated[VoiceId | None, Mark("default", "next_utterance")] = None
    """This agent's voice; absent: the session's."""

    voice_tuning: VoiceTuning = Field(default_factory=VoiceTuning)
    """This agent's tuning, laid over the session's."""

    models: Models = Field(default_factory=Models)
    """This agent's models, laid over the session's."""

    panels: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Panels this agent can show on the client."""

    modality: Annotated[Modality | None, Mark("listed")] = None
    """What this agent needs from the client; absent: what the session has."""

    context: Annotated[str, Mark("listed")] = Field("all", pattern=r"^(all|none|last:[1-9][0-9]{0,2})$")
    """What it is told of the talk so far on a handover: `all`, `last:N` (1 to 999 items) or `none`."""

    class_: str | None = Field(None, alias="class", pattern=REFERENCE, max_length=200)
    """A Python class `module:Name` from `AGENT_MODULES` that is this agent; absent: configured only."""

    @property
    def tool_configs(self) -> tuple[ToolConfig, ...]:
        """The tools, each as a map."""
        return tuple(ToolConfig(name=tool) if isinstance(tool, str) else tool for tool in self.tools)
