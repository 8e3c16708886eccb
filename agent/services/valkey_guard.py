"""
Keeps one Valkey running for as long as anybody uses it, then stops it.

Run as a script with nothing but the standard library (`valkey_guard.py FOLDER PROGRAM ARGUMENT…`), so that it
starts fast and stays small. Every user holds a shared lock on the file `users`; the kernel drops a lock when
its holder ends, also by SIGKILL. So the guard waits for the exclusive lock: once it has it, nobody is left.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def _die_with_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def main(folder: Path, command: list[str]) -> int:
    """Run Valkey until the last user is gone; returns its exit status."""
    with (folder / "guard").open("a") as presence, (folder / "users").open("a") as users:
        fcntl.flock(presence, fcntl.LOCK_EX)  # held for life, across the fork: tells that a guard is there
        if os.fork():
            os._exit(0)  # the starter need not wait for us, nor bury us
        server = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_guard,
        )

        def end_when_unused() -> None:
            fcntl.flock(users, fcntl.LOCK_EX)
            server.terminate()  # Valkey writes what it has and closes its files

        threading.Thread(target=end_when_unused, daemon=True).start()
        status = server.wait()
        # without this the thread's lock would end only with the interpreter
        sys.stdout.flush()
        os._exit(status if status >= 0 else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
