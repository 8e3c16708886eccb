"""Changes in a live call reach the models that are there: the next utterance is the new one."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import rtc

from agent.providers import registry
from agent.providers.live import apply, apply_voice, not_taken
from agent.providers.loudness import LoudTTS
from agent.providers.offline.espeak import EspeakTTS
from config_store.schema import SessionConfig
from tests.doubles.audio import dbfs, tone
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble
from tests.providers.configs import KEYS, session, spoken

SENTENCE = "We are open from nine to five on weekdays."


def _pair(
    kind: str, model: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> list[SessionConfig]:
    return [session(kind, model, **fields) for fields in (before, after)]


async def test_elevenlabs_takes_voice_settings_and_language(elevenlabs_double: ElevenLabsDouble) -> None:
    """The next utterance has the new voice, settings and language; taking a tuning back restores defaults."""
    model = {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "base_url": elevenlabs_double.url}
    old, new = _pair(
        "tts",
        model,
        {"voice_id": "V1", "voice_tuning": {"pace": 1.1}},
        {"voice_id": "V2", "voice_tuning": {"stability": 0.9}, "target_language": "hi-IN"},
    )
    voice = registry.build_tts(old, None, KEYS)
    assert voice is not None
    await spoken(voice, SENTENCE)
    same, applied = apply_voice(voice, old, new, None)
    assert (same, applied) == (voice, True)
    await spoken(voice, SENTENCE)
    await registry.close(voice)
    call = elevenlabs_double.of("/multi-stream-input")[-1]
    assert call.path == "/v1/text-to-speech/V2/multi-stream-input"
    assert call.query["language_code"] == "hi"
    assert call.sent[0]["voice_settings"]["stability"] == 0.9
    assert call.sent[0]["voice_settings"]["speed"] == 1.0


async def test_nothing_changed_keeps_the_connection(elevenlabs_double: ElevenLabsDouble) -> None:
    """An override of something else does not make ElevenLabs open another socket."""
    model = {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "base_url": elevenlabs_double.url}
    old, new = _pair(
        "tts", model, {"voice_tuning": {"pace": 1.1}}, {"voice_tuning": {"pace": 1.1}, "goodbye": "x"}
    )
    voice = registry.build_tts(old, None, KEYS)
    assert voice is not None
    await spoken(voice, SENTENCE)
    apply_voice(voice, old, new, None)
    await spoken(voice, SENTENCE)
    await registry.close(voice)
    assert len(elevenlabs_double.calls) == 1


async def test_openai_takes_voice_speed_and_instructions(openai_double: OpenAIDouble) -> None:
    """The next request carries the new values."""
    model = {"provider": "openai", "model": "gpt-4o-mini-tts", "base_url": openai_double.url}
    old, new = _pair(
        "tts",
        model,
        {"voice_tuning": {"instructions": "Loudly."}},
        {"voice_id": "coral", "voice_tuning": {"pace": 1.5}},
    )
    voice = registry.build_tts(old, None, KEYS)
    assert voice is not None
    await spoken(voice, SENTENCE)
    apply_voice(voice, old, new, None)
    await spoken(voice, SENTENCE)
    await registry.close(voice)
    first, second = (call.body for call in openai_double.of("/audio/speech"))
    assert first["instructions"] == "Loudly."
    assert "instructions" not in second
    assert (second["voice"], second["speed"]) == ("coral", 1.5)


async def test_language_reaches_openai_s_ears(openai_double: OpenAIDouble) -> None:
    """The next turn is heard in the new language."""
    model = {"provider": "openai", "model": "whisper-1", "base_url": openai_double.url}
    old, new = _pair("stt", model, {"target_language": "en-IN"}, {"target_language": "hi-IN"})
    ears = registry.build_stt(old, None, KEYS)
    assert ears is not None
    assert apply("stt", ears, old, new, None)
    pcm = tone(0.5, 16000)
    await ears.recognize(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))
    await registry.close(ears)
    assert openai_double.of("/audio/transcriptions")[0].body["language"] == "hi"


async def test_the_offline_voice_takes_pace_and_loudness() -> None:
    """Length and level of the next utterance change; the first loudness puts a gain before the voice."""
    old, new = _pair("tts", {"provider": "offline"}, {}, {"voice_tuning": {"pace": 2.0, "loudness": 0.5}})
    voice = registry.build_tts(old, None, {})
    assert voice is not None
    before, _ = await spoken(voice, SENTENCE)
    voice, applied = apply_voice(voice, old, new, None)
    assert applied
    assert isinstance(voice, LoudTTS)
    after, _ = await spoken(voice, SENTENCE)
    assert len(before) / len(after) == pytest.approx(2.0, rel=0.1)
    assert dbfs(after) - dbfs(before) == pytest.approx(-6.0, abs=1.0)
    voice, _ = apply_voice(voice, new, old, None)
    again, _ = await spoken(voice, SENTENCE)
    assert dbfs(again) == pytest.approx(dbfs(before), abs=0.3)
    await registry.close(voice)


async def test_every_member_of_a_fallback_list_is_changed(openai_double: OpenAIDouble) -> None:
    """A voice that comes in later speaks as the change said, too."""
    model = {
        "provider": "offline",
        "fallback": [{"provider": "openai", "model": "tts-1", "base_url": openai_double.url}],
    }
    old, new = _pair("tts", model, {}, {"voice_tuning": {"pace": 1.5}, "voice_id": {"openai": "nova"}})
    voice = registry.build_tts(old, None, KEYS)
    assert voice is not None
    assert apply_voice(voice, old, new, None) == (voice, True)
    members = voice.members  # type: ignore[attr-defined]
    await spoken(members[1], SENTENCE)
    await registry.close(voice)
    body = openai_double.of("/audio/speech")[0].body
    assert (body["voice"], body["speed"]) == ("nova", 1.5)


def test_another_model_is_not_a_live_change() -> None:
    """Provider and model wait for the next session, and the answer says so."""
    old = session("tts", {"provider": "openai", "model": "tts-1"})
    new = session("tts", {"provider": "openai", "model": "gpt-4o-mini-tts"})
    assert apply("tts", object(), old, new, None) is False


def test_what_a_voice_cannot_take_up_is_known_before() -> None:
    """A realtime model's voice is locked and its speed is not; the offline voice takes all."""
    before = {"voice_id": "ash", "voice_tuning": {"pace": 1.0}}
    after = {"voice_id": "coral", "voice_tuning": {"pace": 1.4, "loudness": 2.0}}
    locked = _pair("realtime", {"provider": "openai", "model": "gpt-realtime"}, before, after)
    assert not_taken(*locked, None) == {"voice"}
    free = _pair("tts", {"provider": "offline"}, {"voice_id": "en-us"}, {"voice_id": "en-us+f3"})
    assert not_taken(*free, None) == frozenset()


async def test_a_voice_that_is_none_makes_the_default_speak() -> None:
    """The offline voice goes back to the one of the language, and an unknown variant counts as unknown."""
    before = {"voice_id": "en-us+f3", "target_language": "hi-IN"}
    for wrong in ("zz-nope", "en-us+nope"):
        old, new = _pair("tts", {"provider": "offline"}, before, {**before, "voice_id": wrong})
        voice = registry.build_tts(old, None, KEYS)
        assert isinstance(voice, EspeakTTS)
        assert not_taken(old, new, None) == frozenset()
        assert apply("tts", voice, old, new, None)
        assert voice.voice.name == "hi"
        await registry.close(voice)


def test_the_default_by_its_name_is_no_change() -> None:
    """A realtime model that speaks with its default already cannot be said to lack that voice."""
    model = {"provider": "openai", "model": "gpt-realtime"}
    assert not_taken(*_pair("realtime", model, {}, {"voice_id": "marin"}), None) == frozenset()
    assert not_taken(*_pair("realtime", model, {}, {"voice_id": "ash"}), None) == {"voice"}
