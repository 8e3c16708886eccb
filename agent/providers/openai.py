"""
OpenAI, and servers that speak its protocol (`base_url`).

Ranges and models are those of the API reference: speed 0.25 to 4.0, `instructions` not with tts-1 and
tts-1-hd, realtime speed 0.25 to 1.5.
"""

from __future__ import annotations

from typing import Any

from agent.providers.capability import Offer, Provider, Request, exact, unsupported
from agent.providers.options import thawed
from config_store.schema import Kind

VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable",
    "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
"""Built-in voices. A voice of one's own starts with `voice_`; a compatible server has its own names."""

_ONLY_ELEVENLABS = unsupported("ElevenLabs only")
_COMMON = {
    "pitch": unsupported("no such field; choose another voice, or say it in instructions"),
    "stability": _ONLY_ELEVENLABS,
    "similarity_boost": _ONLY_ELEVENLABS,
    "style": _ONLY_ELEVENLABS,
    "use_speaker_boost": _ONLY_ELEVENLABS,
}
_PACE = exact(0.25, 4.0, "speed")
_SPEECH = {**_COMMON, "pace": _PACE, "instructions": exact(how="instructions")}
_PLAIN_SPEECH = {**_COMMON, "pace": _PACE, "instructions": unsupported("not with tts-1 and tts-1-hd")}
_REALTIME = {
    **_COMMON,
    "pace": exact(0.25, 1.5, "speed"),
    "instructions": unsupported("a realtime model follows the agent's instructions"),
}


def voice_problem(voice: str) -> str | None:
    """What is wrong with a voice's name; None when nothing is."""
    if voice in VOICES or voice.startswith("voice_"):
        return None
    return f"openai has no voice {voice!r}; it has {', '.join(VOICES)}"


def default_voice(kind: Kind, _language: str) -> str:
    """The voice where none is named."""
    return "marin" if kind == "realtime" else "ash"


def _connection(request: Request) -> dict[str, Any]:
    given = {"model": request.model.model, "api_key": request.key}
    if request.model.base_url is not None:
        given["base_url"] = request.model.base_url
    return given


def _stt(request: Request) -> Any:
    from agent.providers.openai_stt import ClosingSTT

    arguments = {"language": request.language, **_connection(request), **thawed(request.model.options)}
    if request.model.temperature is not None:
        arguments["temperature"] = request.model.temperature
    return ClosingSTT(**arguments)


def _llm(request: Request) -> Any:
    from livekit.plugins import openai

    arguments = {**_connection(request), **thawed(request.model.options)}
    if request.model.temperature is not None:
        arguments["temperature"] = request.model.temperature
    return openai.LLM(**arguments)


def _tts(request: Request) -> Any:
    from livekit.plugins import openai

    arguments = {**_connection(request), **thawed(request.model.options), **tts_settings(request)}
    return openai.TTS(**arguments)


def tts_settings(request: Request) -> dict[str, Any]:
    """What depends on voice and tuning, for the constructor and for `update_options`."""
    settings: dict[str, Any] = {"voice": request.voice or "ash", "speed": request.tuning.pace or 1.0}
    settings["instructions"] = request.tuning.instructions or ""
    return settings


def _realtime(request: Request) -> Any:
    from livekit.plugins import openai
    from openai.types.realtime import AudioTranscription

    from agent.providers.patience import once_more

    arguments = {**_connection(request), "voice": request.voice or "marin"}
    # the words of the user for the transcript; the model itself listens to the sound
    arguments["input_audio_transcription"] = AudioTranscription(
        model="gpt-4o-mini-transcribe", language=request.language.split("-")[0]
    )
    arguments["conn_options"] = once_more()
    arguments |= thawed(request.model.options)
    if request.tuning.pace is not None:
        arguments["speed"] = request.tuning.pace
    return openai.realtime.RealtimeModel(**arguments)


def _live_stt(request: Request) -> dict[str, Any]:
    return {"language": request.language}


def _live_realtime(request: Request) -> dict[str, Any]:
    # the API locks a realtime model's voice with its first audio, so only the speed can follow
    return {"speed": request.tuning.pace or 1.0}


_BY_FIELDS = {"model": "model", "base_url": "base_url", "temperature": "temperature"}

OPENAI = Provider(
    name="openai",
    packages=("livekit.plugins.openai",),
    key_env="OPENAI_API_KEY",
    default_voice=default_voice,
    voice_problem=voice_problem,
    languages="most; STT takes the language as a hint, TTS follows the text",
    live={"tts": tts_settings, "stt": _live_stt, "realtime": _live_realtime},
    tuning=(("tts-1*", _PLAIN_SPEECH), ("*", _SPEECH)),
    realtime_tuning=(("*", _REALTIME),),
    offers={
        "stt": Offer(
            target="livekit.plugins.openai:STT",
            build=_stt,
            models=("gpt-4o-mini-transcribe", "gpt-4o-transcribe", "gpt-realtime-whisper", "whisper-1"),
            reserved=_BY_FIELDS,
        ),
        "llm": Offer(
            target="livekit.plugins.openai:LLM",
            build=_llm,
            models=("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini"),
            reserved=_BY_FIELDS,
        ),
        "tts": Offer(
            target="livekit.plugins.openai:TTS",
            build=_tts,
            models=("gpt-4o-mini-tts", "tts-1", "tts-1-hd"),
            reserved={
                **_BY_FIELDS,
                "voice": "voice_id",
                "speed": "voice_tuning.pace",
                "instructions": "voice_tuning.instructions",
            },
        ),
        "realtime": Offer(
            target="livekit.plugins.openai:realtime.RealtimeModel",
            build=_realtime,
            models=("gpt-realtime", "gpt-realtime-mini"),
            reserved={**_BY_FIELDS, "voice": "voice_id", "speed": "voice_tuning.pace"},
        ),
    },
)
