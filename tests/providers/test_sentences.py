"""The runtime's own sentences, and the last one that a caller hears."""

from __future__ import annotations

import numpy as np
import pytest
from livekit import rtc

from agent.providers import last_resort, sentences
from agent.providers.capability import Provider
from config_store.levels import recovery_phrase
from config_store.schema import SessionConfig
from config_store.templates import rendered
from tests.doubles.audio import dbfs


def test_every_language_has_every_sentence() -> None:
    """No language lacks an occasion, and each that has these sentences has its recovery phrase too."""
    for language, row in sentences.languages().items():
        assert set(row) == {"name", "idle", "warning", "goodbye", "trouble"}
        assert all(row.values())
        assert language == "en" or recovery_phrase(language) != recovery_phrase("en")


@pytest.mark.parametrize(
    ("language", "words"),
    [("hi-IN", "क्या आप अभी भी वहाँ हैं?"), ("en-IN", "Are you still there?"), ("xx", "Are you still there?")],
)
def test_the_language_of_the_session_counts(language: str, words: str) -> None:
    """The primary language chooses the sentence; an unknown one speaks English."""
    assert sentences.sentence("idle", language) == words


@pytest.mark.parametrize(("language", "words"), [("hi-IN", "Hindi (hi-IN)"), ("xx-YY", "tag xx-YY")])
def test_a_language_model_is_told_the_language(language: str, words: str) -> None:
    """The instruction names the language, by its tag if need be."""
    assert words in sentences.language_instruction(language)


def test_a_bundle_without_words_of_its_own_has_those_of_its_language() -> None:
    """Idle prompt, warning and goodbye are Hindi in a Hindi session; a bundle's own words win."""
    warnings = [
        {"before_seconds": 9},
        {"before_seconds": 8, "tell_agent": True},
        {"before_seconds": 7, "say": ""},
    ]
    given = {"target_language": "hi-IN", "idle_prompts": [{"after_seconds": 5}], "goodbye": True}
    config = SessionConfig.model_validate({**given, "max_duration_warnings": warnings})
    assert sentences.idle_words(config, config.idle_prompts[0]) == "क्या आप अभी भी वहाँ हैं?"
    said = [sentences.warning_words(config, warning) for warning in config.max_duration_warnings]
    assert said == ["हमारे पास थोड़ा ही समय बचा है।", "", ""]
    assert sentences.goodbye_words(config) == "धन्यवाद, नमस्ते।"
    assert sentences.goodbye_words(SessionConfig(goodbye="Bye.")) == "Bye."
    assert sentences.goodbye_words(SessionConfig()) == ""


async def _last(**fields: object) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    config = SessionConfig.model_validate(fields)
    whole = rtc.combine_audio_frames([frame async for frame in last_resort.last_words(config)])
    assert whole.duration > 0.5
    return np.frombuffer(whole.data, np.int16)


async def test_the_last_words_are_spoken_in_the_session_s_language() -> None:
    """Hindi and English differ, and both are heard."""
    hindi, english = await _last(target_language="hi-IN"), await _last(target_language="en-IN")
    assert len(hindi) != len(english)
    assert dbfs(hindi) > -40
    assert dbfs(english) > -40


async def test_the_last_words_of_a_bundle_are_its_own() -> None:
    """`last_words` is spoken in place of the built-in sentence, its variables filled in."""
    config = SessionConfig(last_words="Please call {{company}}.")
    filled = rendered(config, {"company": "Acme"})
    assert last_resort.last_sentence(filled).startswith("Please call Acme.")
    own = rtc.combine_audio_frames([frame async for frame in last_resort.last_words(filled)])
    built_in = rtc.combine_audio_frames([frame async for frame in last_resort.last_words(SessionConfig())])
    assert 0.5 < own.duration < 0.7 * built_in.duration


async def test_without_the_offline_voice_tones_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra installed: three tones, which is better than silence."""
    monkeypatch.setattr(Provider, "installed", property(lambda _: False))
    samples = await _last()
    assert dbfs(samples) > -30
    assert np.abs(samples).max() < 32767


async def test_the_last_words_keep_the_session_s_loudness() -> None:
    """Half the loudness is 6 dB less."""
    plain, soft = await _last(), await _last(voice_tuning={"loudness": 0.5})
    assert dbfs(soft) - dbfs(plain) == pytest.approx(-6.02, abs=0.5)
