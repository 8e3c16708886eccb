"""Tools and agents of the test bundles: they do what nobody should."""

import asyncio
import ctypes
import gc
import os
import time

from livekit.agents import JobContext, get_job_context
from livekit.rtc import _ffi_client
from livekit.rtc._proto import ffi_pb2, room_pb2

import agent.job
from agent.agents import ConfiguredAgent
from agent.attempt import Attempt
from agent.claiming import claim
from agent.ending import Ending
from agent.settings import Settings

DIES_BEFORE_ITS_CLAIM = "dies-before-its-claim"
"""The session whose first process does."""


async def block() -> str:
    """Block the event loop, as badly written tools do."""
    time.sleep(60)  # noqa: ASYNC251
    return "done"


async def leak(words: str) -> str:
    """Fail with everything in the message that must not be told."""
    raise RuntimeError(f"no answer to {words!r} with {os.environ['CANARY_CODE']}")


async def linger(seconds: float) -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return "It is done now."


async def ignore_cancellation() -> str:
    """Go on whatever happens, as tools do that catch too much."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


async def crash(way: str) -> str:
    """End this process, or the session's story in it, in a way that nobody foresaw."""
    match way:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "raising":
            ending = next(found for found in gc.get_objects() if isinstance(found, Ending))
            ending._end.set_exception(RuntimeError("the entrypoint fails"))
        case "hold":
            ctypes.PyDLL(None).sleep(60)  # keeps the interpreter to itself, as a catastrophic pattern does
        case "reconnect":
            request = ffi_pb2.FfiRequest()
            request.simulate_scenario.room_handle = get_job_context().room._ffi_handle.handle  # type: ignore[union-attr]
            request.simulate_scenario.scenario = room_pb2.SIMULATE_FULL_RECONNECT
            _ffi_client.FfiClient.instance.request(request)
    await asyncio.sleep(60)
    return "still here"


class SlowToEnter(ConfiguredAgent):
    """An agent that takes the floor and then thinks about it."""

    async def on_enter(self) -> None:
        """A minute later."""
        await asyncio.sleep(60)
        await super().on_enter()


async def _claim_or_die(settings: Settings, ctx: JobContext) -> Attempt:
    died = settings.data / DIES_BEFORE_ITS_CLAIM
    if ctx.job.room.name == DIES_BEFORE_ITS_CLAIM and not died.exists():
        died.touch()
        os._exit(1)
    return await claim(settings, ctx)


agent.job.claim = _claim_or_die  # type: ignore[attr-defined]
