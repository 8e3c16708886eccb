"""A fork server that begins as a copy of its parent, tried with multiprocessing as it is."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PARENT = """
import multiprocessing, os, signal, sys, threading
from agent import fork_server

made = []

def job(telling):
    telling.send([made == ["before"], os.environ.get("SAID"), os.getpgid(0) == os.getpgid(os.getppid())])

def ask():
    context = multiprocessing.get_context("forkserver")
    told, telling = context.Pipe(duplex=False)
    process = context.Process(target=job, args=(telling,))
    process.start()
    telling.close()
    print(*told.recv(), flush=True)
    process.join()
    print("exit", process.exitcode, flush=True)

if __name__ == "__main__":
    made.append("before")
    exec(sys.stdin.readline())
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "parent.py"
    path.write_text(PARENT)
    return path


def start(script: Path, steps: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(steps + "\n")
    process.stdin.flush()
    return process


def said(script: Path, steps: str) -> list[str]:
    out, errors = start(script, steps).communicate(timeout=60)
    assert errors == ""
    return out.splitlines()


def test_jobs_have_what_the_parent_had_and_the_environment_of_the_moment_they_are_needed(
    script: Path,
) -> None:
    """What was made before the fork is there without an import; a variable set after it is there as well."""
    steps = 'print(fork_server.fork_early()); os.environ["SAID"] = "after"; ask(); ask()'
    assert said(script, steps) == ["True", "True after True", "exit 0", "True after True", "exit 0"]


def test_without_it_jobs_begin_from_nothing(script: Path) -> None:
    """The baseline: a new interpreter, in which the parent has made nothing."""
    assert said(script, "ask()") == ["False None True", "exit 0"]


def test_a_fork_server_that_died_is_replaced_by_a_new_interpreter(script: Path) -> None:
    """Before it was ever needed, and after it served."""
    died = (
        "from multiprocessing import forkserver, process; pid = {pid};"
        " os.kill(pid, signal.SIGKILL); os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT); ask()"
    )
    unused = "int(open(f'/proc/self/task/{os.getpid()}/children').read())"
    assert said(script, "fork_server.fork_early();" + died.format(pid=unused))[-1] == "exit 0"
    served = "fork_server.fork_early(); ask();" + died.format(pid="forkserver._forkserver._forkserver_pid")
    assert said(script, served) == ["True None True", "exit 0", "False None True", "exit 0"]


def test_with_threads_nothing_is_forked(script: Path) -> None:
    """A fork would lose them and whatever they hold."""
    steps = "threading.Thread(target=threading.Event().wait, daemon=True).start(); "
    assert said(script, steps + "print(fork_server.fork_early()); ask()") == [
        "False",
        "False None True",
        "exit 0",
    ]


def test_what_waits_to_be_needed_ends_with_its_parent(script: Path) -> None:
    """Even with one that was killed, and whatever signals the group gets before."""
    steps = (
        "fork_server.fork_early(); print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True);"
        " sys.stdin.read()"
    )
    with start(script, steps) as parent:
        assert parent.stdout is not None
        waiting = os.pidfd_open(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
        ended, _, _ = select.select([waiting], [], [], 30.0)
        os.close(waiting)
    assert ended
