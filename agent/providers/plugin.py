"""
Models of any provider from their plugin's constructor signature alone.

The providers sarvam and anthropic are built this way, and so is whatever a bundle names with `plugin:`.
The fields of a bundle go to the argument that means them, if the plugin has it; `options:` does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.providers.capability import Offer, Provider, ProviderError, Request
from agent.providers.options import load_target, parameters, thawed
from config_store.schema import Kind

_CLASSES: Mapping[Kind, str] = {
    "stt": "STT",
    "llm": "LLM",
    "tts": "TTS",
    "realtime": "realtime.RealtimeModel",
}

_NAMES = {
    "model": ("model", "model_name"),
    "base_url": ("base_url", "api_url"),
    "temperature": ("temperature",),
    "language": ("language", "target_language_code", "language_code", "lang"),
    "voice": ("voice", "voice_id", "speaker"),
    "pace": ("speed", "pace", "speaking_rate"),
    "pitch": ("pitch",),
}
"""Field of a bundle → arguments that mean it, the first one there counts."""

_FIELD = {
    "language": "target_language",
    "voice": "voice_id",
    "pace": "voice_tuning.pace",
    "pitch": "voice_tuning.pitch",
}


def arguments(target: str, request: Request) -> dict[str, Any]:
    """
    The constructor's arguments for a request.

    Raises:
        ProviderError: The plugin cannot be imported, or lacks an argument for a field that was given.
    """
    taken = parameters(target)
    model = request.model
    values: dict[str, Any] = {
        "model": model.model,
        "base_url": model.base_url,
        "temperature": model.temperature,
        "voice": request.voice,
        "pace": request.tuning.pace,
        "pitch": request.tuning.pitch,
        "language": request.language,
    }
    given: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        argument = next((option for option in _NAMES[name] if option in taken), None)
        if argument is not None:
            given[argument] = value
        elif name in ("model", "base_url", "temperature"):
            raise ProviderError(f"{target.replace(':', '.')} has no argument for {name}; leave it out")
    if request.key is not None:
        if "api_key" not in taken:
            raise ProviderError(f"{target.replace(':', '.')} takes no api_key; leave api_key_env out")
        given["api_key"] = request.key
    return {**given, **thawed(model.options)}


def offer(target: str, *, models: tuple[str, ...] | None = None, needs_model: bool = False) -> Offer:
    """What a plugin's class offers, built from its signature."""

    def build(request: Request) -> Any:
        return load_target(target)(**arguments(target, request))

    return Offer(
        target=target, build=build, models=models, needs_model=needs_model, reserved=_Reserved(target)
    )


class _Reserved(Mapping[str, str]):
    """Argument → field, looked up when asked for, because listing providers must not import plugins."""

    def __init__(self, target: str) -> None:
        self._target = target

    def _all(self) -> dict[str, str]:
        taken = parameters(self._target)
        firsts = ((name, next((a for a in names if a in taken), None)) for name, names in _NAMES.items())
        fields = {argument: _FIELD.get(name, name) for name, argument in firsts if argument}
        # our own gain does it for every provider; twice would be too much
        return {**fields, **({"loudness": "voice_tuning.loudness"} if "loudness" in taken else {})}

    def __getitem__(self, argument: str) -> str:
        return self._all()[argument]

    def __iter__(self) -> Any:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def provider_of(plugin: str) -> Provider:
    """
    A provider for `plugin: livekit.plugins.NAME`, with all kinds it may have.

    Its key comes from `api_key_env`; without one the plugin reads the environment as its own documentation
    says. Of the tuning only loudness works, because it is done on the audio; the rest is for `options`.
    """
    return Provider(
        name=plugin,
        packages=(plugin,),
        offers={kind: offer(f"{plugin}:{name}") for kind, name in _CLASSES.items()},
    )
