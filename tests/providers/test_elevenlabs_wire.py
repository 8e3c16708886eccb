"""What the real ElevenLabs plugin sends for a configuration."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import rtc

from agent.providers import registry
from tests.doubles.audio import dbfs, tone
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.server import Call
from tests.providers.configs import KEYS, session, spoken

FLASH = "eleven_flash_v2_5"


async def _say(double: ElevenLabsDouble, model: str = FLASH, **fields: Any) -> tuple[Call, float, float]:
    config = session("tts", {"provider": "elevenlabs", "model": model, "base_url": double.url}, **fields)
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    samples, rate = await spoken(voice, "We are open from nine to five on weekdays.")
    await registry.close(voice)
    return double.of("/multi-stream-input")[-1], len(samples) / rate, dbfs(samples)


async def test_voice_and_every_setting_reach_the_socket(elevenlabs_double: ElevenLabsDouble) -> None:
    """Key, voice, model, language and all five settings stand on the wire."""
    call, _, _ = await _say(
        elevenlabs_double,
        voice_id="VOICE1",
        target_language="hi-IN",
        voice_tuning={
            "pace": 1.1,
            "stability": 0.4,
            "similarity_boost": 0.8,
            "style": 0.2,
            "use_speaker_boost": False,
        },
    )
    assert call.key == "test-key"
    assert call.path == "/v1/text-to-speech/VOICE1/multi-stream-input"
    assert (call.query["model_id"], call.query["language_code"]) == (FLASH, "hi")
    assert call.sent[0]["voice_settings"] == {
        "stability": 0.4,
        "similarity_boost": 0.8,
        "style": 0.2,
        "speed": 1.1,
        "use_speaker_boost": False,
    }


async def test_partial_settings_are_completed(elevenlabs_double: ElevenLabsDouble) -> None:
    """One knob in a bundle becomes a complete set, the rest being the API's defaults."""
    call, _, _ = await _say(elevenlabs_double, voice_tuning={"pace": 0.9})
    assert call.sent[0]["voice_settings"] == {
        "stability": 0.5,
        "similarity_boost": 0.75,
        "style": 0.0,
        "speed": 0.9,
        "use_speaker_boost": True,
    }


async def test_no_tuning_leaves_the_settings_saved_with_the_voice(
    elevenlabs_double: ElevenLabsDouble,
) -> None:
    """Without tuning no setting is sent."""
    call, _, _ = await _say(elevenlabs_double)
    assert call.sent[0]["voice_settings"] == {}


async def test_speed_is_clamped_to_what_elevenlabs_takes(elevenlabs_double: ElevenLabsDouble) -> None:
    """Pace 2 goes out as 1.2, and a verdict says what happened."""
    call, _, _ = await _say(elevenlabs_double, voice_tuning={"pace": 2.0})
    assert call.sent[0]["voice_settings"]["speed"] == 1.2
    config = session("tts", {"provider": "elevenlabs", "model": FLASH}, voice_tuning={"pace": 2.0})
    (verdict,) = registry.tuning_verdicts(config)
    assert (verdict.verdict, verdict.asked, verdict.applied) == ("clamped", 2.0, 1.2)


async def test_pace_changes_the_length_of_the_audio(elevenlabs_double: ElevenLabsDouble) -> None:
    """0.7 against 1.2 is heard in the audio that comes out of the plugin."""
    _, slow, _ = await _say(elevenlabs_double, voice_tuning={"pace": 0.7})
    _, fast, _ = await _say(elevenlabs_double, voice_tuning={"pace": 1.2})
    assert slow / fast == pytest.approx(1.2 / 0.7, rel=0.1)


async def test_v3_gets_stability_alone_and_in_three_steps(elevenlabs_double: ElevenLabsDouble) -> None:
    """Only stability goes to v3, as the nearest of its three values; verdicts say the rest."""
    tuning = {"stability": 0.4, "pace": 1.1, "style": 0.3}
    call, _, _ = await _say(elevenlabs_double, "eleven_v3", voice_id="V", voice_tuning=tuning)
    assert call.path == "/v1/text-to-dialogue/multi-stream-input"
    assert call.sent[0]["voices"] == ["V"]
    assert call.sent[0]["voice_settings"] == {"stability": 0.5}
    config = session("tts", {"provider": "elevenlabs", "model": "eleven_v3"}, voice_tuning=tuning)
    found = {verdict.path: verdict.verdict for verdict in registry.tuning_verdicts(config)}
    assert found == {
        "voice_tuning.stability": "clamped",
        "voice_tuning.pace": "unsupported",
        "voice_tuning.style": "unsupported",
    }


async def test_older_models_get_no_language(elevenlabs_double: ElevenLabsDouble) -> None:
    """eleven_multilingual_v2 refuses a language code, so it gets none."""
    call, _, _ = await _say(elevenlabs_double, "eleven_multilingual_v2", target_language="hi-IN")
    assert "language_code" not in call.query


async def test_loudness_is_heard_though_no_field_has_it(elevenlabs_double: ElevenLabsDouble) -> None:
    """Loudness 0.5 is 6 dB less in the audio, with the same request on the wire."""
    plain_call, _, plain = await _say(elevenlabs_double)
    soft_call, _, soft = await _say(elevenlabs_double, voice_tuning={"loudness": 0.5})
    assert soft - plain == pytest.approx(-6.02, abs=0.3)
    assert soft_call.sent[0]["voice_settings"] == plain_call.sent[0]["voice_settings"]


async def test_scribe_gets_key_model_and_language(elevenlabs_double: ElevenLabsDouble) -> None:
    """Realtime recognition carries key, model and language, and its words come back."""
    config = session(
        "stt",
        {"provider": "elevenlabs", "model": "scribe_v2_realtime", "base_url": elevenlabs_double.url},
        target_language="hi-IN",
    )
    model = registry.build_stt(config, None, KEYS)
    assert model is not None
    async with model.stream() as stream:
        pcm = tone(0.5, 16000)
        stream.push_frame(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))
        stream.flush()
        finals = (event async for event in stream if event.type == "final_transcript")
        event = await anext(finals)
    await registry.close(model)
    assert event.alternatives[0].text == "hello there"
    call = elevenlabs_double.of("/speech-to-text/realtime")[0]
    assert call.key == "test-key"
    assert (call.query["model_id"], call.query["language_code"]) == ("scribe_v2_realtime", "hi")
