"""The whole demo: stage, scenes, the table of transcripts, and what to try next."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from agent.demo.caller import CallerError
from agent.demo.epilogue import stay, tell_what_it_left
from agent.demo.narrator import Narrator
from agent.demo.scenes import conversation, falls_silent, killed, maximum_duration, two_voices
from agent.demo.stage import SceneError, Stage
from agent.demo.voice import VoiceError
from agent.services.livekit_binary import ServerUnavailableError
from agent.services.livekit_server import LiveKitServerError
from agent.services.valkey import ValkeyError
from agent.services.worker import WorkerError

Scene = Callable[[Stage], Awaitable[None]]

Lane = tuple[tuple[str, Scene], ...]
"""Scenes that play one after another: (the short name of the call, the scene)."""

ACTS: tuple[tuple[tuple[str, ...], tuple[Lane, ...]], ...] = (
    (
        ("1  Two sessions of one user at the same time, each with its own voice from its own Redis key",),
        ((("voices", two_voices),),),
    ),
    (
        (
            "2  talk: a spoken conversation with a tool call, a handover to another voice, and a goodbye",
            "3  silent: a caller who falls silent · long: a call that reaches its time limit in mid-speech",
            "4  killed: a job process killed with SIGKILL in mid-conversation",
        ),
        (
            (("talk", conversation),),
            (("silent", falls_silent), ("long", maximum_duration)),
            (("killed", killed),),
        ),
    ),
)
"""Titles, and the lanes that play at the same time under them: three calls at once leave two cores room."""

STAGE_ERRORS = (ServerUnavailableError, LiveKitServerError, ValkeyError, WorkerError)
SCENE_ERRORS = (SceneError, CallerError, VoiceError)


def run(*, keep: bool, plain: bool) -> int:
    """
    Play everything. Returns the exit status: 0 only if every scene held.

    Args:
        keep: Leave the services running at the end, until Ctrl-C.
        plain: No colour.

    Raises:
        KeyboardInterrupt: Ctrl-C; nothing is left running.
    """
    narrator = Narrator(plain=plain)
    began = time.monotonic()
    try:
        with Stage(narrator) as stage:
            _quiet_library(stage)
            failed = asyncio.run(_play(stage))
            if failed:
                narrator.line(
                    "", "failed", f"{', '.join(failed)}; logs: {stage.worker_log}, {stage.server.log}"
                )
            else:
                tell_what_it_left(stage, time.monotonic() - began)
            if keep:
                stay(stage)
    except STAGE_ERRORS as exc:
        narrator.line("", "failed", f"starting the services: {exc}")
        return 1
    return 1 if failed else 0


async def _play(stage: Stage) -> list[str]:
    """Play the acts; returns the names of the calls that failed. After a failed act there is no next one."""
    try:
        for titles, lanes in ACTS:
            stage.narrator.title(*titles)
            results = await asyncio.gather(*(_lane(stage, lane) for lane in lanes))
            if failed := [call for calls in results for call in calls]:
                return failed
        return []
    finally:
        await stage.close()


async def _lane(stage: Stage, lane: Lane) -> list[str]:
    """Play scenes in turn; returns the names of the calls that failed."""
    failed = []
    for call, scene in lane:
        try:
            await scene(stage)
        except SCENE_ERRORS as exc:
            stage.narrator.line(call, "failed", f"{_step(exc)}: {exc}")
            failed.append(call)
    return failed


def _step(exc: BaseException) -> str:
    """Where in the scene it failed, as FILE:LINE of the scene's own code."""
    place = ""
    trace = exc.__traceback__
    while trace:
        path = trace.tb_frame.f_code.co_filename
        if "/demo/scenes/" in path:
            place = f"{path.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _quiet_library(stage: Stage) -> None:
    """What the LiveKit client of our callers has to say goes to a file: it would look like our own errors."""
    library = logging.getLogger("livekit")
    library.addHandler(logging.FileHandler(stage.data / "callers.log"))
    library.propagate = False
