"""Tools of the test bundles."""

import os
import time


async def block() -> str:
    """Block the event loop, as badly written tools do."""
    time.sleep(60)  # noqa: ASYNC251
    return "done"


async def leak(words: str) -> str:
    """Fail with everything in the message that must not be told."""
    raise RuntimeError(f"no answer to {words!r} with {os.environ['CANARY_API_KEY']}")
