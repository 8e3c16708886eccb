"""The library's private parts: each use is known to the self-check, and the check finds what is missing."""

import ast
import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.agents.voice import room_io
from livekit.agents.voice.room_io._output import _ParticipantAudioOutput
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateDetector, SpeakingRateStream
from livekit.rtc import _ffi_client

from agent import library
from agent.serving import StartError, serve
from agent.settings import Settings
from tests.doubles.audio import tone

ROOT = Path(__file__).parent.parent.parent

RENAMED = """
import sys
from livekit.agents.ipc import job_executor
job_executor.Renamed = job_executor.__dict__.pop("JobExecutor")
sys.argv = ["agent", "start"]
from agent.__main__ import main
main()
"""


def test_every_private_name_in_use_is_checked_at_start() -> None:
    """A use of another private part that the self-check does not know fails here."""
    tree = ast.parse(Path(library.__file__).read_text())
    used = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    known = {name for _, name in library.PARTS}
    assert {name for name in used if not name.startswith("__")} <= known


async def test_a_worker_does_not_start_on_a_library_that_lacks_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The part is named, and what to do; nothing else is looked at before."""
    gone = ("livekit.agents.worker:AgentServer", "_no_such_part")
    monkeypatch.setattr(library, "PARTS", (*library.PARTS, gone))
    with pytest.raises(StartError, match="install the version this runtime pins") as refused:
        await serve(Settings())
    assert refused.value.code == "livekit_agents_version"
    assert "livekit.agents.worker:AgentServer._no_such_part" in str(refused.value)


def test_parts_are_found_where_they_are() -> None:
    """An attribute that only a method sets is found; a module or class that is gone is a missing part."""
    assert "_user_tr_output" not in vars(room_io.RoomIO)
    assert library._has("livekit.agents.voice.room_io:RoomIO", "_user_tr_output")
    assert library._has("livekit.rtc._ffi_client:", _ffi_client.get_ffi_lib.__name__)
    for place in ("livekit.agents.worker:Gone", "livekit.agents.gone:AgentServer"):
        assert not library._has(place, "_proc_pool")
    assert not library._has("livekit.agents.worker:AgentServer", "_no_such_part")


async def interrupted_before_anybody_listens(*, kept: bool) -> asyncio.Future[None]:
    """What says that somebody listens, after the first frame of an answer was interrupted while it waited."""
    output = _ParticipantAudioOutput(
        rtc.Room(), sample_rate=24_000, num_channels=1, track_publish_options=rtc.TrackPublishOptions()
    )
    if kept:
        of_the_call = SimpleNamespace(
            output=SimpleNamespace(audio=output), room_io=SimpleNamespace(subscribed_fut=output.subscribed)
        )
        library.keep_voice(cast(Any, of_the_call))
    answer = asyncio.create_task(output.capture_frame(rtc.AudioFrame(bytes(960), 24_000, 1, 480)))
    await asyncio.sleep(0)
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    await output.aclose()
    return output.subscribed


async def test_an_answer_that_is_interrupted_before_anybody_listens_leaves_the_voice() -> None:
    """The library loses the voice for the rest of the call there; once it does not, `keep_voice` can go."""
    assert (await interrupted_before_anybody_listens(kept=False)).cancelled()
    assert not (await interrupted_before_anybody_listens(kept=True)).done()


async def test_captions_go_on_with_the_voice_and_wait_in_its_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice that sounds, pauses and sounds again: the captions' pace is that of the newest 0.1 s."""
    monkeypatch.setattr(
        SpeakingRateStream, "_compute_speaking_rate", SpeakingRateStream._compute_speaking_rate
    )  # for the others as it was
    library.pace_captions_by_silence()
    stream = SpeakingRateDetector().stream()
    for sounds in (True, False, True):
        pcm = tone(1.0, 16_000) if sounds else bytes(32_000)
        stream.push_frame(rtc.AudioFrame(pcm, 16_000, 1, 16_000))
    stream.end_input()
    rates = [event.speaking_rate async for event in stream]
    assert rates[0] == 1.0
    assert rates[1:11] == [0.0] * 10
    assert rates[11:21] == [1.0] * 10


def test_a_name_that_moved_is_one_line(tmp_path: Path) -> None:
    """A newer library without a module's name: no traceback, exit status 1, and the cure."""
    done = subprocess.run(
        [sys.executable, "-c", RENAMED],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LIVEKIT_URL": "ws://127.0.0.1:9",
            "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32,
        },
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: the installed livekit-agents lacks livekit.agents.ipc.job_executor")
    assert "Traceback" not in done.stderr


def test_the_check_by_hand_says_what_it_found() -> None:
    """`python -m agent.library`, as `make check-newest` runs it: version and findings in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "agent.library"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.endswith("lacks nothing that is used of it\n")
