"""Sarvam: speech and language models for Indian languages. Ranges are those its plugin enforces."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agent.providers.capability import Offer, Provider, Request, exact, unsupported
from agent.providers.options import thawed
from agent.providers.plugin import arguments, offer

_NOT_HERE = unsupported("ElevenLabs only")
_COMMON = {
    "stability": _NOT_HERE,
    "similarity_boost": _NOT_HERE,
    "style": _NOT_HERE,
    "use_speaker_boost": _NOT_HERE,
    "instructions": unsupported("the text itself is all it takes"),
}
_ANY_PACE = exact(0.3, 3.0, "pace")
_NO_PITCH = unsupported("bulbul:v2 and bulbul:v4 only")

_TTS = "livekit.plugins.sarvam:TTS"
_STT = "livekit.plugins.sarvam:STT"
_RESERVED_TTS = {
    "model": "model",
    "base_url": "base_url",
    "ws_url": "base_url",
    "target_language_code": "target_language",
    "speaker": "voice_id",
    "pace": "voice_tuning.pace",
    "pitch": "voice_tuning.pitch",
    "loudness": "voice_tuning.loudness",
}
_RESERVED_STT = {"model": "model", "base_url": "base_url", "language": "target_language"}


def _below(address: str, path: str, *, socket: bool = False) -> str:
    """A path below an address; with `socket` as that of a WebSocket."""
    parts = urlsplit(address)
    scheme = parts.scheme.replace("http", "ws", 1) if socket else parts.scheme
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, "", ""))


def tts_settings(request: Request) -> dict[str, Any]:
    """What depends on voice, tuning and language, for the constructor and for `update_options`."""
    settings: dict[str, Any] = {
        "target_language_code": request.language,
        "pace": request.tuning.pace or 1.0,
        "pitch": request.tuning.pitch or 0.0,
    }
    if request.voice is not None:
        settings["speaker"] = request.voice
    return settings


def _tts(request: Request) -> Any:
    from livekit.plugins import sarvam

    given: dict[str, Any] = {"model": request.model.model, "api_key": request.key}
    if request.model.base_url is not None:  # the plugin has one address for each of its two ways
        given["base_url"] = _below(request.model.base_url, "/text-to-speech")
        given["ws_url"] = _below(request.model.base_url, "/text-to-speech/ws", socket=True)
    return sarvam.TTS(**{**given, **thawed(request.model.options), **tts_settings(request)})


def _stt(request: Request) -> Any:
    given = arguments(_STT, request)
    address = given.pop("base_url", None)
    if address is None:
        from livekit.plugins import sarvam

        return sarvam.STT(**given)
    from agent.providers.sarvam_stt import AddressedSTT

    return AddressedSTT(address=_below(address, "/speech-to-text/ws", socket=True), **given)


SARVAM = Provider(
    name="sarvam",
    packages=("livekit.plugins.sarvam",),
    key_env="SARVAM_API_KEY",
    extra="sarvam",
    languages="eleven Indian languages, among them hi-IN and en-IN",
    live={"tts": tts_settings},
    tuning=(
        ("bulbul:v4*", {**_COMMON, "pace": exact(0.5, 2.0, "pace"), "pitch": exact(-0.5, 0.5, "pitch")}),
        ("bulbul:v2", {**_COMMON, "pace": _ANY_PACE, "pitch": exact(-0.75, 0.75, "pitch")}),
        ("*", {**_COMMON, "pace": _ANY_PACE, "pitch": _NO_PITCH}),
    ),
    offers={
        "stt": Offer(target=_STT, build=_stt, models=("saaras:v4", "saaras:v3"), reserved=_RESERVED_STT),
        "llm": offer("livekit.plugins.sarvam:LLM", models=("sarvam-105b", "gemma4"), needs_model=True),
        "tts": Offer(
            target=_TTS,
            build=_tts,
            models=("bulbul:v2", "bulbul:v3", "bulbul:v4-flash"),
            reserved=_RESERVED_TTS,
        ),
    },
)
