"""Tools that harm the process they run in."""

import asyncio

HOARD_BYTES = 700 * 1024 * 1024

_kept: list[bytearray] = []


async def hoard() -> str:
    """Take more memory than a job may have, and keep it."""
    _kept.append(await asyncio.to_thread(bytearray, HOARD_BYTES))
    for start in range(0, HOARD_BYTES, 64 * 1024 * 1024):  # touched, so that it is really there
        _kept[-1][start : start + 64 * 1024 * 1024] = b"\1" * (64 * 1024 * 1024)
        await asyncio.sleep(0)
    await asyncio.sleep(60)
    return "done"
