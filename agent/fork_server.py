"""
The fork server of job processes begins as a copy of the worker's parent, so that both share what they import.

multiprocessing starts its fork server as a new interpreter, which imports everything a second time: a second
of the start, and some 50 MB that nobody shares. Here it is forked from the parent instead, in the one moment
in which that is safe, before there are threads, and waits until multiprocessing would have started it.
"""

import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn

from agent.settings import passed_on, take_over

_MOST_DESCRIPTORS = 16
"""More than multiprocessing hands to its fork server: two, and three since Python 3.14."""


def fork_early() -> bool:
    """
    Fork what becomes the fork server of this process; to be called once, after the imports.

    Returns:
        False: nothing was done, since there are threads already (of a profiler, say), which a fork loses.
        The fork server is a new interpreter then, as is one that is needed after the first has died.
    """
    if _threads() > 1:
        return False
    gc.freeze()  # collections leave alone what both have in common: to look at an object is to write to it
    near, far = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        near.close()
        _serve_and_exit(far)
    far.close()
    start = util.spawnv_passfds

    def begin(path: Any, words: Any, descriptors: Any) -> int:
        if "multiprocessing.forkserver" not in words[-1]:
            return start(path, words, descriptors)
        util.spawnv_passfds = start
        try:
            _tell(near, words[-1], descriptors)
        except OSError:  # it was killed meanwhile
            return start(path, words, descriptors)
        return pid

    util.spawnv_passfds = begin  # type: ignore[assignment]  # of the path and the words
    return True


def _threads() -> int:
    """Those that Python does not know of count, where the system tells."""
    with_native = Path("/proc/self/task")
    return len(list(with_native.iterdir())) if with_native.exists() else threading.active_count()


def _tell(near: socket.socket, code: str, descriptors: list[int]) -> None:
    """What a new interpreter would get: code to run, descriptors under their numbers, and the environment."""
    with near:
        told = {"code": code, "descriptors": descriptors, "environment": passed_on()}
        socket.send_fds(near, [b"0"], descriptors)
        near.sendall(json.dumps(told).encode())


def _serve_and_exit(far: socket.socket) -> NoReturn:
    """Whatever happens, this process does not go on as a copy of the parent."""
    status = 1
    try:
        # a signal to the whole group is the parent's to answer
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _serve(far)
        status = 0
    except SystemExit as exc:  # how multiprocessing's fork server ends
        status = exc.code if isinstance(exc.code, int) else 0
    except BaseException:  # noqa: BLE001 - see above
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(far: socket.socket) -> None:
    """Wait for what multiprocessing says and do it; return when the parent ends before."""
    with far:
        first, received, _, _ = socket.recv_fds(far, 1, _MOST_DESCRIPTORS)
        if not first:
            return
        told = json.loads(b"".join(iter(lambda: far.recv(65536), b"")))
    above = max(*told["descriptors"], *received) + 1
    for place, descriptor in enumerate(received):  # none may take the number of one that has yet to move
        os.dup2(descriptor, above + place)
        os.close(descriptor)
    for place, wanted in enumerate(told["descriptors"]):
        os.dup2(above + place, wanted)
        os.close(above + place)
    take_over(told["environment"])
    exec(told["code"], {"__name__": "__main__"})  # noqa: S102 - multiprocessing's own, as for `python -c`
