"""Situations that happen side by side on one worker, so that all of them take as long as the longest."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

import pytest

from tests.e2e.harness import RunningWorker

AT_ONCE = 4
"""Calls at once; more would make two cores the thing that is tested."""

Situation = Callable[[RunningWorker], Coroutine[Any, Any, None]]
Part = TypeVar("Part")


class Together:
    """
    The situations of one module, each a test of its own.

    The first one that runs lets all that were selected happen, in the order in which they are written; each
    test then reports what became of its own.

    Args:
        beside: What has to be open while they happen.
        at_once: How many happen at once.
    """

    def __init__(
        self, *beside: Callable[[], AbstractAsyncContextManager[Any]], at_once: int = AT_ONCE
    ) -> None:
        self._beside = beside
        self._at_once = at_once
        self._open: dict[Any, Any] = {}
        self._situations: dict[str, Situation] = {}
        self._outcomes: dict[str, BaseException | None] | None = None

    def situation(self, happens: Situation) -> Callable[..., None]:
        """A coroutine function that takes the worker, as a test."""
        self._situations[happens.__name__] = happens

        def test(worker: RunningWorker, request: pytest.FixtureRequest) -> None:
            self._report(worker, request)

        return _named(test, happens)

    def cases(
        self, **given: Any
    ) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
        """The same with a value more, as one test for each; the names are those of the tests."""

        def situation(happens: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
            for case, value in given.items():
                self._situations[f"{happens.__name__}[{case}]"] = functools.partial(happens, given=value)

            @pytest.mark.parametrize("case", list(given))
            def test(worker: RunningWorker, request: pytest.FixtureRequest, case: str) -> None:
                self._report(worker, request)

            return _named(test, happens)

        return situation

    def _report(self, worker: RunningWorker, request: pytest.FixtureRequest) -> None:
        if self._outcomes is None:
            selected = [item.name for item in request.session.items if item.path == request.path]
            self._outcomes = asyncio.run(self._all(worker, selected))
        if (failure := self._outcomes[request.node.name]) is not None:
            raise failure

    def beside(self, part: Callable[[], AbstractAsyncContextManager[Part]]) -> Part:
        """What is open meanwhile."""
        return cast(Part, self._open[part])

    async def _all(self, worker: RunningWorker, selected: list[str]) -> dict[str, BaseException | None]:
        places = asyncio.Semaphore(self._at_once)

        async def one(name: str) -> BaseException | None:
            async with places:
                began = time.monotonic()
                try:
                    await self._situations[name](worker)
                except Exception as failure:  # noqa: BLE001 - told by the test that it belongs to
                    return failure
                finally:
                    print(f"{time.monotonic() - began:5.1f} s  {name}")
            return None

        names = [name for name in self._situations if name in selected]
        async with contextlib.AsyncExitStack() as stack:
            for part in self._beside:
                self._open[part] = await stack.enter_async_context(part())
            outcomes = await asyncio.gather(*map(one, names))
        if any(outcomes):
            await worker.delete_rooms()  # a call that was left open must not fill the worker for other tests
        return dict(zip(names, outcomes, strict=True))


def _named(test: Callable[..., None], happens: Callable[..., Any]) -> Callable[..., None]:
    test.__name__, test.__doc__, test.__module__ = happens.__name__, happens.__doc__, happens.__module__
    return test
