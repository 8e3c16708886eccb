"""Ending tasks that talk to Redis."""

import asyncio

from agent.stores import end_task


async def test_a_task_that_misses_its_cancellation_is_told_again() -> None:
    """As redis-py does under Python 3.11: it takes a cancellation for a timeout, and goes on."""
    missed = 0

    async def stubborn() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if missed == 2:
                    raise
                missed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end_task(task)

    assert task.cancelled()
    assert missed == 2
    await end_task(task)
