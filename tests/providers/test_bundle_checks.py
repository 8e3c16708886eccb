"""What checking a bundle says about options and voices, through the catalog that the registry fills."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agent.providers import registry
from config_store.model_checks import check_models
from tests.providers.configs import KEYS, session


class _Settings:
    modules = ()


def _findings(kind: str, model: dict[str, Any], **fields: Any) -> dict[str, str]:
    config = session(kind, model, modality_profile="text_only", **fields)
    found = check_models(config, registry.catalog(_Settings(), KEYS))
    return {".".join(map(str, finding.path)): finding.message for finding in found}


@pytest.mark.parametrize(
    ("kind", "model", "path", "words"),
    [
        (
            "llm",
            {
                "provider": "offline",
                "options": {"rules": [{"when": "a", "say": "b"}, {"when": "(", "say": "c"}]},
            },
            "models.llm.options.rules.1.when",
            "is not a regular expression",
        ),
        (
            "stt",
            {"provider": "offline", "options": {"phrases": ["call zorblatt"]}},
            "models.stt.options.phrases",
            "zorblatt",
        ),
        (
            "tts",
            {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "options": {"auto_mod": True}},
            "models.tts.options.auto_mod",
            "did you mean auto_mode",
        ),
        (
            "llm",
            {"provider": "openai", "model": "gpt-4.1", "options": {"api_key": "sk-1"}},
            "models.llm.options.api_key",
            "api_key_env",
        ),
        (
            "tts",
            {"plugin": "livekit.plugins.elevenlabs", "options": {"voice_id": "x"}},
            "models.tts.options.voice_id",
            "use voice_id",
        ),
    ],
)
def test_a_wrong_option_is_found_at_its_place(
    kind: str, model: dict[str, Any], path: str, words: str
) -> None:
    """Options are checked against what the plugin's constructor takes, before any call."""
    assert words in _findings(kind, model)[path]


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("llm", {"provider": "openai", "model": "gpt-4.1", "options": {"reasoning_effort": "low"}}),
        ("stt", {"provider": "openai", "model": "gpt-4o-mini-transcribe", "options": {"prompt": "x"}}),
        ("tts", {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "options": {"auto_mode": False}}),
        ("llm", {"plugin": "livekit.plugins.nothere", "model": "x", "options": {"anything": 1}}),
    ],
)
def test_right_options_have_no_finding(kind: str, model: dict[str, Any]) -> None:
    """What a constructor takes is accepted; what is not installed is said elsewhere."""
    assert not [path for path in _findings(kind, model) if "options" in path]


@pytest.mark.parametrize(
    ("model", "voice", "path", "words"),
    [
        ({"provider": "offline"}, "en-uss", "voice_id", "did you mean 'en-us'"),
        ({"provider": "offline"}, {"offline": "en-us+f33"}, "voice_id.offline", "did you mean 'f3'"),
        ({"provider": "openai", "model": "tts-1"}, "Rachel", "voice_id", "it has alloy"),
    ],
)
def test_a_wrong_voice_is_found(model: dict[str, Any], voice: Any, path: str, words: str) -> None:
    """Voices that are closed are checked with the bundle, not in the first call."""
    assert words in _findings("tts", model, voice_id=voice)[path]


def test_a_compatible_server_has_voices_of_its_own() -> None:
    """With `base_url` nobody here knows the voices, so any name passes."""
    model = {"provider": "openai", "model": "kokoro", "base_url": "http://127.0.0.1:1/v1"}
    assert not [path for path in _findings("tts", model, voice_id="af_bella") if "voice" in path]


def test_a_plugin_that_is_not_loaded_can_be_asked_from_a_thread() -> None:
    """An edited bundle is checked in a thread of the worker, where plugins refuse to be imported."""
    code = (
        "import sys, threading\n"
        "from agent.providers.registry import problems_of_options\n"
        "from config_store.schema import ModelConfig\n"
        "model = ModelConfig(provider='elevenlabs', model='m', options={'auto_mod': True})\n"
        "found = []\n"
        "thread = threading.Thread(target=lambda: found.append(problems_of_options('tts', model)))\n"
        "thread.start(); thread.join()\n"
        "sys.exit(0 if 'did you mean auto_mode' in str(found) else str(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


RULES = [
    {"when": "a", "handoff": "expert"},
    {"when": "b", "handoff": "exprt"},
    {"when": "c", "call": "find"},
    {"when": "d", "call": "finds"},
    {"when": "e", "call": "end_call"},
    {"when": "f", "end": True},
]
AGENTS: dict[str, Any] = {
    "desk": {"instructions": "x", "handoffs": ["expert"], "tools": ["agent.demo.tools:find"]},
    "expert": {"instructions": "x"},
}


def test_rules_that_no_agent_can_follow_are_problems() -> None:
    """A handover or a tool that none of the agents has is said at the rule; `end` needs no tool."""
    found = _findings("llm", {"provider": "offline", "options": {"rules": RULES}}, agents=AGENTS)

    assert found == {
        "models.llm.options.rules.1.handoff": "models.llm.options: no agent that answers by this rule hands "
        "over to 'exprt'; did you mean 'expert'?",
        "models.llm.options.rules.3.call": "models.llm.options: no agent that answers by this rule has the "
        "tool 'finds'; did you mean 'find'?",
        "models.llm.options.rules.4.call": "models.llm.options: no agent that answers by this rule has the "
        "tool 'end_call' (has: find)",
    }


def test_rules_of_one_agent_are_checked_against_that_agent() -> None:
    """An agent with rules of its own has to have what they name; nothing is said where nobody can know."""
    model = {"provider": "offline", "options": {"rules": RULES[:1]}}
    own = {**AGENTS, "expert": {**AGENTS["expert"], "models": {"llm": model}}}
    other = {"provider": "offline", "options": {"rules": [{"when": "a", "say": "b"}]}}

    assert list(_findings("llm", other, agents=own)) == ["agents.expert.models.llm.options.rules.0.handoff"]
    own["expert"]["class"] = "agent.demo.tools:Expert"
    assert _findings("llm", other, agents=own) == {}
    assert _findings("llm", model, agents={}) == {}  # partial: who includes it has the agents
