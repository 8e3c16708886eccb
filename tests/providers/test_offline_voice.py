"""The offline voice, measured on its frames."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from agent.providers import registry
from agent.providers.offline import espeak
from agent.providers.offline.voices import voice_for_language, voice_problem
from tests.doubles.audio import Samples, dbfs, fundamental
from tests.providers.configs import session, spoken

SENTENCE = "We are open from nine to five on weekdays, and from ten to two on Saturdays."


async def _say(**fields: Any) -> tuple[Samples, int]:
    voice = registry.build_tts(session("tts", {"provider": "offline"}, **fields), None, {})
    assert voice is not None
    heard = await spoken(voice, SENTENCE)
    await registry.close(voice)
    return heard


async def _seconds(**fields: Any) -> float:
    samples, rate = await _say(**fields)
    return len(samples) / rate


@pytest.mark.parametrize("pace", [0.46, 0.5, 0.75, 1.5, 2.0, 3.0])
async def test_pace_is_heard_as_length(pace: float) -> None:
    """Between the ends of its range, pace divides the length, within 10 %."""
    plain = await _seconds()
    assert plain / await _seconds(voice_tuning={"pace": pace}) == pytest.approx(pace, rel=0.1)


async def test_pitch_is_heard_as_fundamental_frequency() -> None:
    """Pitch moves the voice's fundamental frequency, down and up, by a third of it at the ends."""
    found = [
        fundamental(*(await _say(voice_tuning={"pitch": pitch}))) for pitch in (-0.75, -0.25, 0.0, 0.25, 0.75)
    ]
    assert found == sorted(found)
    assert found[0] < 0.85 * found[2]
    assert found[4] > 1.15 * found[2]


@pytest.mark.parametrize(("loudness", "decibels"), [(0.25, -12.04), (0.5, -6.02), (1.5, 3.52), (2.0, 6.02)])
async def test_loudness_is_heard_in_decibels(loudness: float, decibels: float) -> None:
    """Loudness is gain: twice is 6 dB more, half is 6 dB less; the loud ends lose a little to the limit."""
    (plain, _), (changed, _) = await _say(), await _say(voice_tuning={"loudness": loudness})
    assert dbfs(changed) - dbfs(plain) == pytest.approx(decibels, abs=0.7)


async def test_the_loudest_voice_does_not_clip() -> None:
    """At loudness 3 no sample reaches full scale."""
    samples, _ = await _say(voice_tuning={"loudness": 3.0})
    assert abs(samples.astype(int)).max() < 32767


async def test_silence_is_possible() -> None:
    """Loudness 0 is digital silence of the same length."""
    samples, rate = await _say(voice_tuning={"loudness": 0.0})
    assert not samples.any()
    assert len(samples) / rate == pytest.approx(await _seconds(), rel=0.02)


async def test_voices_sound_different() -> None:
    """A female variant speaks higher than the plain voice."""
    plain = fundamental(*(await _say(voice_id="en-us")))
    assert fundamental(*(await _say(voice_id="en-us+f3"))) > 1.2 * plain


async def test_two_voices_at_once_keep_their_own_settings() -> None:
    """Utterances of two sessions in one process do not borrow each other's pace."""
    slow, fast = await asyncio.gather(
        _seconds(voice_tuning={"pace": 0.5}), _seconds(voice_tuning={"pace": 2.0})
    )
    assert slow / fast == pytest.approx(4.0, rel=0.1)


async def test_a_change_holds_from_the_next_utterance_on() -> None:
    """`update_options` leaves what is being spoken alone and changes what comes after."""
    voice = espeak.EspeakTTS()
    begun = voice.synthesize(SENTENCE)
    voice.update_options(pace=2.0)
    first = (await begun.collect()).duration
    second = (await voice.synthesize(SENTENCE).collect()).duration
    assert first / second == pytest.approx(2.0, rel=0.1)


async def test_an_interrupted_utterance_frees_the_engine() -> None:
    """Closing a stream in the middle does not hold up the next utterance."""
    voice = espeak.EspeakTTS(pace=0.5)
    stream = voice.synthesize(SENTENCE * 20)
    await anext(stream)
    await stream.aclose()
    samples, _ = await spoken(espeak.EspeakTTS(), "Hello.")
    assert len(samples) > 0


@pytest.mark.parametrize(
    ("voice", "words"), [("en-xx", "en-xx"), ("en-us+f33", "did you mean 'f3'"), ("klatt4", "klatt4")]
)
def test_an_unknown_voice_is_named(voice: str, words: str) -> None:
    """What is wrong is said with the part that is wrong; the model is built with its default voice."""
    problem = voice_problem(voice)
    assert problem is not None
    assert words in problem
    config = session("tts", {"provider": "offline"}, voice_id=voice)
    assert registry.build_tts(config, None, {}) is not None


@pytest.mark.parametrize("voice", ["en-us", "en-gb", "en-gb+f3", "en-us+klatt4", "hi", "de", "EN-US"])
def test_known_voices_have_no_problem(voice: str) -> None:
    """Languages and variants that ship with the engine are accepted."""
    assert voice_problem(voice) is None


@pytest.mark.parametrize(
    ("language", "voice"), [("hi-IN", "hi"), ("en-IN", "en-us"), ("en-GB", "en-gb"), ("xx", "en-us")]
)
def test_the_voice_follows_the_language(language: str, voice: str) -> None:
    """Without a voice of its own a session speaks with its language's."""
    assert voice_for_language(language) == voice


_FORKS = """
import asyncio, os, sys, threading
from agent.providers import registry
from agent.providers.offline import espeak, sphinx

async def heard():
    speech = await espeak.EspeakTTS(voice="en-us+klatt4").synthesize("transfer me to sales").collect()
    ears = sphinx.SphinxSTT(phrases=["goodbye", "transfer me to sales"])
    event = await ears.recognize(speech)
    await ears.aclose()
    return event.alternatives[0].text

async def spoken():
    return (await espeak.EspeakTTS().synthesize("Hello.").collect()).duration

registry.prewarm(["offline"])
assert threading.active_count() == 1
if "spoken" in sys.argv:
    asyncio.run(spoken())
    espeak.quiesce()
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(heard()) == "transfer me to sales" else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("before", ["", "spoken"])
def test_a_forked_process_speaks_and_hears_with_what_its_parent_loaded(before: str) -> None:
    """After `prewarm`, and after an utterance and `quiesce`, a fork is safe: the child speaks and hears."""
    run = subprocess.run([sys.executable, "-c", _FORKS, before], check=False, timeout=60)
    assert run.returncode == 0
