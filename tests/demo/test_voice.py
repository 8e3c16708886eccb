"""The voices of callers."""

import shutil

import pytest

from agent.demo.audio import loudness_dbfs, speech_seconds
from agent.demo.voice import speak
from tests.conftest import missing


@pytest.mark.parametrize("voice", ["espeak", "flite"])
async def test_a_voice_says_something(voice: str) -> None:
    """Both voices make audible speech of a length that fits the words, and longer words take longer."""
    if voice == "flite" and not shutil.which("flite"):
        missing("flite", "`apt-get install flite`")
    short = await speak("Yes.", voice=voice)
    long = await speak("Where is my order number seven?", voice=voice)
    assert loudness_dbfs(long) > -30
    assert 0.1 < speech_seconds(short) < speech_seconds(long) < 5
