"""What the shared fixtures promise."""

import asyncio
import os
import time

import pytest


def test_the_developers_environment_does_not_reach_tests() -> None:
    """No variable of ours or of a provider is set."""
    left = [
        name
        for name in os.environ
        if name.startswith(("LIVEKIT_", "REDIS_", "AGENT_"))
        or name.endswith("_API_KEY")
        or name == "DATABASE_URL"
    ]
    assert left == []


@pytest.mark.virtual_time
async def test_an_hour_of_virtual_time_takes_none() -> None:
    """Timers fire in their order, at their exact times, without waiting."""
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    order: list[tuple[float, str]] = []
    loop.call_later(3600, lambda: order.append((loop.time(), "hour")))
    loop.call_later(60, lambda: order.append((loop.time(), "minute")))
    await asyncio.sleep(7200)
    assert order == [(60.0, "minute"), (3600.0, "hour")]
    assert loop.time() == 7200.0
    assert time.monotonic() - began < 60


async def test_other_tests_have_real_time() -> None:
    """Without the marker the loop's clock is the machine's."""
    assert abs(asyncio.get_running_loop().time() - time.monotonic()) < 60
