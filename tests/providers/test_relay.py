"""What stands before a voice changes what it is there for, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc
from livekit.agents import metrics, vad
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT

from agent.providers import patience, registry
from agent.providers.loudness import LoudTTS, amplified
from agent.providers.offline.espeak import EspeakTTS
from agent.providers.turns import build_vad, turn_handling
from config_store.schema import SessionConfig
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.providers.configs import KEYS, session

SENTENCE = "We are open from nine to five on weekdays."


async def _words(double: ElevenLabsDouble, **fields: Any) -> tuple[str, list[Any], Any]:
    model = {"provider": "elevenlabs", "model": "eleven_flash_v2_5", "base_url": double.url}
    voice = registry.build_tts(session("tts", model, **fields), None, KEYS)
    assert voice is not None
    measured: list[metrics.TTSMetrics] = []
    voice.on("metrics_collected", measured.append)
    timed: list[Any] = []
    async with voice.stream() as stream:
        stream.push_text(SENTENCE)
        stream.end_input()
        async for audio in stream:
            timed += audio.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])
    await registry.close(voice)
    assert voice.capabilities.aligned_transcript
    return "".join(timed), measured, voice


async def test_word_timings_names_and_metrics_pass(elevenlabs_double: ElevenLabsDouble) -> None:
    """With a gain before it, a voice still tells its words in step, its name, and what it used."""
    words, measured, voice = await _words(elevenlabs_double, voice_tuning={"loudness": 0.5})
    assert isinstance(voice, LoudTTS)
    assert words.strip() == SENTENCE
    assert (voice.model, voice.provider) == ("eleven_flash_v2_5", "ElevenLabs")
    assert voice.label == "livekit.plugins.elevenlabs.tts.TTS"
    assert [item.characters_count for item in measured] == [len(SENTENCE)]


async def test_no_gain_no_wrapper(elevenlabs_double: ElevenLabsDouble) -> None:
    """Loudness 1.0, or none, puts no gain before the voice."""
    for fields in ({}, {"voice_tuning": {"loudness": 1.0}}):
        words, _, voice = await _words(elevenlabs_double, **fields)
        assert not isinstance(voice, LoudTTS)
        assert words.strip() == SENTENCE
    plain = registry.build_tts(session("tts", {"provider": "offline"}), None, {})
    assert type(plain).__name__ == "EspeakTTS"


@given(
    samples=st.lists(st.integers(-32768, 32767), min_size=1, max_size=50),
    loudness=st.floats(0.0, 3.0, allow_nan=False),
)
def test_gain_never_clips_and_keeps_the_order(samples: list[int], loudness: float) -> None:
    """Whatever the audio, no sample leaves full scale, changes sign, or overtakes a louder one."""
    before = np.array(samples, np.int16)
    frame = amplified(rtc.AudioFrame(before.tobytes(), 24000, 1, len(before)), loudness)
    after = np.frombuffer(frame.data, np.int16)
    assert len(after) == len(before)
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order].astype(int)) >= 0).all()
    assert (np.sign(after) * np.sign(before) >= 0).all()
    if loudness > 1.0:
        assert np.abs(after.astype(int)).max() <= 32767


def test_what_hangs_on_a_frame_goes_along() -> None:
    """Word timings stay on the frame they belong to."""
    frame = rtc.AudioFrame(bytes(20), 24000, 1, 10, userdata={"words": ["a"]})
    assert amplified(frame, 2.0).userdata == {"words": ["a"]}


@pytest.mark.parametrize("realtime", [False, True])
def test_turns_are_decided_explicitly(realtime: bool) -> None:
    """Every choice is said, so that no environment can switch a cloud detector on."""
    models = {"realtime": {"provider": "openai", "model": "gpt-realtime"}} if realtime else {}
    config = SessionConfig.model_validate(
        {
            "models": models,
            "turn_taking": {
                "min_delay": 0.2,
                "max_delay": 1.5,
                "interruptions": False,
                "min_interruption_duration": 0.7,
                "preemptive_generation": False,
            },
        }
    )
    assert turn_handling(config, "vad") == {
        "turn_detection": "realtime_llm" if realtime else "vad",
        "endpointing": {"mode": "fixed", "min_delay": 0.2, "max_delay": 1.5},
        "interruption": {"enabled": False, "mode": "vad", "min_duration": 0.7},
        "preemptive_generation": {"enabled": False},
    }


def test_a_session_in_writing_detects_no_turns() -> None:
    """Each text is a turn; a detector would be asked for a voice that is not there, and warn of it."""
    config = SessionConfig.model_validate({"modality_profile": "text_only"})
    assert turn_handling(config, "vad")["turn_detection"] == "manual"


def test_the_detector_of_turns_runs_on_this_machine() -> None:
    """Chosen without its version it may be one in the cloud that hears the caller."""
    detector = turn_handling(SessionConfig.model_validate({}), "v1-mini")["turn_detection"]
    assert detector.model == "turn-detector-v1-mini"


def test_the_voice_detector_needs_no_download() -> None:
    """The detector is the one whose weights come with the library."""
    assert build_vad().model == "silero"


async def test_the_voice_detector_hears_without_a_thread() -> None:
    """It finds the speech, and no thread of its own was needed for that."""
    before = {thread.name for thread in threading.enumerate()}
    frames = await EspeakTTS().synthesize("where is my order").collect()
    stream = build_vad().stream()
    stream.push_frame(frames)
    stream.end_input()
    found = [event.type async for event in stream]
    await stream.aclose()
    assert vad.VADEventType.START_OF_SPEECH in found
    assert not [
        thread.name for thread in threading.enumerate() if thread.name not in before and "vad" in thread.name
    ]


def test_models_are_not_waited_for_for_ever() -> None:
    """Two tries of 5 s each, where the library has four of 10 s."""
    options = patience.connect_options()
    for tries in (options.llm_conn_options, options.tts_conn_options):
        assert (tries.max_retry, tries.timeout) == (1, 5.0)
    assert options.max_unrecoverable_errors == 1
