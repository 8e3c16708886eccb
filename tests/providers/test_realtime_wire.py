"""Realtime models: what the real plugin sends, and a talk with a tool and a handover over the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, llm

from agent.providers import registry
from agent.providers.loudness import amplify
from agent.providers.turns import turn_handling
from tests.doubles.audio import dbfs, tone
from tests.doubles.realtime_server import RealtimeDouble
from tests.doubles.server import Trouble
from tests.providers.configs import KEYS, session


def _reply(words: str, realtime: dict[str, Any]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    if words.startswith("result: "):
        return words.removeprefix("result: "), []
    if "order" in words:
        return "", [("lookup_order", {"number": "seven"})]
    if "expert" in words:
        return "", [("handoff_to_expert", {})]
    return f"You said {words}. I am told: {realtime.get('instructions')}", []


@pytest.fixture
async def realtime(http: None) -> AsyncIterator[RealtimeDouble]:
    """A server that speaks OpenAI's realtime protocol."""
    async with RealtimeDouble(reply=_reply, keys=("test-key", "acme-key")) as double:
        yield double


def _config(double: RealtimeDouble, **fields: Any) -> Any:
    return session(
        "realtime", {"provider": "openai", "model": "gpt-realtime", "base_url": double.url}, **fields
    )


class _Expert(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are the expert.")


class _Desk(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are the desk.")

    @function_tool
    async def lookup_order(self, number: str) -> str:
        """Looks an order up."""
        return f"Order {number} has left."

    @function_tool
    async def handoff_to_expert(self) -> Agent:
        """Hands over."""
        return _Expert()


async def test_a_talk_over_the_realtime_protocol(realtime: RealtimeDouble) -> None:
    """Key, model, voice, speed, language and instructions reach the socket; a tool and a handover work."""
    config = _config(realtime, voice_id="cedar", voice_tuning={"pace": 1.2}, target_language="hi-IN")
    model = registry.build_realtime(config, None, KEYS)
    options = turn_handling(config, "vad")
    async with AgentSession[None](llm=model, turn_handling=options) as talk:  # type: ignore[arg-type]
        await talk.start(_Desk())
        result = await talk.run(user_input="good morning")
        said = result.expect.next_event().is_message(role="assistant").event().item.text_content
        assert said == "You said good morning. I am told: You are the desk."
        result = await talk.run(user_input="my order please")
        result.expect.next_event().is_function_call(name="lookup_order", arguments={"number": "seven"})
        result.expect.next_event().is_function_call_output(output="Order seven has left.")
        said = result.expect.next_event().is_message(role="assistant").event().item.text_content
        assert said == "Order seven has left."
        await talk.run(user_input="the expert please")
        result = await talk.run(user_input="good morning")
        said = result.expect.next_event().is_message(role="assistant").event().item.text_content
        assert said == "You said good morning. I am told: You are the expert."
    await registry.close(model)
    call = realtime.calls[0]
    assert call.key == "test-key"
    assert call.query["model"] == "gpt-realtime"
    sent = [
        event["session"]["audio"]
        for event in call.sent
        if event["type"] == "session.update" and "audio" in event["session"]
    ]
    assert sent[0]["output"]["voice"] == "cedar"
    assert sent[0]["output"]["speed"] == 1.2
    assert sent[0]["input"]["transcription"] == {"model": "gpt-4o-mini-transcribe", "language": "hi"}


async def test_a_spoken_turn_is_heard_and_answered(realtime: RealtimeDouble) -> None:
    """The server finds the turn in the audio by itself; its words and its audio come back."""
    model = registry.build_realtime(_config(realtime), None, KEYS)
    assert model is not None
    talk = model.session()
    words: asyncio.Queue[str] = asyncio.Queue()
    answers: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
    talk.on("input_audio_transcription_completed", lambda event: words.put_nowait(event.transcript))
    talk.on("generation_created", answers.put_nowait)
    for pcm in (tone(0.5, 24000), bytes(2 * 24000)):
        talk.push_audio(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))
    assert await asyncio.wait_for(words.get(), 5) == "hello there"
    answer = await asyncio.wait_for(answers.get(), 5)
    message = await anext(aiter(answer.message_stream))
    frames = [frame async for frame in message.audio_stream]
    soft = [frame async for frame in amplify(_again(frames), 0.5)]
    levels = [dbfs(np.frombuffer(rtc.combine_audio_frames(take).data, np.int16)) for take in (frames, soft)]
    assert levels[1] - levels[0] == pytest.approx(-6.02, abs=0.1)
    await talk.aclose()
    await registry.close(model)


async def _again(frames: list[rtc.AudioFrame]) -> AsyncIterator[rtc.AudioFrame]:
    for frame in frames:
        yield frame


def test_what_a_realtime_model_lacks_is_said() -> None:
    """Pace beyond 1.5 is clamped; pitch, and a temperature that the API has dropped, are unsupported."""
    model = {"provider": "openai", "model": "gpt-realtime", "temperature": 0.5}
    config = session("realtime", model, voice_tuning={"pace": 3.0, "pitch": 0.2})
    found = {verdict.path: verdict.verdict for verdict in registry.tuning_verdicts(config)}
    assert found == {
        "voice_tuning.pace": "clamped",
        "voice_tuning.pitch": "unsupported",
        "models.realtime.temperature": "unsupported",
    }


async def test_a_realtime_model_that_refuses_is_replaced(realtime: RealtimeDouble) -> None:
    """The turn that meets a dead server is answered late or not at all; the next ones by the other server."""
    realtime.trouble["/realtime"] = [Trouble(status=500)] * 20
    async with RealtimeDouble(reply=_reply) as other:
        model = {"provider": "openai", "model": "gpt-realtime", "base_url": realtime.url}
        config = session("realtime", {**model, "fallback": [{**model, "base_url": other.url}]})
        realtime_model = registry.build_realtime(config, None, KEYS)
        async with AgentSession[None](
            llm=realtime_model,
            turn_handling=turn_handling(config, "vad"),  # type: ignore[arg-type]
        ) as talk:
            await talk.start(_Desk())
            said: list[str] = []
            talk.on("conversation_item_added", lambda event: said.append(event.item.text_content or ""))
            async with asyncio.timeout(30):
                await talk.run(user_input="hello?")
                while not any(text.startswith("You said good morning.") for text in said):
                    await talk.run(user_input="good morning")
        await registry.close(realtime_model)
        assert other.calls


@pytest.mark.parametrize(
    ("knob", "asked", "sent"),
    [
        ("pace", 3.0, 1.5), ("pitch", 0.5, None), ("stability", 0.9, None), ("similarity_boost", 0.9, None),
        ("style", 0.9, None), ("use_speaker_boost", False, None), ("instructions", "Whisper.", None),
    ],
)  # fmt: skip
async def test_a_cell_of_realtime_is_what_goes_out(
    realtime: RealtimeDouble, knob: str, asked: Any, sent: float | None
) -> None:
    """Pace goes out as speed within its range; any other knob is on no message, and gets a verdict."""
    config = _config(realtime, voice_tuning={knob: asked})
    model = registry.build_realtime(config, None, KEYS)
    assert model is not None
    talk = model.session()
    async with asyncio.timeout(5):
        while not realtime.calls or not realtime.calls[0].sent:  # noqa: ASYNC110 - the double has no event
            await asyncio.sleep(0.01)
    await talk.aclose()
    await registry.close(model)
    output = realtime.calls[0].sent[0]["session"]["audio"]["output"]
    assert output.get("speed", 1.0) == (sent or 1.0)
    assert knob == "pace" or str(asked) not in str(realtime.calls[0].sent)
    (verdict,) = registry.tuning_verdicts(config)
    assert verdict.verdict == ("clamped" if sent else "unsupported")
