"""What callers need who send ready Opus: the program, built from `opus_callers`, and the frames they send."""

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

from agent.demo.audio import RATE
from agent.services import go_toolchain
from agent.services.livekit_binary import cache_folder

SOURCES = Path(__file__).parent / "opus_callers"
BEAT_SECONDS = 8
"""Each caller speaks once in this time."""
BEFORE_SECONDS = 2
"""Of silence before the sentence: the greeting is not spoken into."""
STEP = RATE // 50
"""Samples of a frame, which lasts 20 ms."""
QUIET_BYTES = 10
"""Most that a frame of silence has after the encoder; one of speech has more than 50."""
TAIL = 10
"""Frames of silence that are sent as they are before DTX begins, as libopus does."""


def beat(speech: "np.ndarray[Any, Any]") -> bytes:
    """
    One beat of a caller: silence, the sentence, silence, encoded as a client of LiveKit does.

    Args:
        speech: 16 bit samples at `RATE`, up to 6 s.

    Returns:
        Frames of Opus, 20 ms each, each after its length in two bytes (little-endian). Those of one byte are
        what DTX sends now and again for silence: the encoder's own description of the frame, and no sound.
    """
    samples = np.zeros(BEAT_SECONDS * RATE, dtype=np.int16)
    samples[BEFORE_SECONDS * RATE :][: len(speech)] = speech
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    encoder.bit_rate, encoder.options = 32_000, {"application": "voip", "frame_duration": "20"}
    found, quiet = b"", TAIL
    for at in range(0, len(samples), STEP):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + STEP], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, at
        for packet in encoder.encode(frame):
            data = bytes(packet)
            quiet = quiet + 1 if len(data) <= QUIET_BYTES else 0
            data = data[:1] if quiet > TAIL else data
            found += struct.pack("<H", len(data)) + data
    return found


def program() -> Path:
    """
    The callers' program, built the first time and whenever its source has changed.

    Raises:
        GoError: There is no Go and none could be got, or it could not build; with the reason.
    """
    environment = dict(os.environ)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()
    cache = cache_folder(environment)
    kept = cache / f"opus-callers-{digest[:12]}"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="opus-callers-", dir=cache) as folder:
            scratch = Path(folder)
            go = go_toolchain.find(environment) or go_toolchain.install(scratch, environment, _progress)
            _progress("building the callers with Go, once (two minutes)")
            build = subprocess.run(
                [go, "build", "-ldflags=-s -w", "-o", scratch / "program", "."],
                env=go_toolchain.settings(scratch, environment), cwd=SOURCES,
                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if build.returncode:
                raise go_toolchain.GoError(f"`go build` failed: {build.stderr.strip()[-2000:]}")
            (scratch / "program").rename(kept)
    return kept


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
