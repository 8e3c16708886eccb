"""The bundles that come with the runtime: their models can be built, and they talk over the wire."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit.agents import llm

from agent.providers import registry
from config_store.direct import FolderBundles
from config_store.dispatch import parse_dispatch
from config_store.folder import BundleFolder
from config_store.resolve import Call, resolve_session
from config_store.schema import SessionConfig
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble
from tests.providers.configs import KEYS, spoken

SHIPPED = Path(__file__).parents[2] / "bundles"
PARTIAL = {"base", "offline"}
NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml") if path.stem not in PARTIAL | {"routes"})


class _Settings:
    modules = ()


async def _load(folder: Path, name: str) -> SessionConfig:
    catalog = registry.catalog(_Settings(), KEYS)
    resolved = await resolve_session(
        parse_dispatch(name),
        call=Call(room_name="room"),
        override_key="none",
        compiled=FolderBundles(BundleFolder(folder), KEYS, catalog),
        overrides=None,
        presets=None,
        catalog=catalog,
        default_bundle=None,
        budget_seconds=5.0,
    )
    return resolved.config


async def _wired(
    tmp_path: Path, name: str, openai: OpenAIDouble, elevenlabs: ElevenLabsDouble
) -> SessionConfig:
    """The bundle with its models' addresses on loopback, by a bundle that includes it."""
    folder = shutil.copytree(SHIPPED, tmp_path / "bundles")
    urls = {"openai": openai.url, "elevenlabs": elevenlabs.url}
    models: dict[str, Any] = {}
    for kind, model in (await _load(folder, name)).models:
        if model is not None and model.provider in urls:
            models[kind] = {"base_url": urls[model.provider], "fallback": []}
    (folder / "wired.yaml").write_text(yaml.safe_dump({"include": [name], "models": models}), "utf-8")
    return await _load(folder, "wired")


def _named_voice(config: SessionConfig, agent: str) -> str | None:
    """The voice that the bundle's text gives this agent at ElevenLabs."""
    voice = config.agents[agent].voice_id or config.voice_id
    return voice.get("elevenlabs") if isinstance(voice, dict) else voice


@pytest.mark.parametrize("name", NAMES)
async def test_a_shipped_bundle_talks(
    name: str, tmp_path: Path, openai_double: OpenAIDouble, elevenlabs_double: ElevenLabsDouble
) -> None:
    """Every agent's models are built, answer and speak, with the agent's own voice where a voice is sent."""
    config = await _wired(tmp_path, name, openai_double, elevenlabs_double)
    for agent in config.agents:
        ears = registry.build_stt(config, agent, KEYS)
        mind = registry.build_llm(config, agent, KEYS)
        voice = registry.build_tts(config, agent, KEYS)
        realtime = registry.build_realtime(config, agent, KEYS)
        assert mind is not None or realtime is not None
        if mind is not None:
            context = llm.ChatContext.empty()
            context.add_message(role="user", content="hello")
            assert (await mind.chat(chat_ctx=context).collect()).text
        if voice is not None:
            samples, _ = await spoken(voice, "Good morning.")
            assert samples.any()
            if voice.provider == "ElevenLabs":
                sent_to = elevenlabs_double.calls[-1].path.split("/")[3]
                assert sent_to == _named_voice(config, agent)
        await registry.close(ears, mind, voice, realtime)


@pytest.mark.parametrize("name", NAMES)
async def test_a_shipped_bundle_asks_for_nothing_it_cannot_have(name: str) -> None:
    """An example worth copying has a tuning that its voices take as it is."""
    assert registry.tuning_verdicts(await _load(SHIPPED, name)) == []


@pytest.mark.parametrize("name", NAMES)
async def test_a_shipped_bundle_runs_offline(name: str, tmp_path: Path) -> None:
    """With `include: [NAME, offline]` every agent hears, thinks and speaks without a key."""
    folder = shutil.copytree(SHIPPED, tmp_path / "bundles")
    (folder / "here.yaml").write_text(f"include: [{name}, offline]\n", "utf-8")
    config = await _load(folder, "here")
    assert registry.providers_used(config) == {"offline"}
    for agent in config.agents:
        models = [
            build(config, agent, {}) for build in (registry.build_stt, registry.build_llm, registry.build_tts)
        ]
        assert all(model is not None for model in models)
        await registry.close(*models)
