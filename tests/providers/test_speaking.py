"""Which voice speaks, and what is said of one that does not."""

from typing import Any

import pytest

from agent.providers.capability import ProviderError
from agent.providers.speaking import requests, tuning_verdicts
from config_store.schema import SessionConfig
from tests.providers.configs import session

OFFLINE = {"provider": "offline"}
OPENAI = {"provider": "openai", "model": "gpt-4o-mini-tts"}


def voices(config: SessionConfig, agent: str | None = None) -> list[str | None]:
    """The voice of every member of the list that speaks; None: its provider's default."""
    return [one.voice for one in requests("tts", config, agent, config.models_for(agent).tts, None)]


@pytest.mark.parametrize(
    ("model", "voice", "speaks", "says"),
    [
        (OFFLINE, "en-gb+f3", "en-gb+f3", None),
        (OFFLINE, "zz-nope", None, "not a voice of offline; its default voice speaks, hi"),
        (OFFLINE, {"offline": "en-gb+zz"}, None, "not a voice of offline; its default voice speaks, hi"),
        (OFFLINE, {"openai": "ash"}, None, "no voice for offline; its default voice speaks, hi"),
        (OPENAI, "zz-nope", None, "not a voice of openai; its default voice speaks, ash"),
        ({**OPENAI, "base_url": "http://localhost:1/v1"}, "zz-nope", "zz-nope", None),
    ],
)
def test_a_voice_that_the_provider_lacks_is_its_default(
    model: dict[str, Any], voice: Any, speaks: str | None, says: str | None
) -> None:
    """The verdict names the voice that speaks; what another server's address has nobody here knows."""
    config = session("tts", model, voice_id=voice, target_language="hi-IN")

    assert voices(config) == [speaks]
    assert [(v.path, v.reason) for v in tuning_verdicts(config)] == ([("voice_id", says)] if says else [])


def test_an_agent_s_own_voice_that_is_none_is_said_of_the_agent() -> None:
    """It speaks with the provider's default and not with the session's; who inherits is not said twice."""
    agents = {"own": {"voice_id": "zz-nope"}, "heir": {}}
    config = session("tts", OFFLINE, voice_id="en-gb", agents=agents)
    assert (voices(config), voices(config, "own"), voices(config, "heir")) == (["en-gb"], [None], ["en-gb"])
    assert [verdict.path for verdict in tuning_verdicts(config)] == ["agents.own.voice_id"]

    config = session("tts", OFFLINE, voice_id="zz-nope", agents=agents)
    assert [verdict.path for verdict in tuning_verdicts(config)] == ["voice_id", "agents.own.voice_id"]


def test_a_realtime_model_s_default_is_another_voice() -> None:
    """The same provider has another default there; beside a voice of its own the model only thinks."""
    realtime = {"provider": "openai", "model": "gpt-realtime"}
    alone = session("realtime", realtime, voice_id="zz-nope")
    beside = SessionConfig.model_validate(
        {"models": {"realtime": realtime, "tts": OFFLINE}, "voice_id": "en-us"}
    )

    assert [v.reason for v in tuning_verdicts(alone)] == [
        "not a voice of openai; its default voice speaks, marin"
    ]
    assert tuning_verdicts(beside) == []


def test_every_member_of_a_fallback_list_has_a_voice_it_knows() -> None:
    """One name is the first provider's; the map is for all, each name looked at by its own provider."""
    model = {**OFFLINE, "fallback": [OPENAI]}
    assert voices(session("tts", model, voice_id="en-gb")) == ["en-gb", None]
    assert voices(session("tts", model, voice_id={"offline": "zz", "openai": "coral"})) == [None, "coral"]


def test_a_provider_that_is_none_is_an_error() -> None:
    """A voice has a default; a provider has none."""
    with pytest.raises(ProviderError, match="no provider 'nobody'"):
        voices(session("tts", {"provider": "nobody"}, voice_id="x"))
