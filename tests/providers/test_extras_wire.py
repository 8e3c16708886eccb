"""What the real plugins of the extras send for a configuration: Sarvam and Anthropic."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from livekit import rtc
from livekit.agents import function_tool, llm

from agent.providers import registry
from agent.providers.capability import Cell
from agent.providers.directory import PROVIDERS
from agent.providers.live import apply_voice
from agent.providers.tuning import cell_for, row_for
from config_store.levels import fill, levels
from config_store.schema import KINDS, SessionConfig
from tests.doubles.anthropic_server import AnthropicDouble
from tests.doubles.audio import dbfs, tone
from tests.doubles.sarvam_server import SarvamDouble
from tests.providers.configs import session, spoken

KEYS = {"SARVAM_API_KEY": "test-key", "ANTHROPIC_API_KEY": "test-key", "ACME_KEY": "test-key"}
SENTENCE = "We are open from nine to five on weekdays."


@pytest.fixture
async def sarvam(http: None) -> AsyncIterator[SarvamDouble]:
    """A server that speaks Sarvam's protocol."""
    async with SarvamDouble(transcript="नमस्ते") as double:
        yield double


@pytest.fixture
async def anthropic(http: None) -> AsyncIterator[AnthropicDouble]:
    """A server that speaks Anthropic's protocol."""
    async with AnthropicDouble() as double:
        yield double


def _voice(double: SarvamDouble, model: str, **fields: object) -> SessionConfig:
    given = {"provider": "sarvam", "model": model, "base_url": double.url}
    return session("tts", given, target_language="hi-IN", **fields)


async def test_sarvam_s_voice_gets_key_model_speaker_language_and_pace(sarvam: SarvamDouble) -> None:
    """They stand in the first message, and the pace is heard as length, the loudness as level."""
    lengths = {}
    levels_heard = {}
    for pace, loudness in ((1.0, 1.0), (2.0, 0.5)):
        tuning = {"pace": pace, "pitch": -0.5, "loudness": loudness}
        config = _voice(sarvam, "bulbul:v2", voice_id="vidya", voice_tuning=tuning)
        voice = registry.build_tts(config, None, KEYS)
        assert voice is not None
        samples, rate = await spoken(voice, SENTENCE)
        lengths[pace], levels_heard[loudness] = len(samples) / rate, dbfs(samples)
        await registry.close(voice)
    call = sarvam.of("/text-to-speech/ws")[-1]
    assert call.key == "test-key"
    assert call.query["model"] == "bulbul:v2"
    sent = call.sent[0]["data"]
    assert (sent["speaker"], sent["target_language_code"]) == ("vidya", "hi-IN")
    assert (sent["pace"], sent["pitch"], sent["loudness"]) == (2.0, -0.5, 1.0), "the gain is ours"
    assert lengths[1.0] / lengths[2.0] == pytest.approx(2.0, rel=0.15)
    assert levels_heard[0.5] - levels_heard[1.0] == pytest.approx(-6.02, abs=0.5)


@pytest.mark.parametrize("model", ["bulbul:v2", "bulbul:v3", "bulbul:v4-flash"])
@pytest.mark.parametrize(
    ("knob", "asked"),
    [
        ("pace", 3.0), ("pitch", 0.75), ("stability", 0.9), ("similarity_boost", 0.9), ("style", 0.9),
        ("use_speaker_boost", False), ("instructions", "Calm."),
    ],
)  # fmt: skip
async def test_a_cell_of_sarvam_is_what_goes_out(
    model: str, knob: str, asked: object, sarvam: SarvamDouble
) -> None:
    """A knob that the table has goes out in its field, within the range; any other gets a verdict."""
    cell: Cell = cell_for(row_for(PROVIDERS["sarvam"].tuning, model), knob)
    config = _voice(sarvam, model, voice_tuning={knob: asked})
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    await spoken(voice, "Hello.")
    await registry.close(voice)
    sent = sarvam.calls[-1].sent[0]["data"]
    found = {verdict.path: verdict.verdict for verdict in registry.tuning_verdicts(config)}
    if cell.support == "unsupported":
        assert found == {f"voice_tuning.{knob}": "unsupported"}
        assert sent.get(knob) in (None, 0.0, 1.0)
    else:
        assert isinstance(asked, float)
        assert cell.high is not None
        assert sent[knob] == min(asked, cell.high)
        assert found == ({} if asked <= cell.high else {f"voice_tuning.{knob}": "clamped"})


async def test_sarvam_s_voice_changes_in_a_live_call(sarvam: SarvamDouble) -> None:
    """The next utterance has the new speaker, pace and language."""
    old = _voice(sarvam, "bulbul:v2", voice_id="vidya")
    new = old.model_copy(update={"voice_id": "arya", "target_language": "ta-IN"})
    voice = registry.build_tts(old, None, KEYS)
    assert voice is not None
    assert apply_voice(voice, old, new, None) == (voice, True)
    await spoken(voice, SENTENCE)
    await registry.close(voice)
    sent = sarvam.calls[-1].sent[0]["data"]
    assert (sent["speaker"], sent["target_language_code"]) == ("arya", "ta-IN")


async def test_sarvam_hears_in_the_session_s_language(sarvam: SarvamDouble) -> None:
    """Key, model and language reach the recognizer at the bundle's address, and its words come back."""
    given = {"provider": "sarvam", "model": "saaras:v4", "base_url": sarvam.url, "api_key_env": "ACME_KEY"}
    ears = registry.build_stt(session("stt", given, target_language="hi-IN"), None, KEYS)
    assert ears is not None
    async with ears.stream() as stream:
        pcm = tone(0.5, 16000)
        stream.push_frame(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))
        event = await anext(event async for event in stream if event.type == "final_transcript")
    await registry.close(ears)
    assert event.alternatives[0].text == "नमस्ते"
    call = sarvam.of("/speech-to-text/ws")[0]
    assert (call.key, call.query["model"], call.query["language-code"]) == ("test-key", "saaras:v4", "hi-IN")


async def test_sarvam_thinks_with_key_model_and_temperature(sarvam: SarvamDouble) -> None:
    """Its chat is OpenAI's with a header of its own."""
    given = {"provider": "sarvam", "model": "sarvam-105b", "base_url": sarvam.url, "temperature": 0.3}
    mind = registry.build_llm(session("llm", given), None, KEYS)
    assert mind is not None
    answer = await mind.chat(chat_ctx=_question()).collect()
    await registry.close(mind)
    assert answer.text.strip() == "Fine, thank you."
    call = sarvam.of("/chat/completions")[0]
    assert (call.key, call.body["model"], call.body["temperature"]) == ("test-key", "sarvam-105b", 0.3)


async def test_anthropic_gets_key_model_temperature_tools_and_options(anthropic: AnthropicDouble) -> None:
    """They stand in the request; the text and the tool call of its answer come back."""
    anthropic.reply = lambda _: ("One moment.", [("lookup_order", {"number": "seven"})])
    given = {
        "provider": "anthropic", "model": "claude-sonnet-4-6", "base_url": anthropic.address,
        "temperature": 0.3, "options": {"max_tokens": 77}, "api_key_env": "ACME_KEY",
    }  # fmt: skip
    mind = registry.build_llm(session("llm", given), None, KEYS)
    assert mind is not None
    answer = await mind.chat(chat_ctx=_question(), tools=[_lookup]).collect()
    await registry.close(mind)
    assert answer.text == "One moment."
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [
        ("lookup_order", '{"number": "seven"}')
    ]
    call = anthropic.of("/messages")[0]
    assert call.key == "test-key"
    sent = {name: call.body[name] for name in ("model", "temperature", "max_tokens")}
    assert sent == {"model": "claude-sonnet-4-6", "temperature": 0.3, "max_tokens": 77}
    assert call.body["messages"][-1]["content"][0]["text"] == "How are you?"
    assert call.body["tools"][0]["name"] == "lookup_order"


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("provider", ["openai", "elevenlabs", "sarvam", "anthropic"])
async def test_every_model_of_the_optimization_levels_can_be_built(
    level: str, provider: str, http: None
) -> None:
    """No level chooses a model that the plugin of its provider refuses, or that its maker has given up."""
    keys = {known.key_env: "k" for known in PROVIDERS.values() if known.key_env}
    kinds = [kind for kind in KINDS if kind in PROVIDERS[provider].offers]
    document = {"models": {kind: {"provider": provider} for kind in kinds}}
    config = SessionConfig.model_validate({**fill(document, level), "target_language": "en-IN"})
    for kind in kinds:
        chosen = getattr(config.models, kind)
        assert chosen.model not in DEPRECATED_MODELS
        model = getattr(registry, f"build_{kind}")(config, None, keys)
        await registry.close(model)


@function_tool(name="lookup_order")
async def _lookup(number: str) -> str:
    """Looks an order up."""
    return number


def _question() -> llm.ChatContext:
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="How are you?")
    return context
