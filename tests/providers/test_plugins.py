"""Any livekit plugin, from its constructor's signature alone."""

from __future__ import annotations

from typing import Any

import pytest

from agent.providers import registry
from agent.providers.capability import Request, Tuning
from agent.providers.plugin import arguments
from config_store.schema import ModelConfig
from tests.providers.configs import session

FAKE = "tests.providers.fake_plugin"


def _request(**fields: Any) -> Request:
    return Request(ModelConfig(plugin=FAKE, **fields), None, "hi-IN", voice="anna", tuning=Tuning(pace=1.5))


def test_fields_go_to_the_arguments_that_mean_them() -> None:
    """Voice, language and pace find `speaker`, `target_language_code` and `pace`; options go as they are."""
    assert arguments(f"{FAKE}:TTS", _request(model="m2", options={"codec": "wav"})) == {
        "model": "m2",
        "speaker": "anna",
        "target_language_code": "hi-IN",
        "pace": 1.5,
        "codec": "wav",
    }


@pytest.mark.parametrize(
    ("kind", "model", "words"),
    [
        ("llm", {"temperature": 0.5}, "has no argument for temperature; leave it out"),
        ("llm", {"api_key_env": "K"}, "takes no api_key; leave api_key_env out"),
        ("tts", {"options": {"codecs": "x"}}, r"options\.codecs: unknown option, .*did you mean codec"),
        ("tts", {"options": {"speaker": "x"}}, r"options\.speaker: cannot be set here: use voice_id"),
        ("tts", {"options": {"loudness": 2.0}}, r"options\.loudness: .* use voice_tuning\.loudness"),
        ("stt", {}, r"fake_plugin stt cannot be built: no licence$"),
        ("realtime", {}, r"fake_plugin has no realtime\.RealtimeModel"),
    ],
)
def test_what_a_plugin_does_not_take_is_refused(kind: str, model: dict[str, Any], words: str) -> None:
    """A field that the plugin has nothing for is an error, never silence."""
    with pytest.raises(registry.ProviderError, match=words) as caught:
        getattr(registry, f"build_{kind}")(session(kind, {"plugin": FAKE, **model}), None, {"K": "k"})
    assert "\n" not in str(caught.value)
