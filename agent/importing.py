"""Whether AGENT_MODULES can be imported: tried in another process, before any call needs them."""

import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

START_SECONDS = 10.0
"""Longest time from its beginning that the start of a worker waits for modules to be imported."""
LIFE_SECONDS = 60
"""Longest life of the process that imports, so that a module that hangs leaves nothing of a killed worker."""


class Trial:
    """
    An import of modules that nothing is left of, running from here on beside this process.

    Args:
        modules: The modules, by name.
        how: `fork` costs only what the modules import themselves, and is for a process with one thread;
            `spawn` begins from nothing.
    """

    def __init__(self, modules: Sequence[str], how: Literal["fork", "spawn"]) -> None:
        context: Any = multiprocessing.get_context(how)
        self._began = time.monotonic()
        self._told: Connection
        self._told, telling = context.Pipe(duplex=False)
        self._process = context.Process(target=_import, args=(tuple(modules), telling), daemon=True)
        self._process.start()
        telling.close()
        self.unfinished: str | None = None
        """The module that was still being imported when the time was up."""

    def problems(self, seconds: float) -> list[str]:
        """
        What is wrong with the modules, one line each: the module, the place, the cause and what to do.

        Args:
            seconds: How long the import may take from its beginning.
        """
        found: list[str] = []
        module = ""
        try:
            while self._told.poll(max(0.0, self._began + seconds - time.monotonic())):
                module, problem = self._told.recv()
                if not module:
                    return found
                found += [problem] if problem else []
            self.unfinished = module
        except EOFError:
            self._process.join()
            what = f"module '{module}' of AGENT_MODULES ends the process that imports it"
            found.append(f"{what} (exit status {self._process.exitcode}); see `python -c 'import {module}'`")
        finally:
            self.close()
        return found

    def close(self) -> None:
        """End it, whatever it is doing; safe to call twice, and while another thread waits for it."""
        self._process.kill()
        self._process.join()


def _import(modules: Sequence[str], telling: Connection) -> None:
    """Import each, tell of those that raise, and end without what modules registered for the end."""
    signal.alarm(LIFE_SECONDS)
    # what they print is printed when the worker imports them
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    for module in modules:
        telling.send((module, ""))
        try:
            importlib.import_module(module)
        except BaseException as exc:  # noqa: BLE001 - SystemExit, too, would end the worker's fork server
            telling.send((module, _problem(module, exc)))
    telling.send(("", ""))
    os._exit(0)


def _problem(module: str, exc: BaseException) -> str:
    """The module, the line of it that was reached and the one that raised, and the exception."""
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if not f.filename.startswith("<frozen")]
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames[2:]]  # without ours and importlib's
    said = str(exc)
    if isinstance(exc, SyntaxError) and exc.filename:
        places.append(f"{exc.filename}:{exc.lineno}")
        said = exc.msg
    cause = ": ".join(filter(None, (type(exc).__name__, " ".join(said.split())[:200])))
    place = ", at ".join(dict.fromkeys((*places[:1], *places[-1:])))
    cure = "correct it, or take it out of AGENT_MODULES" if place else "is its folder on PYTHONPATH?"
    where = f"{place}: " if place else ""
    return f"module '{module}' of AGENT_MODULES cannot be imported: {where}{cause}; {cure}"
