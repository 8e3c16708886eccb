"""
The session config: what one session is, frozen.

The attribute names are the keys of a bundle. Defaults stand here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from config_store.marks import Mark
from config_store.models import KINDS, Kind, ModelConfig, Models, lay_over
from config_store.personas import AgentConfig, Generate, Modality, ToolConfig, Words
from config_store.rules import OverridableRule, RedactRule, TranscriptRules, VariableRule
from config_store.section import NAME, Frozen, JsonObject, Name, Names, Section
from config_store.timing import DurationWarning, IdlePrompt, TurnTaking
from config_store.voice import VoiceId, VoiceTuning

__all__ = [
    "KINDS",
    "AgentConfig",
    "DurationWarning",
    "Generate",
    "IdlePrompt",
    "Kind",
    "ModelConfig",
    "Models",
    "OverridableRule",
    "RedactRule",
    "SessionConfig",
    "ToolConfig",
    "TranscriptRules",
    "TurnTaking",
    "VariableRule",
    "VoiceTuning",
]

Seconds = Annotated[float, Field(ge=1, le=86_400)]
OptimizationLevel = Literal["quality", "balanced_quality", "balanced", "balanced_speed", "speed"]

_OPEN = Mark("default")
_LISTED = Mark("listed")


class SessionConfig(Section):
    """What one session is."""

    name: str | None = Field(None, max_length=200)
    """What people call this kind of session."""

    description: str | None = Field(None, max_length=2000)
    """What it is for."""

    tags: Names = ()
    """Words to find the bundle by."""

    organization: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    """The organization that alone may use this bundle; absent: shared."""

    target_language: Annotated[str, Mark("default", "next_utterance")] = Field(
        "en-IN", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35
    )
    """Language of the talk as a BCP 47 tag, such as `en-IN` or `hi-IN`."""

    optimization_level: Annotated[OptimizationLevel, _OPEN] = "balanced"
    """Chooses models and turn-taking that the bundle leaves open, from quality to speed."""

    modality_profile: Annotated[Modality, _LISTED] = "audio_only"
    """What the client sends: nothing but text, audio, camera, screen."""

    enabled_panels: Annotated[tuple[Name, ...], Field(strict=False), _LISTED] = ()
    """Panels the client shows from the start; each must be offered by some agent."""

    models: Models = Field(default_factory=Models)
    """The models of the session. There are none by default: name them, or include `offline`."""

    voice_id: Annotated[VoiceId | None, Mark("default", "next_utterance")] = None
    """The voice: one name, or a map from provider to name; absent: the provider's default."""

    voice_tuning: VoiceTuning = Field(default_factory=VoiceTuning)
    """How the voice speaks."""

    turn_taking: TurnTaking = Field(default_factory=TurnTaking)
    """When a turn is over and what interrupts."""

    agents: Annotated[dict[Name, AgentConfig], Frozen] = Field(default_factory=dict)
    """The personas by name. A bundle without any is partial: others include it, no session starts with it."""

    initial_agent: Annotated[str | None, _LISTED] = Field(None, pattern=NAME, max_length=64)
    """The agent that begins; absent: the first one."""

    listen_to: Annotated[Literal["user", "all"], _LISTED] = "user"
    """Whose speech the agent hears: the user's, or everybody's."""

    captions: Annotated[bool, _LISTED] = True
    """Whether the client gets the words in step with the voice."""

    idle_timeout_seconds: Annotated[Seconds | None, Mark("default", "now")] = 300.0
    """Seconds of the user's silence after which the session ends, 1 to 86 400; null: never."""

    idle_prompts: Annotated[tuple[IdlePrompt, ...], Field(strict=False), Mark("listed", "now")] = ()
    """Words for a silent user, each before the idle end."""

    max_duration_seconds: Annotated[Seconds | None, Mark("default", "now")] = None
    """Seconds from the user's first presence after which the session ends, 1 to 86 400; null: no limit."""

    max_duration_warnings: Annotated[
        tuple[DurationWarning, ...], Field(strict=False), Mark("listed", "now")
    ] = ()
    """Notices that the longest duration is near."""

    goodbye: Annotated[Words | bool | None, Mark("listed", "now")] = None
    """Last words of a session that ends; true: a short goodbye in the session's language; absent: none."""

    join_timeout_seconds: Annotated[Seconds, _OPEN] = 60.0
    """Seconds to wait for the user, 1 to 86 400."""

    rejoin_grace_seconds: Annotated[float, Field(ge=0, le=86_400), Mark("default", "now")] = 15.0
    """Seconds a user who left may take to come back, 0 to 86 400."""

    on_crash: Annotated[Literal["resume", "end"], _LISTED] = "resume"
    """Whether a session whose process died goes on in another one."""

    recovery: Annotated[Words | None, _LISTED] = None
    """Words after a crash; absent: a short phrase in the session's language; null: nothing."""

    last_words: Words | None = None
    """Said by no provider when all voices or models fail; absent: a sentence in the session's language."""

    delete_room_on_end: Annotated[bool, _LISTED] = True
    """Whether the room is deleted at the end."""

    on_refused_override: Literal["continue", "refuse_session"] = "continue"
    """Whether a session with an override that is refused starts without it, or not at all."""

    on_store_unavailable: Literal["continue", "refuse_session"] = "continue"
    """Whether a session starts with what is known when Redis or the database does not answer in time."""

    variables: Annotated[dict[Name, VariableRule], Frozen] = Field(default_factory=dict)
    """Variables that templates may use as `{{name}}`."""

    overridable: Annotated[tuple[str | OverridableRule, ...], Field(strict=False)] | None = None
    """
    The only paths a session may change, beside the values of the variables declared and `metadata`, which are
    always open; absent: every field that is open by default.
    """

    transcript: TranscriptRules = Field(default_factory=TranscriptRules)
    """What becomes of the record."""

    metadata: Annotated[JsonObject, _OPEN] = Field(default_factory=dict)
    """The application's own; copied to the transcript, never read."""

    @property
    def is_text_only(self) -> bool:
        """Whether the session is held in writing: there is no voice, and nothing is listened to."""
        return self.modality_profile == "text_only"

    def tuning_for(self, agent: str | None) -> VoiceTuning:
        """The tuning of an agent laid over the session's; None: the session's."""
        if agent is None:
            return self.voice_tuning
        own = self.agents[agent].voice_tuning.model_dump(exclude_none=True)
        return VoiceTuning(**{**self.voice_tuning.model_dump(exclude_none=True), **own})

    def models_for(self, agent: str | None) -> Models:
        """The models of an agent laid over the session's; None: the session's."""
        if agent is None:
            return self.models
        own = self.agents[agent].models
        merged = {kind: _laid_over(getattr(self.models, kind), getattr(own, kind)) for kind in KINDS}
        if own.realtime is not None:
            merged |= {kind: getattr(own, kind) for kind in ("stt", "llm")}
        elif own.stt is not None or own.llm is not None:
            merged["realtime"] = None
        return Models(**merged)


def _laid_over(session: ModelConfig | None, own: ModelConfig | None) -> ModelConfig | None:
    if session is None or own is None:
        return own or session
    fields: dict[str, Any] = lay_over(
        {name: getattr(session, name) for name in session.model_fields_set},
        {name: getattr(own, name) for name in own.model_fields_set},
    )
    return ModelConfig(**fields)
