"""
ElevenLabs.

Facts from its API reference: speed 0.7 to 1.2; settings that are left out of a partial `voice_settings`
count as the API's defaults, not as those saved with the voice, so a partial tuning is completed with them
and none at all sends none. Models v3 and v4 go through text-to-dialogue, which takes `stability` alone, of
which v3 knows three values. Only the v2.5 models and newer take a language; older ones refuse it.
"""

from __future__ import annotations

from typing import Any

from agent.providers.capability import (
    Offer,
    Provider,
    Request,
    Tuning,
    approximated,
    exact,
    unsupported,
)
from agent.providers.options import thawed

DEFAULT_VOICE = "hpp4J3VqNfWAUOO0d1Us"
"""The plugin's own."""

DEFAULTS = {"stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "speed": 1.0, "use_speaker_boost": True}
"""The API's own defaults of `voice_settings`."""

_NO_PITCH = unsupported("no such field; choose another voice")
_NO_INSTRUCTIONS = unsupported("the text itself is all it takes")
_DIALOGUE_ONLY = unsupported("these models take stability only")
_SPEECH = {
    "pace": exact(0.7, 1.2, "speed"),
    "pitch": _NO_PITCH,
    "stability": exact(0.0, 1.0, "stability"),
    "similarity_boost": exact(0.0, 1.0, "similarity_boost"),
    "style": exact(0.0, 1.0, "style"),
    "use_speaker_boost": exact(how="use_speaker_boost"),
    "instructions": _NO_INSTRUCTIONS,
}
_DIALOGUE = {
    "pace": _DIALOGUE_ONLY,
    "pitch": _NO_PITCH,
    "stability": exact(0.0, 1.0, "stability"),
    "similarity_boost": _DIALOGUE_ONLY,
    "style": _DIALOGUE_ONLY,
    "use_speaker_boost": _DIALOGUE_ONLY,
    "instructions": _NO_INSTRUCTIONS,
}
_V3 = {**_DIALOGUE, "stability": approximated("the nearest of three", 0.0, 1.0, steps=(0.0, 0.5, 1.0))}

_WITHOUT_LANGUAGE = ("eleven_monolingual", "eleven_multilingual", "eleven_turbo_v2", "eleven_flash_v2")


def takes_language(model: str | None) -> bool:
    """Whether a TTS model takes a language code; the older ones find it from the text."""
    name = model or ""
    return name.endswith("_v2_5") or not name.startswith(_WITHOUT_LANGUAGE)


def voice_settings(tuning: Tuning, model: str | None) -> Any:
    """
    The plugin's `VoiceSettings`; None when the tuning asks for nothing the API has, so that the settings
    saved with the voice stay in force.
    """
    from livekit.plugins import elevenlabs

    asked = {
        "stability": tuning.stability,
        "similarity_boost": tuning.similarity_boost,
        "style": tuning.style,
        "speed": tuning.pace,
        "use_speaker_boost": tuning.use_speaker_boost,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        return None
    if (model or "").startswith(("eleven_v3", "eleven_v4")):
        # the plugin leaves None out; anything else it would drop with a warning on every construction
        return elevenlabs.VoiceSettings(stability=given["stability"], similarity_boost=None)  # type: ignore[arg-type]
    return elevenlabs.VoiceSettings(**{**DEFAULTS, **given})  # type: ignore[arg-type]


def tts_settings(request: Request) -> dict[str, Any]:
    """What depends on voice, tuning and language, for the constructor and for `update_options`."""
    settings: dict[str, Any] = {}
    if request.voice is not None:
        settings["voice_id"] = request.voice
    tuned = voice_settings(request.tuning, request.model.model)
    if tuned is not None:
        settings["voice_settings"] = tuned
    if takes_language(request.model.model):
        settings["language"] = request.language
    return settings


def _live_tts(request: Request) -> dict[str, Any]:
    # here nothing can be left out: what a tuning no longer asks for has to go back to the default
    untouched = voice_settings(Tuning(stability=DEFAULTS["stability"]), request.model.model)
    return {"voice_id": DEFAULT_VOICE, "voice_settings": untouched, **tts_settings(request)}


def _tts(request: Request) -> Any:
    from livekit.plugins import elevenlabs

    arguments = {**_connection(request), **thawed(request.model.options), **tts_settings(request)}
    return elevenlabs.TTS(**arguments)


def _stt(request: Request) -> Any:
    from livekit.plugins import elevenlabs

    arguments = {"language_code": request.language, **_connection(request), **thawed(request.model.options)}
    return elevenlabs.STT(**arguments)


def _connection(request: Request) -> dict[str, Any]:
    given = {"model": request.model.model, "api_key": request.key}
    if request.model.base_url is not None:
        given["base_url"] = request.model.base_url
    return given


_BY_FIELDS = {"model": "model", "base_url": "base_url"}

ELEVENLABS = Provider(
    name="elevenlabs",
    packages=("livekit.plugins.elevenlabs",),
    key_env="ELEVEN_API_KEY",
    default_voice=lambda _kind, _language: DEFAULT_VOICE,
    live={"tts": _live_tts},
    languages="32 with the v2.5 models; the language goes to models that take one",
    tuning=(("eleven_v3*", _V3), ("eleven_v4*", _DIALOGUE), ("*", _SPEECH)),
    offers={
        "tts": Offer(
            target="livekit.plugins.elevenlabs:TTS",
            build=_tts,
            models=(
                "eleven_flash_v2_5",
                "eleven_turbo_v2_5",
                "eleven_multilingual_v2",
                "eleven_flash_v2",
                "eleven_turbo_v2",
                "eleven_v3",
                "eleven_v3_conversational",
                "eleven_v4",
                "eleven_v4_turbo",
            ),
            reserved={
                **_BY_FIELDS,
                "voice_id": "voice_id",
                "voice_settings": "voice_tuning",
                "language": "target_language",
                "word_tokenizer": "nothing: it is an object",
            },
        ),
        "stt": Offer(
            target="livekit.plugins.elevenlabs:STT",
            build=_stt,
            models=("scribe_v2_realtime", "scribe_v2", "scribe_v1"),
            reserved={
                **_BY_FIELDS,
                "language_code": "target_language",
                "model_id": "model",
                "use_realtime": "model",
            },
        ),
    },
)
