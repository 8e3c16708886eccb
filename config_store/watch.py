"""Watching the bundles folder: a saved file is compiled and published before the next call needs it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
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

OnReport = Callable[[CompileReport], Awaitable[None] | None]


async def watch_bundles(
    compiler: Compiler, *, on_report: OnReport, stop: asyncio.Event | None = None
) -> None:
    """
    Compile on change, until `stop` is set or the task is cancelled.

    Events only say where to look; what changed is found by comparing the folder with what was compiled. So it
    follows editors that replace files, links that are swapped as a whole, and a folder that vanishes and
    returns. Compiling happens in a thread.

    Args:
        compiler: Has run once.
        on_report: Called with the report of every compilation that followed a change.
        stop: Ends the watch; None: only cancelling does.
    """
    ended = stop if stop is not None else asyncio.Event()
    root = compiler.folder.root
    while not ended.is_set():
        identity = _identity(root)
        await _refresh(compiler, on_report, None)
        if identity is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)
            continue
        is_look_due = True  # what was saved between the look above and the beginning of the watch
        with contextlib.suppress(FileNotFoundError):  # it vanished before the watch began
            async for changes in awatch(
                root,
                step=_STEP_MS,
                debounce=_DEBOUNCE_MS,
                stop_event=ended,
                rust_timeout=int(_LOOK_SECONDS * 1000),
                yield_on_timeout=True,
                watch_filter=None,
                ignore_permission_denied=True,
            ):
                if _identity(root) != identity:
                    break
                paths = {Path(path) for _, path in changes}
                if paths:
                    # a new folder is watched only once it was seen; what is saved in it before tells nobody
                    is_look_due = is_look_due or compiler.folder.plain_files(paths) is None
                    await _refresh(compiler, on_report, paths)
                elif is_look_due:
                    is_look_due = False
                    await _refresh(compiler, on_report, None)


async def _refresh(compiler: Compiler, on_report: OnReport, paths: Iterable[Path] | None) -> None:
    found = await asyncio.to_thread(compiler.refresh, paths)
    if found is None:
        return
    answer = on_report(found)
    if inspect.isawaitable(answer):
        await answer


def _identity(root: Path) -> tuple[int, int] | None:
    """Which folder a path leads to; None when it leads to none."""
    try:
        found = root.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if root.is_dir() else None
