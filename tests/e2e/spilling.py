"""
A tool whose every failure tells what must not be told: one exception for each place that prints them.

A type of exception for each place, whose name tells that it was printed, and a message that nobody may see.
"""

import asyncio
import logging
import multiprocessing
import os
import sys
import threading
import warnings

SPILLED = "spilled in the"
"""Stands in each message, so that a test knows where it was printed."""
CAUGHT_NOWHERE = ("Loop", "Task", "Thread", "Collector", "Parent", "ParentThread")
"""Places whose exceptions are told of by their types, `SpilledInLoop` and so on."""
_TYPES = {where: type(f"SpilledIn{where}", (RuntimeError,), {}) for where in CAUGHT_NOWHERE}


def fail(where: str, words: str = "") -> None:
    """Fail with words and a key in the message."""
    raise _TYPES[where](f"{SPILLED} {where}: {words} {os.environ['CANARY_CODE']}")


class FailsWhenGone:
    """Fails when nobody holds it any more, where nobody can catch it."""

    def __init__(self, where: str, words: str = "") -> None:
        self.where, self.words = where, words

    def __del__(self) -> None:
        fail(self.where, self.words)


class _Shy:
    """Can be neither shown nor sent to another process."""

    def __repr__(self) -> str:
        raise RuntimeError(f"{SPILLED} repr: {os.environ['CANARY_CODE']}")

    def __reduce__(self) -> str:
        raise RuntimeError(f"{SPILLED} pickle: {os.environ['CANARY_CODE']}")


async def spill(words: str) -> str:
    """Leave exceptions behind that nobody catches, in this job's loop, task, thread and collector."""
    loop = asyncio.get_running_loop()
    loop.call_soon(fail, "Loop", words)
    abandoned = loop.create_task(asyncio.to_thread(fail, "Task", words))
    await asyncio.wait({abandoned})
    del abandoned
    thread = threading.Thread(target=fail, args=("Thread", words))
    thread.start()
    thread.join()
    FailsWhenGone("Collector", words)
    warnings.warn(f"{SPILLED} warning: {os.environ['CANARY_CODE']}", stacklevel=1)
    logging.getLogger("some_library").error("an odd field", extra={"of": _Shy()})
    logging.getLogger(__name__).warning("%s line: %s", SPILLED, os.environ["CANARY_CODE"])
    print(f"{SPILLED} print: {os.environ['CANARY_CODE']}", file=sys.stderr)
    return words


if multiprocessing.parent_process() is None and "CANARY_CODE" in os.environ:
    FailsWhenGone("Parent")
    threading.Thread(target=fail, args=("ParentThread",)).start()
