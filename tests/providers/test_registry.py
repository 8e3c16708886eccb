"""The registry: keys, what is refused, who inherits, who closes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agent.providers import capability, registry
from config_store.schema import SessionConfig
from tests.providers.configs import KEYS, session


class _Settings:
    modules = ("my_tools",)


def test_the_catalog_tells_what_is_installed_and_needed() -> None:
    """Providers, the extra that installs them, their keys and the worker's modules stand in the catalog."""
    known = registry.catalog(_Settings(), {"OPENAI_API_KEY": "k"})
    assert set(known.providers) == {"openai", "elevenlabs", "offline", "sarvam", "anthropic"}
    assert known.providers["openai"].kinds == {"stt", "llm", "tts", "realtime"}
    assert known.providers["elevenlabs"].key_env == "ELEVEN_API_KEY"
    assert known.providers["offline"].installed
    assert (known.providers["offline"].key_env, known.providers["offline"].extra) == (None, "offline")
    assert known.providers["sarvam"].extra == "sarvam"
    assert known.is_set("OPENAI_API_KEY")
    assert not known.is_set("ELEVEN_API_KEY")
    assert "my_tools" in known.modules


def test_checking_bundles_imports_no_livekit() -> None:
    """The registry and its catalog come without livekit, which takes seconds to import."""
    code = "import sys, agent.providers.registry; sys.exit('livekit.agents' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "model", "words"),
    [
        ("llm", {"provider": "openai", "model": "gpt-4.1"}, "openai needs a key: set OPENAI_API_KEY"),
        (
            "llm",
            {"provider": "openai", "model": "gpt-4.1", "api_key_env": "ACME_KEY"},
            "openai needs a key: set ACME_KEY",
        ),
        (
            "tts",
            {"provider": "elevenlabs", "model": "eleven_v3"},
            "elevenlabs needs a key: set ELEVEN_API_KEY",
        ),
    ],
)
def test_a_missing_key_names_its_variable(kind: str, model: dict[str, Any], words: str) -> None:
    """Without its key a model is refused; another organization's key is no substitute."""
    keys = {"OPENAI_API_KEY": "somebody's"} if "api_key_env" in model else {}
    with pytest.raises(registry.ProviderError, match=words):
        getattr(registry, f"build_{kind}")(session(kind, model), None, keys)


@pytest.mark.parametrize(
    ("kind", "model", "words"),
    [
        ("llm", {"provider": "nobody", "model": "x"}, "no provider 'nobody'; there are openai"),
        ("llm", {"provider": "elevenlabs", "model": "x"}, "elevenlabs has no llm; it has tts, stt"),
        ("llm", {"provider": "openai"}, "openai llm needs a model, such as gpt-4.1"),
        ("tts", {"plugin": "livekit.plugins.nothere"}, "livekit.plugins.nothere is not installed"),
        (
            "llm",
            {"provider": "openai", "model": "x", "options": {"api_key": "sk-1"}},
            r"models\.llm\.options\.api_key: cannot be set here: a key never stands in a bundle",
        ),
        (
            "tts",
            {"provider": "openai", "model": "tts-1", "options": {"speed": 2}},
            r"options\.speed: cannot be set here: use voice_tuning\.pace",
        ),
        (
            "tts",
            {"provider": "elevenlabs", "model": "eleven_v3", "options": {"auto_mod": True}},
            r"options\.auto_mod: unknown option, .*; did you mean auto_mode",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(kind: str, model: dict[str, Any], words: str) -> None:
    """Unknown, missing and forbidden things are one clear line each, and no key is in it."""
    with pytest.raises(registry.ProviderError, match=words) as caught:
        getattr(registry, f"build_{kind}")(session(kind, model), None, KEYS)
    assert "\n" not in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of an extra its provider is refused with what to install."""
    monkeypatch.setattr(capability, "_found", lambda package: "sarvam" not in package)
    with pytest.raises(registry.ProviderError, match=r"install livekit-agent-runtime\[sarvam\]"):
        registry.build_tts(session("tts", {"provider": "sarvam", "model": "bulbul:v2"}), None, KEYS)
    assert not registry.catalog(_Settings(), KEYS).providers["sarvam"].installed


@pytest.mark.parametrize(
    ("plugin", "there"),
    [("livekit.plugins.openai", True), ("livekit.plugins.no_such", False), ("no.such", False)],
)
def test_a_plugin_that_is_not_installed_is_known_when_bundles_are_checked(plugin: str, there: bool) -> None:
    """What every call would fail for is told of before, without importing the plugin."""
    is_installed = registry.catalog(_Settings(), KEYS, to_check=True).is_installed
    assert is_installed is not None
    assert is_installed(plugin) is there


async def test_a_plugin_without_a_module_of_ours_is_built_from_its_signature() -> None:
    """`plugin:` with a livekit plugin: fields go to the arguments that mean them, options to the rest."""
    config = session(
        "tts",
        {
            "plugin": "livekit.plugins.elevenlabs",
            "model": "eleven_flash_v2_5",
            "api_key_env": "MY_KEY",
            "options": {"auto_mode": False},
        },
        voice_id="V1",
        voice_tuning={"loudness": 0.5, "pace": 1.1},
    )
    voice = registry.build_tts(config, None, {"MY_KEY": "k"})
    assert voice is not None
    assert (voice.model, voice.provider) == ("eleven_flash_v2_5", "ElevenLabs")
    (verdict,) = registry.tuning_verdicts(config)
    assert (verdict.path, verdict.verdict) == ("voice_tuning.pace", "unsupported")
    await registry.close(voice)


def _two_agents(**second: Any) -> SessionConfig:
    return SessionConfig.model_validate(
        {
            "models": {"tts": {"provider": "offline"}, "llm": {"provider": "offline"}},
            "voice_id": "en-us",
            "agents": {"a": {"instructions": "x"}, "b": {"instructions": "y", **second}},
        }
    )


@pytest.mark.parametrize(
    ("second", "kinds"),
    [
        ({}, set()),
        ({"voice_id": "en-gb"}, {"tts"}),
        ({"voice_tuning": {"pace": 1.5}}, {"tts"}),
        ({"models": {"llm": {"provider": "openai", "model": "gpt-4.1"}}}, {"llm"}),
    ],
)
def test_an_agent_needs_models_of_its_own_only_where_it_differs(
    second: dict[str, Any], kinds: set[str]
) -> None:
    """Agents share the session's models unless model, voice or tuning is another one."""
    assert registry.own_kinds(_two_agents(**second), "b") == kinds
    assert registry.own_kinds(_two_agents(**second), "a") == set()


async def test_every_build_is_a_new_object() -> None:
    """Two sessions never share a model."""
    config = _two_agents()
    first, second = (registry.build_tts(config, None, {}) for _ in range(2))
    assert first is not second
    await registry.close(first, second, None)


async def test_close_goes_on_after_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Each model is closed once, and one that cannot be closed does not keep the others open."""
    closed: list[str] = []

    class Model:
        def __init__(self, name: str, fails: bool = False) -> None:
            self.name, self.fails = name, fails

        async def aclose(self) -> None:
            closed.append(self.name)
            if self.fails:
                raise RuntimeError("secret words")

    bad, good = Model("bad", fails=True), Model("good")
    await registry.close(bad, good, None, good)
    assert closed == ["bad", "good"]
    assert "secret words" not in caplog.text


def test_the_same_wish_of_session_and_agent_is_said_once() -> None:
    """An agent that inherits the session's tuning adds no second verdict; its own wish gets its own place."""
    config = SessionConfig.model_validate(
        {
            "models": {"tts": {"provider": "openai", "model": "tts-1"}},
            "voice_tuning": {"pitch": 0.5},
            "agents": {
                "a": {"instructions": "x"},
                "b": {"instructions": "y", "voice_tuning": {"style": 0.5}},
            },
        }
    )
    assert [verdict.path for verdict in registry.tuning_verdicts(config)] == [
        "voice_tuning.pitch",
        "agents.b.voice_tuning.style",
    ]


def test_a_map_of_voices_without_the_provider_is_said() -> None:
    """A provider without an entry speaks with its default voice, and a verdict names it."""
    config = session("tts", {"provider": "openai", "model": "tts-1"}, voice_id={"elevenlabs": "V1"})
    (verdict,) = registry.tuning_verdicts(config)
    assert (verdict.path, verdict.verdict) == ("voice_id", "unsupported")
    assert "no voice for openai; its default voice speaks, ash" in verdict.reason


def test_providers_used_names_fallbacks_and_plugins() -> None:
    """What has to be imported before the fork: every provider a session may come to use."""
    config = SessionConfig.model_validate(
        {
            "models": {
                "tts": {"provider": "openai", "model": "x", "fallback": [{"provider": "offline"}]},
                "stt": {"plugin": "livekit.plugins.deepgram"},
            },
            "agents": {
                "a": {"instructions": "x", "models": {"llm": {"provider": "elevenlabs", "model": "y"}}}
            },
        }
    )
    assert registry.providers_used(config) == {"openai", "offline", "livekit.plugins.deepgram", "elevenlabs"}


def test_prewarm_passes_over_what_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown or missing provider does not keep a worker from starting; its models are refused later."""
    registry.prewarm(["offline", "nobody", "livekit.plugins.nothere"])
    assert not caplog.records
