"""
Ctrl-C: quiet, and never lost.

While modules are loaded there is nothing to put in order, and Python's KeyboardInterrupt would come out of
the middle of somebody's import, with a traceback: until a command says otherwise, Ctrl-C ends the process as
it ends programs that do not listen to it. A command that has something to stop says so first, and is told by
KeyboardInterrupt. Python swallows that exception, with a traceback, where nothing may fail (a callback of a
weak reference, as the import system has them, or `__del__`); there it is sent once more, a moment later.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

AGAIN_SECONDS = 0.01
"""How long after Ctrl-C was swallowed it comes again, in seconds."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """In this block Ctrl-C is KeyboardInterrupt; after it, while Python ends, nobody is told any more."""
    sys.unraisablehook = _not_swallowed
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.unraisablehook = sys.__unraisablehook__


def _not_swallowed(problem: "sys.UnraisableHookArgs") -> None:
    if problem.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(problem)
        return
    again = threading.Timer(
        AGAIN_SECONDS, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    )
    again.daemon = True
    again.start()
