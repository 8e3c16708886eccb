"""Sarvam: speech and language models for Indian languages. Ranges are those its plugin enforces."""

from __future__ import annotations

from agent.providers.capability import Provider, exact, unsupported
from agent.providers.plugin import offer

_NOT_HERE = unsupported("ElevenLabs only")
_COMMON = {
    "stability": _NOT_HERE,
    "similarity_boost": _NOT_HERE,
    "style": _NOT_HERE,
    "use_speaker_boost": _NOT_HERE,
    "instructions": unsupported("the text itself is all it takes"),
}

_ANY_PACE = exact(0.3, 3.0, "pace")

SARVAM = Provider(
    name="sarvam",
    packages=("livekit.plugins.sarvam",),
    key_env="SARVAM_API_KEY",
    extra="sarvam",
    languages="eleven Indian languages, among them hi-IN and en-IN",
    tuning=(
        ("bulbul:v4*", {**_COMMON, "pace": exact(0.5, 2.0, "pace"), "pitch": exact(-0.5, 0.5, "pitch")}),
        ("bulbul:v3*", {**_COMMON, "pace": _ANY_PACE, "pitch": unsupported("not with bulbul:v3")}),
        ("*", {**_COMMON, "pace": _ANY_PACE, "pitch": exact(-0.75, 0.75, "pitch")}),
    ),
    offers={
        "stt": offer("livekit.plugins.sarvam:STT", models=("saaras:v4", "saarika:v2.5"), needs_model=True),
        "llm": offer("livekit.plugins.sarvam:LLM", models=("sarvam-105b", "gemma4"), needs_model=True),
        "tts": offer(
            "livekit.plugins.sarvam:TTS",
            models=("bulbul:v2", "bulbul:v3", "bulbul:v4-flash"),
            needs_model=True,
        ),
    },
)
