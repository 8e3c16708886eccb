"""Watching the bundles folder: a saved file is compiled and published before the next call needs it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from config_store.compiled import Compiler, CompileReport

_STEP_MS = 25
"""Quiet time in milliseconds after which a burst of events counts as over; editors save in several steps."""
_DEBOUNCE_MS = 200
"""Longest time in milliseconds that a burst of events is waited for."""
_LOOK_SECONDS = 0.25
"""How often it is looked whether the folder itself is away, back, or another one."""
_FULL_LOOK_SECONDS = 1.0
"""How often all files are looked at without any event, where that is quick."""
_FULL_LOOK_SHARE = 50
"""A look at all files happens at most once in this many times its own duration: 2 % of a core."""

logger = logging.getLogger(__name__)

OnReport = Callable[[CompileReport], Awaitable[None] | None]


async def watch_bundles(
    compiler: Compiler, *, on_report: OnReport, stop: asyncio.Event | None = None
) -> None:
    """
    Compile on change, until `stop` is set or the task is cancelled.

    Events only say where to look; what changed is found by comparing the folder with what was compiled, and
    an event that is lost is made up for by looking at everything about once a second. So it follows editors
    that replace files, links that are swapped as a whole, and a folder that vanishes and returns. Compiling
    happens in a thread. What cannot be published (a full disk) is logged and tried again.

    Args:
        compiler: Has run once.
        on_report: Called with the report of every compilation that followed a change.
        stop: Ends the watch; None: only cancelling does.
    """
    ended = stop if stop is not None else asyncio.Event()
    look = _Look(compiler, on_report)
    root = compiler.folder.root
    while not ended.is_set():
        identity = _identity(root)
        await look.at_all()
        if identity is not None:
            # it may have vanished again, or the system may have no watches left: then only looking helps
            with contextlib.suppress(OSError):
                await _follow(look, ended, identity)
                continue
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), max(_LOOK_SECONDS, look.pause - _FULL_LOOK_SECONDS))


async def _follow(look: _Look, ended: asyncio.Event, identity: tuple[int, int]) -> None:
    """Follow the events of one folder, as long as the path leads to it."""
    folder = look.compiler.folder
    is_look_due = True  # what was saved between the look before and the beginning of the watch
    async for changes in awatch(
        folder.root,
        step=_STEP_MS,
        debounce=_DEBOUNCE_MS,
        stop_event=ended,
        rust_timeout=int(_LOOK_SECONDS * 1000),
        yield_on_timeout=True,
        watch_filter=None,
    ):
        if _identity(folder.root) != identity:
            return
        paths = {Path(path) for _, path in changes}
        if paths:
            # a new folder is watched only once it was seen; what is saved in it before tells nobody
            is_look_due = is_look_due or folder.plain_files(paths) is None
            await look.at(paths)
        elif is_look_due or look.compiler.is_waiting or look.is_overdue():
            is_look_due = False
            await look.at_all()


class _Look:
    """Compiles what changed, and keeps the time of looks at everything."""

    def __init__(self, compiler: Compiler, on_report: OnReport) -> None:
        self.compiler = compiler
        self.pause = _FULL_LOOK_SECONDS
        self._on_report = on_report
        self._last = 0.0

    def is_overdue(self) -> bool:
        """Whether everything should be looked at again, in case an event was lost."""
        return asyncio.get_running_loop().time() - self._last >= self.pause

    async def at_all(self) -> None:
        """Look at every file."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._refresh(None)
        self._last = loop.time()
        self.pause = max(_FULL_LOOK_SECONDS, _FULL_LOOK_SHARE * (self._last - began))

    async def at(self, paths: Iterable[Path]) -> None:
        """Look at some files."""
        await self._refresh(paths)

    async def _refresh(self, paths: Iterable[Path] | None) -> None:
        try:
            found = await asyncio.to_thread(self.compiler.refresh, paths)
        except OSError as exc:
            self.compiler.forget()
            logger.warning("bundles could not be published: %s", exc.strerror or type(exc).__name__)
            return
        if found is None:
            return
        answer = self._on_report(found)
        if inspect.isawaitable(answer):
            await answer


def _identity(root: Path) -> tuple[int, int] | None:
    """Which folder a path leads to; None when it leads to none."""
    try:
        found = root.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if root.is_dir() else None
