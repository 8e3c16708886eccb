"""Ctrl-C at any moment: no traceback, nothing lost."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SWALLOWED = """
import os, signal, time
from agent.cli.interrupts import interruptible

class Ended:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100): pass

try:
    with interruptible():
        Ended()
        time.sleep(60)
except KeyboardInterrupt:
    print("told")
"""


@pytest.mark.parametrize("command", ["demo", "start"])
@pytest.mark.parametrize("module", ["typer", "agent.cli.output", "numpy", "livekit.rtc"])
def test_ctrl_c_while_modules_are_loaded_is_quiet(command: str, module: str, tmp_path: Path) -> None:
    """Wherever in the imports it comes, the process is gone without a traceback or another word."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "agent", command],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LIVEKIT_URL": "ws://127.0.0.1:9",
            "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32, "TMPDIR": str(tmp_path),
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if re.search(rf"\| +{re.escape(module)}$", line):
                process.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail(f"{module} is not loaded by `agent {command}`")
        rest = [line for line in output if not line.startswith("import time:")]
    assert process.wait(30) in (-signal.SIGINT, 130)
    assert rest == []


def test_ctrl_c_that_python_swallows_comes_again() -> None:
    """KeyboardInterrupt in a place where nothing may fail is not printed and not lost."""
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")
