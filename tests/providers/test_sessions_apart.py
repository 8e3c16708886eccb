"""Sessions of several organizations at once, and connections that are ready before the first turn."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import llm

from agent.providers import registry
from config_store.schema import SessionConfig
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble
from tests.providers.configs import KEYS, session, spoken

ORGANIZATIONS = {
    "acme": {"key": "key-a", "voice": "V-A", "pace": 0.8, "language": "en-IN", "model": "gpt-4.1"},
    "bolt": {"key": "key-b", "voice": "V-B", "pace": 1.0, "language": "hi-IN", "model": "gpt-4.1-mini"},
    "core": {"key": "key-c", "voice": "V-C", "pace": 1.2, "language": "de-DE", "model": "gpt-4.1-nano"},
}


def _config(name: str, openai: OpenAIDouble, elevenlabs: ElevenLabsDouble) -> SessionConfig:
    facts: dict[str, Any] = ORGANIZATIONS[name]
    env = {"api_key_env": f"{name.upper()}_KEY"}
    return SessionConfig.model_validate(
        {
            "models": {
                "llm": {"provider": "openai", "model": facts["model"], "base_url": openai.url, **env},
                "tts": {
                    "provider": "elevenlabs",
                    "model": "eleven_flash_v2_5",
                    "base_url": elevenlabs.url,
                    **env,
                },
            },
            "voice_id": facts["voice"],
            "voice_tuning": {"pace": facts["pace"]},
            "target_language": facts["language"],
            "agents": {"second": {"instructions": "x", "voice_id": facts["voice"] + "-2"}},
        }
    )


async def test_three_organizations_never_see_each_other(
    openai_double: OpenAIDouble, elevenlabs_double: ElevenLabsDouble
) -> None:
    """Each key comes with its own model, voice, speed and language, also for a second agent, and no other."""
    keys = {f"{name.upper()}_KEY": str(facts["key"]) for name, facts in ORGANIZATIONS.items()}
    openai_double.keys = elevenlabs_double.keys = tuple(keys.values())

    async def talk(name: str) -> None:
        config = _config(name, openai_double, elevenlabs_double)
        mind = registry.build_llm(config, None, keys)
        voices = [registry.build_tts(config, agent, keys) for agent in (None, "second")]
        assert mind is not None
        context = llm.ChatContext.empty()
        context.add_message(role="user", content=f"I am with {name}")
        await mind.chat(chat_ctx=context).collect()
        for voice in voices:
            assert voice is not None
            await spoken(voice, f"Welcome to {name}.")
        await registry.close(mind, *voices)

    await asyncio.gather(*(talk(name) for name in ORGANIZATIONS))
    for name, facts in ORGANIZATIONS.items():
        (thought,) = [call for call in openai_double.of("/chat/completions") if call.key == facts["key"]]
        assert thought.body["model"] == facts["model"]
        assert thought.body["messages"][-1]["content"] == f"I am with {name}"
        spoken_by = [call for call in elevenlabs_double.calls if call.key == facts["key"]]
        assert [call.path.split("/")[3] for call in spoken_by] == [facts["voice"], f"{facts['voice']}-2"]
        for call in spoken_by:
            assert call.query["language_code"] == str(facts["language"]).split("-")[0]
            assert call.sent[0]["voice_settings"]["speed"] == facts["pace"]
            assert "".join(message.get("text", "") for message in call.sent).split() == [
                "Welcome",
                "to",
                f"{name}.",
            ]


async def test_a_prewarmed_voice_speaks_over_the_connection_it_has(
    elevenlabs_double: ElevenLabsDouble,
) -> None:
    """`prewarm` opens the socket; the first sentence opens no other, also behind loudness and a fallback."""
    config = session(
        "tts",
        {
            "provider": "elevenlabs",
            "model": "eleven_flash_v2_5",
            "base_url": elevenlabs_double.url,
            "fallback": [{"provider": "offline"}],
        },
        voice_tuning={"loudness": 0.5},
    )
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    voice.prewarm()
    async with asyncio.timeout(5):
        while not elevenlabs_double.calls:  # noqa: ASYNC110 - the double has no event for it
            await asyncio.sleep(0)
    await spoken(voice, "Hello.")
    await registry.close(voice)
    assert len(elevenlabs_double.calls) == 1


async def test_a_prewarmed_mind_has_connected(openai_double: OpenAIDouble) -> None:
    """`prewarm` of the language model costs one request without tokens, before the first turn."""
    model = {"provider": "openai", "model": "gpt-4.1", "base_url": openai_double.url}
    mind = registry.build_llm(session("llm", model), None, KEYS)
    assert mind is not None
    mind.prewarm()
    async with asyncio.timeout(5):
        while not openai_double.of("/models"):  # noqa: ASYNC110 - the double has no event for it
            await asyncio.sleep(0)
    await registry.close(mind)
    assert not openai_double.of("/chat/completions")
