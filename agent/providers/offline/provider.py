"""The provider `offline`: what a newcomer's first run and the tests speak and hear with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.providers.capability import Offer, Provider, Request, exact, unsupported
from agent.providers.offline.voices import voice_for_language, voice_problem
from agent.providers.options import thawed

_ONLY_ELEVENLABS = unsupported("ElevenLabs only")
_ROW = {
    "pace": exact(0.46, 3.0, "words per minute, within 5 %"),
    "pitch": exact(-0.75, 0.75, "the engine's pitch"),
    "stability": _ONLY_ELEVENLABS,
    "similarity_boost": _ONLY_ELEVENLABS,
    "style": _ONLY_ELEVENLABS,
    "use_speaker_boost": _ONLY_ELEVENLABS,
    "instructions": unsupported("a formant synthesizer takes none"),
}


def _tts(request: Request) -> Any:
    from agent.providers.offline.espeak import EspeakTTS

    return EspeakTTS(**tts_settings(request))


def tts_settings(request: Request) -> dict[str, Any]:
    """What depends on voice, tuning and language, for the constructor and for `update_options`."""
    tuning = request.tuning
    return {
        "voice": request.voice or voice_for_language(request.language),
        "pace": 1.0 if tuning.pace is None else tuning.pace,
        "pitch": 0.0 if tuning.pitch is None else tuning.pitch,
    }


def _stt(request: Request) -> Any:
    from agent.providers.offline.sphinx import SphinxSTT

    return SphinxSTT(**thawed(request.model.options))


def _llm(request: Request) -> Any:
    from agent.providers.offline.rules_llm import RulesLLM

    return RulesLLM(**thawed(request.model.options))


def _no_options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, "unknown option, the offline voice takes none") for name in options]


def _stt_problems(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [
        (name, "unknown option of offline speech recognition; it takes phrases and pronunciations")
        for name in options
        if name not in ("phrases", "pronunciations")
    ]
    phrases, pronunciations = options.get("phrases", ()), options.get("pronunciations", {})
    if not isinstance(phrases, list | tuple) or not all(isinstance(phrase, str) for phrase in phrases):
        return [*found, ("phrases", "must be a list of texts")]
    if not isinstance(pronunciations, Mapping) or not all(
        isinstance(p, str) for p in pronunciations.values()
    ):
        return [*found, ("pronunciations", "must be a map from word to phones")]
    if not phrases:
        return [*found, ("phrases", "is missing: the list of what a user may say")]
    from agent.providers.offline.phrases import no_pronunciation, unknown_words

    missing = unknown_words(phrases, pronunciations)
    return [*found, ("phrases", no_pronunciation(missing))] if missing else found


def _llm_problems(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    from agent.providers.offline.rules import problems

    return problems(options)


OFFLINE = Provider(
    name="offline",
    packages=("espeakng_loader", "pocketsphinx"),
    extra="offline",
    default_voice=lambda _kind, language: voice_for_language(language),
    live={"tts": tts_settings},
    voice_problem=voice_problem,
    languages="TTS over 100, by voice; STT English",
    tuning=(("*", _ROW),),
    offers={
        "stt": Offer(
            target="agent.providers.offline.sphinx:SphinxSTT",
            build=_stt,
            needs_model=False,
            check=_stt_problems,
        ),
        "llm": Offer(
            target="agent.providers.offline.rules_llm:RulesLLM",
            build=_llm,
            needs_model=False,
            check=_llm_problems,
        ),
        "tts": Offer(
            target="agent.providers.offline.espeak:EspeakTTS",
            build=_tts,
            needs_model=False,
            check=_no_options,
        ),
    },
)
