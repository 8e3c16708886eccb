"""Offline speech recognition, on speech of the offline voice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from agent.providers import registry
from agent.providers.offline import decoder, sphinx
from agent.providers.offline.espeak import EspeakTTS
from agent.providers.offline.phrases import unknown_words
from tests.providers.configs import session

PHRASES = [
    "What are your opening hours?",
    "transfer me to sales",
    "goodbye",
    "I would like to order a pizza",
]


async def _heard(phrase: str, **options: Any) -> str:
    config = session("stt", {"provider": "offline", "options": {"phrases": PHRASES, **options}})
    model = registry.build_stt(config, None, {})
    assert model is not None
    frame = await EspeakTTS(voice="en-us+klatt4").synthesize(phrase).collect()
    event = await model.recognize(frame)
    await registry.close(model)
    return event.alternatives[0].text if event.alternatives else ""


@pytest.mark.parametrize("phrase", PHRASES)
async def test_a_phrase_of_the_list_is_heard_as_it_is_written(phrase: str) -> None:
    """Speech of a listed phrase gives it back in the list's own spelling."""
    assert await _heard(phrase) == phrase


async def test_words_can_be_taught() -> None:
    """A word outside the dictionary is heard once its phones are given."""
    extra = {"phrases": [*PHRASES, "call zorblatt now"], "pronunciations": {"zorblatt": "Z AO R B L AE T"}}
    assert await _heard("call zorblatt now", **extra) == "call zorblatt now"


def test_words_outside_the_dictionary_are_named() -> None:
    """An unknown word is refused when the model is built, by name, with what to do."""
    config = session("stt", {"provider": "offline", "options": {"phrases": ["call zorblatt", "gate 9"]}})
    with pytest.raises(registry.ProviderError, match=r"options\.phrases: .*: zorblatt, 9; write numbers"):
        registry.build_stt(config, None, {})


def test_the_waiting_decoder_knows_what_its_dictionary_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call asks the decoder made before the fork which words it can hear; the file says the same."""
    phrases, phones = ["call zorblatt", "gate 9", "it's fine"], {"Zorblatt": "Z AO R B L AE T"}
    monkeypatch.setattr(decoder, "_spare", [])
    from_file = unknown_words(phrases, {}), unknown_words(phrases, phones)
    decoder.preload()
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    from_decoder = unknown_words(phrases, {}), unknown_words(phrases, phones)
    assert from_decoder == from_file == (["zorblatt", "9"], ["9"])


def test_a_list_is_needed() -> None:
    """Without phrases there is nothing to listen for, and the message says so."""
    with pytest.raises(registry.ProviderError, match=r"options\.phrases: is missing"):
        registry.build_stt(session("stt", {"provider": "offline"}), None, {})


async def test_building_and_preloading_start_no_thread() -> None:
    """A process may preload and build before it forks."""
    before = threading.active_count()
    decoder.preload()
    sphinx.SphinxSTT(phrases=PHRASES)
    assert threading.active_count() == before
