"""
Child processes that end with the process that started them, however that one ends.

The starter's own clean-up does not run when it is killed with SIGKILL. On Linux the kernel can be asked to
signal a child when its parent is gone; the request has to be made in the child, so this file is also run as
a script, with nothing but the standard library, and then replaces itself by the real command. Elsewhere than
on Linux the command runs untethered.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h; the setting outlives execve."""


def start_tethered(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | int,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> "subprocess.Popen[bytes]":
    """
    Start a command that gets `death_signal` when the calling process is gone.

    The kernel watches the *thread* that starts the child, so call this from a thread that lives as long as
    the process: the main thread. The child has a process group of its own: Ctrl-C in the terminal reaches the
    starter alone, who then ends the child in its own order.

    Args:
        command: Absolute program and its arguments.
        output: Where stdout and stderr go: a file or `subprocess.PIPE`.
        environment: The child's environment; None: the same as ours.
        folder: The child's working folder; None: ours.
        death_signal: What the child gets when we are gone without having ended it.

    Raises:
        OSError: The program cannot be started.
    """
    words = [str(word) for word in command]
    if sys.platform == "linux":
        words = [
            sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal)), *words,
        ]  # fmt: skip
    return subprocess.Popen(  # noqa: S603 - the command is ours
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment) if environment is not None else None,
        cwd=folder,
        process_group=0,
    )


def end_process(process: "subprocess.Popen[bytes]", patience: float) -> int:
    """
    Ask a process to end with SIGTERM, kill it after `patience` seconds, and return its exit status.

    It is safe to call for a process that has ended, and again after Ctrl-C interrupted an earlier call.
    """
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
        except BaseException:  # Ctrl-C while we wait: nothing is left behind all the same
            process.kill()
            process.wait()
            raise
    return process.wait()


def _run(parent: int, death_signal: int, command: list[str]) -> None:
    """Tether this process to its parent and become the command."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # the parent died before the kernel was asked to tell us
        os._exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as exc:
        sys.stderr.write(f"cannot start {command[0]}: {exc.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    _run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
