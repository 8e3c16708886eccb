"""The tuning table, cell by cell: what it says is what the wire or the audio shows."""

from __future__ import annotations

from typing import Any

import pytest

from agent.providers import registry
from agent.providers.capability import Cell
from agent.providers.directory import PROVIDERS, tuning_rows
from agent.providers.tuning import KNOBS, cell_for, markdown, row_for
from config_store.schema import VoiceTuning
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble
from tests.providers.configs import KEYS, session, spoken

ON_THE_WIRE = {
    "openai": {"pace": "speed", "instructions": "instructions"},
    "elevenlabs": {
        "pace": "speed",
        "stability": "stability",
        "similarity_boost": "similarity_boost",
        "style": "style",
        "use_speaker_boost": "use_speaker_boost",
    },
}
"""Knob → field of the request."""

MODELS = {
    "openai": ("gpt-4o-mini-tts", "tts-1", "tts-1-hd"),
    "elevenlabs": (
        "eleven_flash_v2_5",
        "eleven_turbo_v2_5",
        "eleven_multilingual_v2",
        "eleven_v3",
        "eleven_v4",
    ),
}

CELLS = [
    pytest.param(provider, model, knob, id=f"{provider}-{model}-{knob}")
    for provider, models in MODELS.items()
    for model in models
    for knob in KNOBS
    if knob != "loudness"  # it is on no wire; the audio tests have it
]


def _outside(cell: Cell, knob: str) -> Any:
    """A value at the end of the vocabulary's own range, so that narrower models have to clamp it."""
    if knob == "instructions":
        return "Speak calmly."
    if knob == "use_speaker_boost":
        return False
    return {"pace": 3.0, "pitch": 0.75}.get(knob, 0.9)


@pytest.mark.parametrize(("provider", "model", "knob"), CELLS)
async def test_a_cell_is_what_goes_out(
    provider: str, model: str, knob: str, openai_double: OpenAIDouble, elevenlabs_double: ElevenLabsDouble
) -> None:
    """A supported knob goes out in its field, within the cell's range; any other gets a verdict."""
    cell = cell_for(row_for(PROVIDERS[provider].tuning, model), knob)
    double = openai_double if provider == "openai" else elevenlabs_double
    asked = _outside(cell, knob)
    config = session(
        "tts", {"provider": provider, "model": model, "base_url": double.url}, voice_tuning={knob: asked}
    )
    voice = registry.build_tts(config, None, KEYS)
    assert voice is not None
    await spoken(voice, "Hello.")
    await registry.close(voice)
    call = double.calls[-1]
    sent = call.body if provider == "openai" else call.sent[0].get("voice_settings", {})
    verdicts = {verdict.path: verdict for verdict in registry.tuning_verdicts(config)}
    verdict = verdicts.pop(f"voice_tuning.{knob}", None)
    assert not verdicts
    if cell.support == "unsupported":
        assert verdict is not None
        assert verdict.verdict == "unsupported"
        assert asked not in sent.values()
        return
    expected = asked
    if cell.steps is not None:
        expected = min(cell.steps, key=lambda step: abs(step - asked))
    elif cell.high is not None:
        expected = min(asked, cell.high)
    assert sent[ON_THE_WIRE[provider][knob]] == expected
    assert (verdict is not None) == (expected != asked)
    if verdict is not None:
        assert (verdict.verdict, verdict.applied) == ("clamped", expected)


def test_every_knob_of_the_vocabulary_has_a_column() -> None:
    """The table knows exactly the fields of `voice_tuning`."""
    assert set(KNOBS) == set(VoiceTuning.model_fields)


def test_every_row_decides_every_knob() -> None:
    """No provider leaves a knob open: a value never vanishes without a word."""
    for name, row in tuning_rows():
        assert set(row) | {"loudness"} == set(KNOBS), name


def test_the_table_is_written_as_markdown() -> None:
    """One line per row, with ranges, and a dash for what is not there."""
    lines = markdown(tuning_rows()).splitlines()
    assert lines[0].startswith("| provider, model | pace | pitch | loudness |")
    assert len(lines) == 2 + len(tuning_rows())
    assert "| elevenlabs, eleven_v3* | - | - | 0 to 3 | ≈ 0, 0.5, 1, the nearest of three |" in "\n".join(
        lines
    )


@pytest.mark.parametrize(
    ("knob", "neutral"), [("pitch", 0.0), ("style", 0.0), ("pace", 1.0), ("instructions", "")]
)
def test_a_neutral_value_asks_for_nothing(knob: str, neutral: Any) -> None:
    """A bundle that says pitch 0.0 is not told that there is no pitch."""
    config = session("tts", {"provider": "elevenlabs", "model": "eleven_v3"}, voice_tuning={knob: neutral})
    assert registry.tuning_verdicts(config) == []
