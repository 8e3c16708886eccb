"""Provider trouble inside a livekit session: words are heard, or the session says that it failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseEvent, ErrorEvent
from livekit.agents.voice import io

from agent.providers import last_resort, patience, registry
from config_store.schema import SessionConfig
from tests.doubles.openai_server import OpenAIDouble
from tests.doubles.server import Trouble
from tests.providers.configs import KEYS


class _Loudspeaker(io.AudioOutput):
    """Takes audio as fast as it comes and says that it was played."""

    def __init__(self) -> None:
        super().__init__(label="test", capabilities=io.AudioOutputCapabilities(pause=False))
        self.seconds: list[float] = []
        self._now = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._now += frame.duration

    def flush(self) -> None:
        super().flush()
        self._over(interrupted=False)

    def clear_buffer(self) -> None:
        self._over(interrupted=True)

    def _over(self, *, interrupted: bool) -> None:
        if self._now:
            self.seconds.append(self._now)
            self._now = 0.0
            self.on_playback_finished(playback_position=self.seconds[-1], interrupted=interrupted)


def _config(double: OpenAIDouble, *fallback: dict[str, Any]) -> SessionConfig:
    voice = {
        "provider": "openai",
        "model": "gpt-4o-mini-tts",
        "base_url": double.url,
        "fallback": list(fallback),
    }
    return SessionConfig.model_validate({"models": {"llm": {"provider": "offline"}, "tts": voice}})


async def test_a_session_with_a_fallback_speaks_on(
    openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first voice stalls: the caller hears the other one, and the session has no error."""
    monkeypatch.setattr(patience, "STALL_SECONDS", 0.3)
    openai_double.trouble["/audio/speech"] = [Trouble(stall=True)] * 10
    config = _config(openai_double, {"provider": "offline"})
    mind, voice = registry.build_llm(config, None, {}), registry.build_tts(config, None, KEYS)
    errors: list[ErrorEvent] = []
    speaker = _Loudspeaker()
    async with AgentSession[None](llm=mind, tts=voice, conn_options=patience.connect_options()) as talk:
        talk.on("error", errors.append)
        talk.output.audio = speaker
        await talk.start(Agent(instructions="x"))
        await asyncio.wait_for(talk.say("We are open from nine to five."), 5)
    await registry.close(mind, voice)
    assert speaker.seconds[0] > 1.0
    assert errors == []


@pytest.mark.parametrize("trouble", [Trouble(stall=True), Trouble(status=401)], ids=["stall", "401"])
async def test_a_session_without_one_fails_in_time_and_its_caller_hears_why(
    openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    """An unrecoverable error is told at once; the last words are heard without any provider."""
    monkeypatch.setattr(patience, "STALL_SECONDS", 0.3)
    openai_double.trouble["/audio/speech"] = [trouble] * 10
    config = _config(openai_double)
    mind, voice = registry.build_llm(config, None, {}), registry.build_tts(config, None, KEYS)
    errors: asyncio.Queue[ErrorEvent] = asyncio.Queue()
    closed: list[CloseEvent] = []
    speaker = _Loudspeaker()
    async with AgentSession[None](
        llm=mind, tts=voice, conn_options=patience.connect_options(unrecoverable_errors=3)
    ) as talk:
        talk.on("error", errors.put_nowait)
        talk.on("close", closed.append)
        talk.output.audio = speaker
        await talk.start(Agent(instructions="x"))
        talk.say("We are open from nine to five.")
        error = await asyncio.wait_for(errors.get(), 5)
        assert not error.error.recoverable
        assert not closed
        await asyncio.wait_for(
            talk.say(last_resort.last_sentence(config), audio=last_resort.last_words(config)), 5
        )
    await registry.close(mind, voice)
    assert speaker.seconds[0] > 1.0
