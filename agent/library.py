"""
All uses of livekit-agents' private parts, in one place, and a check that the installed version has them.

livekit-agents is pinned exactly because of this module. Each function says what the library lacks in public.
"""

import asyncio
import contextlib
import importlib
import importlib.metadata
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, Final

import numpy as np
from livekit import rtc
from livekit.agents import AgentServer, AgentSession, JobContext, llm
from livekit.agents.ipc.job_executor import JobExecutor as JobExecutor
from livekit.agents.voice import agent_activity
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateStream
from livekit.rtc import _ffi_client
from livekit.rtc._proto import ffi_pb2

SILENT_AMPLITUDE: Final = 0.005
"""Of full scale, root mean square: below it a voice pauses, as for the library."""

PARTS: Final = (
    ("livekit.agents.job:JobContext", "_on_shutdown"),
    ("livekit.agents.ipc.job_proc_lazy_main:_JobProc", "_shutdown_fut"),
    ("livekit.agents.ipc.proc_pool:ProcPool", "processes"),
    ("livekit.agents.ipc.job_proc_executor:ProcJobExecutor", "running_job"),
    ("livekit.agents.worker:AgentServer", "_proc_pool"),
    ("livekit.agents.worker:AgentServer", "_connecting"),
    ("livekit.agents.worker:AgentServer", "_connection_failed"),
    ("livekit.agents.worker:AgentServer", "_draining"),
    ("livekit.agents.worker:AgentServer", "_update_worker_status"),
    ("livekit.agents.voice.agent_activity:", "_SpeechHandleContextVar"),
    ("livekit.agents.voice.room_io:RoomIO", "_user_tr_output"),
    ("livekit.agents.voice.transcription._speaking_rate:SpeakingRateStream", "_compute_speaking_rate"),
    ("livekit.rtc._ffi_client:FfiClient", "_instance"),
    ("livekit.rtc.track_publication:RemoteTrackPublication", "_ffi_handle"),
    ("livekit.rtc._proto.ffi_pb2:FfiRequest", "ENABLE_REMOTE_TRACK_PUBLICATION_FIELD_NUMBER"),
    ("livekit.rtc._ffi_client:", "get_ffi_lib"),
)
"""The private parts that this module uses: `module:class`, and the name in it."""


def missing_parts() -> list[str]:
    """What the installed livekit-agents lacks of what this module uses; empty when all is there."""
    return [f"{place}.{name}".replace(":.", ".") for place, name in PARTS if not _has(place, name)]


def _has(place: str, name: str) -> bool:
    """Whether the class or module has this name, or a method of the class uses an attribute of that name."""
    module, _, owner = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        found = getattr(found, owner) if owner else found
    except (ImportError, AttributeError):
        return False
    return hasattr(found, name) or any(_mentions(member, name) for member in vars(found).values())


def _mentions(member: object, name: str) -> bool:
    code = getattr(inspect.unwrap(member) if callable(member) else member, "__code__", None)
    codes = [code] if isinstance(code, CodeType) else []
    for inner in codes:
        if name in inner.co_names:
            return True
        codes += [constant for constant in inner.co_consts if isinstance(constant, CodeType)]
    return False


def warm_up() -> None:
    """
    Import and make what the library itself prepares before a fork; the library does it again for nothing.

    It comes last there, and what it loads would push out of the interpreter's caches what a rehearsal left.
    """
    from livekit.agents.ipc import _preload  # noqa: F401 - importing it is what does it


def map_native() -> None:
    """Load the native library, so that processes forked from this one share it. Starts no runtime."""
    _ffi_client.get_ffi_lib()


@contextlib.contextmanager
def without_native_runtime() -> Iterator[None]:
    """
    Refuse to start the native library's runtime in this block: it does not survive a fork, and a fork server
    in which it runs makes jobs that can join no room. What would start it fails instead.

    Raises:
        RuntimeError: Out of whatever in the block would have started it.
    """
    start = _ffi_client.FfiClient.__init__

    def refuse(self: _ffi_client.FfiClient) -> None:  # noqa: ARG001
        raise RuntimeError("the native library's runtime would start before the fork")

    _ffi_client.FfiClient.__init__ = refuse  # type: ignore[method-assign,unused-ignore]
    try:
        yield
    finally:
        _ffi_client.FfiClient.__init__ = start  # type: ignore[method-assign]


def on_shutdown_request(ctx: JobContext, callback: Callable[[str], None]) -> None:
    """
    Call back when the library has decided that this job ends: room lost, dispatch deleted, worker closing.

    The public shutdown callbacks run only after the entrypoint has returned or 15 s have passed; our
    entrypoint is the whole session, so it has to hear of it at once. The future is reached through the
    closure that `JobContext` was given (livekit-agents 1.8.9, ipc/job_proc_lazy_main.py, `_on_ctx_shutdown`).
    """
    owner = inspect.getclosurevars(ctx._on_shutdown).nonlocals["self"]
    future: asyncio.Future[Any] = owner._shutdown_fut
    future.add_done_callback(
        lambda done: None if done.cancelled() else callback(str(getattr(done.result(), "reason", "")))
    )


def on_process_closed(server: AgentServer, callback: Callable[[JobExecutor], None]) -> None:
    """
    Call back in the parent when a job process is gone, however it ended; within about 20 ms of a SIGKILL.

    The pool exists only once `run()` has begun, so register from the `worker_started` event.
    """
    server._proc_pool.on("process_closed", callback)


def job_process_id(executor: JobExecutor) -> int | None:
    """The process id of a job's process; None once it is gone."""
    pid = getattr(executor, "pid", None)
    return pid if isinstance(pid, int) else None


def tell_job(pid: int, signal_number: int) -> None:
    """
    Tell a job's process of the drain, in one of the signals of `agent.draining`.

    A signal, because it reaches the process whatever Redis does, and because the library's own message to a
    job (`ShutdownRequest`) ends it without a chance to say goodbye.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def running_processes(server: AgentServer) -> list[JobExecutor]:
    """The processes that serve a job now."""
    return [executor for executor in server._proc_pool.processes if executor.running_job]


def is_registered(server: AgentServer) -> bool:
    """Whether LiveKit knows this worker now; the library's own health answers 200 while it does not."""
    return server.id != "unregistered" and not server._connecting and not server._connection_failed


async def announce_full(server: AgentServer) -> None:
    """Tell LiveKit to send no more jobs, without waiting for those that run."""
    server._draining = True
    await server._update_worker_status()


def current_speech(session: AgentSession[Any]) -> str | None:
    """
    The id of the speech that the running task belongs to; None outside of one.

    A node (`tts_node`, `transcription_node`) is not told which speech it serves; `session.current_speech` is
    the one being *played*, which may be an earlier one.
    """
    handle = agent_activity._SpeechHandleContextVar.get(None) or session.current_speech
    return handle.id if handle is not None else None


def caption_as(session: AgentSession[Any], identity: str) -> None:
    """
    Give the words that are understood from now on to this participant, in the captions that clients get.

    The public `set_participant` would listen to that one, take their chat texts and speak to them as well.
    """
    if (output := session.room_io._user_tr_output) is not None:
        output.set_participant(identity)


def pace_captions_by_silence() -> None:
    """
    In this process and those forked from it, captions go on while the voice sounds and wait while it pauses.

    The library estimates how fast the voice speaks from 80 spectra for each 0.1 s of it, on the event loop,
    for a whole answer at once when the voice delivers faster than it speaks: 64 ms for 6.5 s of speech
    (livekit-agents 1.8.9). In that time the agent hears and sends nothing, and with several calls on a
    machine it is several times as long.
    """

    def sounds(_: Any, audio: Any, sample_rate: int) -> float:
        newest = audio[-sample_rate // 10 :]
        return float(np.dot(newest, newest) > newest.size * SILENT_AMPLITUDE**2)

    SpeakingRateStream._compute_speaking_rate = sounds  # type: ignore[method-assign,assignment]


def keep_voice(session: AgentSession[Any]) -> None:
    """
    Let an answer be interrupted before the client takes the agent's voice, without the voice being lost.

    The output awaits one future for that, bare: cancelling the first answer cancels the future, and every
    later answer ends at once, counts as heard and makes no sound (livekit-agents 1.8.9).
    """
    output, subscribed = session.output.audio, session.room_io.subscribed_fut
    if output is None or subscribed is None:
        return
    capture_frame = output.capture_frame

    async def capture_when_subscribed(frame: rtc.AudioFrame) -> None:
        await asyncio.shield(subscribed)
        await capture_frame(frame)

    output.capture_frame = capture_when_subscribed  # type: ignore[method-assign]


def switch(publication: rtc.RemoteTrackPublication, on: bool) -> None:
    """
    Let LiveKit send a subscribed track, or stop sending it; it stays subscribed.

    Other SDKs call this `setEnabled`; the Python SDK has the request and no method for it (livekit 1.1.21).
    """
    request = ffi_pb2.FfiRequest()
    request.enable_remote_track_publication.track_publication_handle = publication._ffi_handle.handle
    request.enable_remote_track_publication.enabled = on
    _ffi_client.FfiClient.instance.request(request)


def speech_items(handle: Any) -> list[llm.ChatItem]:
    """What a speech has added to the conversation so far."""
    return list(handle.chat_items)


def has_native_runtime() -> bool:
    """Whether the native library's runtime was started in this process."""
    return _ffi_client.FfiClient._instance is not None


if __name__ == "__main__":
    lacking = missing_parts()
    installed = importlib.metadata.version("livekit-agents")
    sys.stdout.write(
        f"livekit-agents {installed} lacks {', '.join(lacking) or 'nothing that is used of it'}\n"
    )
    sys.exit(1 if lacking else 0)
