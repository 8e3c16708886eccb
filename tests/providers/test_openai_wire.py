"""What the real OpenAI plugin sends for a configuration."""

from __future__ import annotations

import pytest
from livekit import rtc
from livekit.agents import llm

from agent.providers import registry
from tests.doubles.audio import tone
from tests.doubles.openai_server import OpenAIDouble
from tests.providers.configs import KEYS, session, spoken


async def test_speech_carries_key_model_voice_speed_and_instructions(openai_double: OpenAIDouble) -> None:
    """Voice and tuning of a bundle stand in the request for speech."""
    config = session(
        "tts",
        {"provider": "openai", "model": "gpt-4o-mini-tts", "base_url": openai_double.url},
        voice_id={"openai": "coral"},
        voice_tuning={"pace": 1.25, "instructions": "Calm."},
    )
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    await spoken(voice, "Hello there.")
    await registry.close(voice)
    call = openai_double.of("/audio/speech")[0]
    assert call.key == "test-key"
    sent = {name: call.body[name] for name in ("model", "voice", "speed", "instructions", "input")}
    assert sent == {
        "model": "gpt-4o-mini-tts",
        "voice": "coral",
        "speed": 1.25,
        "instructions": "Calm.",
        "input": "Hello there.",
    }


async def test_pace_changes_the_length_of_openai_speech(openai_double: OpenAIDouble) -> None:
    """Twice the pace is half the audio, through decoding and all."""
    lengths = []
    for pace in (1.0, 2.0):
        model = {"provider": "openai", "model": "tts-1", "base_url": openai_double.url}
        voice = registry.build_tts(session("tts", model, voice_tuning={"pace": pace}), None, KEYS)
        assert voice is not None
        samples, rate = await spoken(voice, "We are open from nine to five on weekdays.")
        lengths.append(len(samples) / rate)
        await registry.close(voice)
    assert lengths[0] / lengths[1] == pytest.approx(2.0, rel=0.1)


async def test_instructions_stay_away_from_models_without_them(openai_double: OpenAIDouble) -> None:
    """tts-1 takes no instructions: none are sent, and a verdict says so without repeating them."""
    config = session(
        "tts",
        {"provider": "openai", "model": "tts-1", "base_url": openai_double.url},
        voice_tuning={"instructions": "Whisper it."},
    )
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    await spoken(voice, "Hello.")
    await registry.close(voice)
    assert "instructions" not in openai_double.of("/audio/speech")[0].body
    (verdict,) = registry.tuning_verdicts(config)
    assert (verdict.path, verdict.verdict) == ("voice_tuning.instructions", "unsupported")
    assert "Whisper" not in str(verdict)


async def test_chat_carries_key_of_the_organization_model_and_temperature(
    openai_double: OpenAIDouble,
) -> None:
    """`api_key_env` gives an organization its own key, and only that one is used."""
    openai_double.keys = ("acme-key",)
    config = session(
        "llm",
        {
            "provider": "openai",
            "model": "gpt-4.1-mini",
            "temperature": 0.6,
            "base_url": openai_double.url,
            "api_key_env": "ACME_KEY",
            "options": {"max_completion_tokens": 77},
        },
    )
    model = registry.build_llm(config, None, {**KEYS, "ACME_KEY": "acme-key"})
    assert model is not None
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="How are you?")
    answer = await model.chat(chat_ctx=context).collect()
    await registry.close(model)
    assert answer.text.strip() == "Fine, thank you."
    call = openai_double.of("/chat/completions")[0]
    assert call.key == "acme-key"
    assert (call.body["model"], call.body["temperature"]) == ("gpt-4.1-mini", 0.6)
    assert call.body["max_completion_tokens"] == 77


async def test_transcription_carries_model_language_and_options(openai_double: OpenAIDouble) -> None:
    """The session's language reaches speech recognition, as the language alone."""
    config = session(
        "stt",
        {
            "provider": "openai",
            "model": "gpt-4o-mini-transcribe",
            "base_url": openai_double.url,
            "options": {"prompt": "Names of medicines."},
        },
        target_language="hi-IN",
    )
    model = registry.build_stt(config, None, KEYS)
    assert model is not None
    pcm = tone(0.5, 16000)
    event = await model.recognize(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))
    await registry.close(model)
    assert event.alternatives[0].text == "hello there"
    body = openai_double.of("/audio/transcriptions")[0].body
    assert (body["model"], body["language"], body["prompt"]) == (
        "gpt-4o-mini-transcribe",
        "hi",
        "Names of medicines.",
    )
