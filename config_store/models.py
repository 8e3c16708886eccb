"""Which models listen, think and speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from config_store.marks import Mark
from config_store.section import JsonObject, Section

Kind = Literal["stt", "llm", "tts", "realtime"]
KINDS: tuple[Kind, ...] = ("stt", "llm", "tts", "realtime")

_CHOICE = Mark("default")
_LISTED = Mark("listed")


class ModelConfig(Section):
    """One model of one provider."""

    provider: Annotated[str | None, _CHOICE] = Field(None, min_length=1, max_length=64)
    """Name of a provider of this runtime, such as `openai`, `elevenlabs` or `offline`."""

    plugin: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=200)
    """Python module of a livekit plugin without a provider name here, such as `livekit.plugins.deepgram`."""

    model: Annotated[str | None, _CHOICE] = Field(None, min_length=1, max_length=200)
    """The provider's name of the model; absent: the optimization level chooses, else the provider."""

    temperature: Annotated[float | None, _LISTED] = Field(None, ge=0.0, le=2.0)
    """Randomness of a language model, 0 to 2; absent: the provider's default."""

    base_url: str | None = Field(None, pattern=r"^(https?|wss?)://", max_length=500)
    """Address of a compatible server instead of the provider's own."""

    api_key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)
    """Name of the environment variable that holds the key; never the key itself."""

    fallback: Annotated[tuple[ModelConfig, ...], Field(strict=False)] = ()
    """Models to use, in this order, while this one fails."""

    options: JsonObject = Field(default_factory=dict)
    """Further arguments of the plugin's constructor."""

    @property
    def identity(self) -> str | None:
        """The provider, else the plugin; None when neither is named."""
        return self.provider or self.plugin


class Models(Section):
    """The models of a session or of one agent."""

    stt: ModelConfig | None = None
    """Speech to text."""

    llm: ModelConfig | None = None
    """The language model."""

    tts: ModelConfig | None = None
    """Text to speech."""

    realtime: ModelConfig | None = None
    """A speech-to-speech model in place of `stt` and `llm`, and of `tts` unless one is named."""


def key_variables(config: object) -> set[str]:
    """Every variable that a config of plain maps and lists names as one with a key in it (`api_key_env`)."""
    if isinstance(config, list):
        return {name for each in config for name in key_variables(each)}
    if not isinstance(config, dict):
        return set()
    named = config.get("api_key_env")
    inner = {name for each in config.values() for name in key_variables(each)}
    return inner | {named} if isinstance(named, str) else inner


def identity_of(model: Mapping[str, Any]) -> str | None:
    """The provider of a model that is still a plain map, else its plugin."""
    return model.get("provider") or model.get("plugin")


def lay_over(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """
    One model laid over another.

    Another provider (or plugin) in the stronger one drops every field of the weaker one: a model name,
    an address or a key of one provider means nothing to another.
    """
    return {**({} if changes_provider(weaker, stronger) else weaker), **stronger}


def changes_provider(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> bool:
    """Whether the stronger layer of a model puts another provider in place of the weaker one's."""
    old, new = identity_of(weaker), identity_of(stronger)
    return old is not None and new is not None and old != new
