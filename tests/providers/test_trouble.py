"""Providers in trouble: whatever goes wrong, something is heard from the next one, or the error is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIError, APITimeoutError, llm, stt, tts

from agent.providers import patience, registry
from agent.providers.offline.espeak import EspeakTTS
from config_store.schema import SessionConfig
from tests.doubles.audio import tone
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble
from tests.doubles.server import Trouble
from tests.providers.configs import KEYS, session, spoken

SENTENCE = "We are open from nine to five on weekdays."


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall is one after 0.3 s."""
    monkeypatch.setattr(patience, "STALL_SECONDS", 0.3)


def _voices(primary: dict[str, Any], *fallback: dict[str, Any]) -> SessionConfig:
    return session("tts", {**primary, "fallback": list(fallback)}, voice_id={"elevenlabs": "V1"})


def _elevenlabs(double: ElevenLabsDouble) -> dict[str, Any]:
    return {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "base_url": double.url}


def _openai(double: OpenAIDouble) -> dict[str, Any]:
    return {"provider": "openai", "model": "gpt-4o-mini-tts", "base_url": double.url}


TROUBLES = [
    pytest.param(Trouble(status=401), id="401"),
    pytest.param(Trouble(status=429), id="429"),
    pytest.param(Trouble(status=500), id="500"),
    pytest.param(Trouble(stall=True), id="stall"),
    pytest.param(Trouble(empty=True), id="no audio"),
]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("first", ["elevenlabs", "openai"])
async def test_the_fallback_is_heard(
    first: str, trouble: Trouble, elevenlabs_double: ElevenLabsDouble, openai_double: OpenAIDouble
) -> None:
    """Whatever ails the first voice, the same sentence comes from the offline one, in full."""
    if first == "elevenlabs":
        primary, double, ending = _elevenlabs(elevenlabs_double), elevenlabs_double, "/multi-stream-input"
    else:
        primary, double, ending = _openai(openai_double), openai_double, "/audio/speech"
    double.trouble[ending] = [trouble] * 10
    voice = registry.build_tts(_voices(primary, {"provider": "offline"}), None, KEYS)
    assert voice is not None
    async with asyncio.timeout(20):  # the library alone would wait for half a minute and more
        samples, rate = await spoken(voice, SENTENCE)
    assert len(samples) / rate > 2.0
    assert voice.metrics_metadata == {"model_name": "espeak-ng", "model_provider": "offline"}
    await registry.close(voice)


async def test_the_switch_and_the_recovery_are_told(elevenlabs_double: ElevenLabsDouble) -> None:
    """The first voice is probed after it failed, and speaks again once it works."""
    elevenlabs_double.trouble["/multi-stream-input"] = [Trouble(status=500)] * 2
    config = _voices(_elevenlabs(elevenlabs_double), {"provider": "offline"})
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    changes: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
    voice.on(
        "tts_availability_changed", lambda event: changes.put_nowait((event.tts.provider, event.available))
    )
    await spoken(voice, SENTENCE)
    assert await asyncio.wait_for(changes.get(), 5) == ("ElevenLabs", False)
    assert await asyncio.wait_for(changes.get(), 5) == ("ElevenLabs", True)
    await spoken(voice, SENTENCE)
    assert voice.metrics_metadata["model_provider"] == "ElevenLabs"
    await registry.close(voice)


async def test_a_voice_cut_off_in_mid_audio_is_followed_by_the_fallback(
    elevenlabs_double: ElevenLabsDouble,
) -> None:
    """What was heard is not repeated; the next sentence comes from the fallback."""
    elevenlabs_double.trouble["/multi-stream-input"] = [Trouble(cut_after=30000)] * 10
    primary = {**_elevenlabs(elevenlabs_double), "options": {"encoding": "pcm_22050"}}
    voice = registry.build_tts(_voices(primary, {"provider": "offline"}), None, KEYS)
    assert voice is not None
    samples, rate = await spoken(voice, SENTENCE)
    assert 0.0 < len(samples) / rate < 1.5
    await spoken(voice, SENTENCE)
    assert voice.metrics_metadata["model_provider"] == "offline"
    await registry.close(voice)


async def test_loudness_holds_for_the_fallback_too(elevenlabs_double: ElevenLabsDouble) -> None:
    """Tuning is the session's, whoever speaks: silence stays silence on the fallback."""
    elevenlabs_double.trouble["/multi-stream-input"] = [Trouble(status=401)]
    config = session(
        "tts",
        {**_elevenlabs(elevenlabs_double), "fallback": [{"provider": "offline"}]},
        voice_tuning={"loudness": 0.0},
    )
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    samples, _ = await spoken(voice, SENTENCE)
    assert not samples.any()
    await registry.close(voice)


@pytest.mark.parametrize("trouble", [Trouble(status=401), Trouble(stall=True)], ids=["401", "stall"])
async def test_without_a_fallback_the_error_is_told(openai_double: OpenAIDouble, trouble: Trouble) -> None:
    """A lone voice in trouble raises, and tells its listeners once for all, without the spoken words."""
    openai_double.trouble["/audio/speech"] = [trouble] * 10
    voice = registry.build_tts(_voices(_openai(openai_double)), None, KEYS)
    assert voice is not None
    errors: list[tts.TTSError] = []
    voice.on("error", errors.append)
    with pytest.raises(APIError) as caught:
        await spoken(voice, SENTENCE)
    assert isinstance(caught.value, APITimeoutError) is trouble.stall
    assert [error.recoverable for error in errors] == [False]
    assert "weekdays" not in str(caught.value)
    await registry.close(voice)


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_language_model_in_trouble_is_replaced(openai_double: OpenAIDouble, status: int) -> None:
    """The answer comes from the fallback model, in the same turn."""
    openai_double.trouble["/chat/completions"] = [Trouble(status=status)] * 10
    rules = {"provider": "offline", "options": {"fallback": "One moment please."}}
    config = session(
        "llm",
        {"provider": "openai", "model": "gpt-4.1-mini", "base_url": openai_double.url, "fallback": [rules]},
    )
    model = registry.build_llm(config, None, KEYS)
    assert model is not None
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="How are you?")
    assert (await model.chat(chat_ctx=context).collect()).text == "One moment please."
    await registry.close(model)


async def test_ears_in_trouble_are_replaced(openai_double: OpenAIDouble) -> None:
    """What one recognizer cannot take the next one hears."""
    openai_double.trouble["/audio/transcriptions"] = [Trouble(status=500)] * 10
    first = {"provider": "openai", "model": "whisper-1", "base_url": openai_double.url}
    second = {**first, "model": "gpt-4o-mini-transcribe"}
    openai_double.trouble["/audio/transcriptions"] = [Trouble(status=500)]
    model = registry.build_stt(session("stt", {**first, "fallback": [second]}), None, KEYS)
    assert model is not None
    pcm = tone(0.5, 16000)
    event = await model.recognize(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))
    assert event.alternatives[0].text == "hello there"
    await registry.close(model)


async def test_ears_whose_socket_drops_hear_the_next_words(elevenlabs_double: ElevenLabsDouble) -> None:
    """A recognizer whose connection is cut connects again by itself and goes on."""
    elevenlabs_double.trouble["/speech-to-text/realtime"] = [Trouble(cut_after=0)]
    config = session(
        "stt", {"provider": "elevenlabs", "model": "scribe_v2_realtime", "base_url": elevenlabs_double.url}
    )
    model = registry.build_stt(config, None, KEYS)
    assert model is not None
    pcm = tone(0.5, 16000)

    async with model.stream() as stream:
        heard = asyncio.ensure_future(_first_final(stream))
        async with asyncio.timeout(10):
            while not heard.done():
                stream.push_frame(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))
                stream.flush()
                await asyncio.wait({heard}, timeout=0.1)
        assert heard.result() == "hello there"
    await registry.close(model)
    assert len(elevenlabs_double.calls) == 2


async def _first_final(stream: stt.RecognizeStream) -> str:
    async for event in stream:
        if event.type == "final_transcript":
            return event.alternatives[0].text
    return ""


async def test_streaming_ears_in_trouble_are_replaced(
    elevenlabs_double: ElevenLabsDouble, openai_double: OpenAIDouble
) -> None:
    """A recognizer that refuses the connection is followed by the next one in the same call."""
    elevenlabs_double.trouble["/speech-to-text/realtime"] = [Trouble(status=500)] * 50
    config = session(
        "stt",
        {
            "provider": "elevenlabs",
            "model": "scribe_v2_realtime",
            "base_url": elevenlabs_double.url,
            "fallback": [
                {"provider": "offline", "options": {"phrases": ["transfer me to sales", "goodbye"]}}
            ],
        },
    )
    model = registry.build_stt(config, None, KEYS)
    assert model is not None
    speech = await EspeakTTS(voice="en-us+klatt4").synthesize("transfer me to sales").collect()
    silence = rtc.AudioFrame(bytes(2 * speech.sample_rate), speech.sample_rate, 1, speech.sample_rate)
    async with model.stream() as stream:
        heard = asyncio.ensure_future(_first_final(stream))
        async with asyncio.timeout(15):
            while not heard.done():
                stream.push_frame(speech)
                stream.push_frame(silence)
                await asyncio.wait({heard}, timeout=0.5)
        assert heard.result() == "transfer me to sales"
    await registry.close(model)


async def test_when_every_voice_fails_the_error_is_told_once(
    openai_double: OpenAIDouble, elevenlabs_double: ElevenLabsDouble
) -> None:
    """One pass over the list, then one unrecoverable error, also through the gain."""
    elevenlabs_double.trouble["/multi-stream-input"] = [Trouble(status=401)] * 10
    openai_double.trouble["/audio/speech"] = [Trouble(status=401)] * 10
    config = session(
        "tts",
        {**_elevenlabs(elevenlabs_double), "fallback": [_openai(openai_double)]},
        voice_tuning={"loudness": 0.5},
    )
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    errors: list[tts.TTSError] = []
    voice.on("error", errors.append)
    with pytest.raises(APIError, match="all TTSs failed"):
        await spoken(voice, SENTENCE)
    await registry.close(voice)
    assert [error.recoverable for error in errors] == [False]
