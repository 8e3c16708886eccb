"""A tool whose every failure tells what must not be told: one exception for each place that prints them."""

import asyncio
import multiprocessing
import os
import sys
import threading
import warnings

SPILLED = "spilled in the"
"""Stands in each message, so that a test knows that it was printed."""


def fail(where: str) -> None:
    """Fail with a key in the message."""
    raise RuntimeError(f"{SPILLED} {where}: {os.environ['CANARY_API_KEY']}")


class FailsWhenGone:
    """Fails when nobody holds it any more, where nobody can catch it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __del__(self) -> None:
        fail(self.where)


async def spill(words: str) -> str:
    """Leave exceptions behind that nobody catches, in this job's loop, task, thread and collector."""
    loop = asyncio.get_running_loop()
    loop.call_soon(fail, "loop")
    abandoned = loop.create_task(asyncio.to_thread(fail, "task"))
    await asyncio.wait({abandoned})
    del abandoned
    thread = threading.Thread(target=fail, args=("thread",))
    thread.start()
    thread.join()
    FailsWhenGone("collector")
    warnings.warn(f"{SPILLED} warning: {os.environ['CANARY_API_KEY']}", stacklevel=1)
    print(f"{SPILLED} print: {os.environ['CANARY_API_KEY']}", file=sys.stderr)
    return words


if multiprocessing.parent_process() is None and "CANARY_API_KEY" in os.environ:
    FailsWhenGone("parent")
    threading.Thread(target=fail, args=("parent's thread",)).start()
