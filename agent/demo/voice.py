"""
Voices for callers: text to 16-bit mono audio at 16 kHz, without a network.

Flite (a system package) is understood best by PocketSphinx; eSpeak NG from the extra `offline` needs nothing
installed, and its variant `klatt4` is understood nearly as well.
"""

import asyncio
import contextlib
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
from livekit import rtc

from agent.demo.audio import RATE, Samples

ESPEAK_VOICE = "en-us+klatt4"
FLITE_VOICE = "slt"


class VoiceError(Exception):
    """No voice is installed; the text says how to get one."""


async def speak(text: str, *, voice: str | None = None) -> Samples:
    """
    Speech for a text.

    Args:
        text: English.
        voice: `espeak` or `flite`; None: flite where it is installed, else eSpeak.

    Raises:
        VoiceError: That voice is not installed.
    """
    if voice == "flite" or (voice is None and shutil.which("flite")):
        return await _flite(text)
    return await _espeak(text)


async def _espeak(text: str) -> Samples:
    try:
        import espeakng_loader  # noqa: F401 - the engine loads it in its own thread, too late for a clear error
    except ImportError:
        raise VoiceError("no voice is installed; install the extra `offline`") from None
    from agent.providers.offline.espeak import EspeakTTS

    async with EspeakTTS(voice=ESPEAK_VOICE) as tts, tts.synthesize(text) as stream:
        frame = await stream.collect()
    return _resampled(np.frombuffer(frame.data, dtype=np.int16), frame.sample_rate)


async def _flite(text: str) -> Samples:
    with tempfile.TemporaryDirectory(prefix="voice-") as folder:
        path = Path(folder) / "speech.wav"
        try:
            process = await asyncio.create_subprocess_exec(
                "flite", "-voice", FLITE_VOICE, "-t", text, "-o", str(path),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except FileNotFoundError:
            raise VoiceError("flite is not installed; `apt-get install flite`") from None
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        if status != 0:
            raise VoiceError(f"flite ended with status {status}")
        with wave.open(str(path)) as file:
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    return _resampled(np.frombuffer(data, dtype=np.int16), rate)


def _resampled(samples: Samples, rate: int) -> Samples:
    if rate == RATE:
        return samples
    resampler = rtc.AudioResampler(rate, RATE, num_channels=1, quality=rtc.AudioResamplerQuality.HIGH)
    frames = [*resampler.push(bytearray(samples.tobytes())), *resampler.flush()]
    return np.concatenate([np.frombuffer(frame.data, dtype=np.int16) for frame in frames])
