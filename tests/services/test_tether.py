"""Children that end with their starter."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.services.tether import end_process, start_tethered

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help exists on Linux only")

STARTER = """
import sys, time
from agent.services.tether import start_tethered
child = start_tethered([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"],
                       output=sys.stdout.fileno())
print(child.pid, flush=True)
time.sleep(600)
"""


def ended(pid: int, within: float = 10.0) -> bool:
    """Whether a process that is not our child is gone before the limit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within)[0])
    finally:
        os.close(handle)


def test_a_child_does_not_survive_the_sigkill_of_its_starter() -> None:
    """When the starter is killed with SIGKILL, so that no code of it runs, its child is gone as well."""
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    lines = {starter.stdout.readline().strip(), starter.stdout.readline().strip()}
    (pid,) = lines - {"up"}
    starter.kill()
    starter.wait()
    assert ended(int(pid))
    starter.stdout.close()


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """end_process returns after its patience even when the child does not listen to SIGTERM."""
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    child = start_tethered([sys.executable, "-c", code], output=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"deaf\n"
    assert end_process(child, patience=0.1) == -signal.SIGKILL
    child.stdout.close()


def test_the_exit_status_of_an_ended_child_is_kept() -> None:
    """end_process of a child that has ended by itself reports the child's own exit status."""
    child = start_tethered([sys.executable, "-c", "raise SystemExit(7)"], output=subprocess.DEVNULL)
    child.wait()
    assert end_process(child, patience=1.0) == 7
    assert end_process(child, patience=1.0) == 7


def test_a_program_that_is_not_there_is_named() -> None:
    """A missing program ends with status 127 and one line that names it."""
    child = start_tethered(["/nowhere/livekit-server"], output=subprocess.PIPE)
    output, _ = child.communicate()
    assert child.returncode == 127
    assert output == b"cannot start /nowhere/livekit-server: No such file or directory\n"
