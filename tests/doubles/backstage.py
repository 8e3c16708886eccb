"""Doubles on a thread of their own, for a worker that outlives the loop of one test."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.doubles.server import Double


class Backstage:
    """`with Backstage(one, two):` serves the doubles until the block is left."""

    def __init__(self, *doubles: Double) -> None:
        self._doubles = doubles
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="doubles", daemon=True)
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> None:
        for double in self._doubles:
            await self._stack.enter_async_context(double)
