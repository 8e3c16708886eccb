"""Tools of the test bundles."""

import time


async def block() -> str:
    """Block the event loop, as badly written tools do."""
    time.sleep(60)  # noqa: ASYNC251
    return "done"
