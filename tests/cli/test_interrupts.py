"""Ctrl-C at any moment, SIGTERM before a worker is ready: no traceback, nothing lost."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

BUNDLE = """
modality_profile: text_only
models: {llm: {provider: offline}}
agents: {a: {instructions: You help.}}
"""

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


def command(name: str, folder: Path, *options: str, **more: str) -> "subprocess.Popen[str]":
    """`agent NAME` in this folder, with settings for a LiveKit that is not there unless `more` says where."""
    return subprocess.Popen(
        [sys.executable, *options, "-m", "agent", name],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LIVEKIT_URL": "ws://127.0.0.1:9",
            "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32, "TMPDIR": str(folder), **more,
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def signalled_in_imports(
    name: str, module: str, number: signal.Signals, folder: Path
) -> tuple[int, list[str]]:
    """Exit status and further output of `agent NAME` that gets this signal once it has loaded the module."""
    process = command(name, folder, "-X", "importtime")
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if re.search(rf"\| +{re.escape(module)}$", line):
                process.send_signal(number)
                break
        else:
            pytest.fail(f"{module} is not loaded by `agent {name}`")
        rest = [line for line in output if not line.startswith("import time:")]
    return process.wait(30), rest


@pytest.mark.parametrize("name", ["demo", "start"])
@pytest.mark.parametrize("module", ["typer", "agent.cli.output", "numpy", "livekit.rtc"])
def test_ctrl_c_while_modules_are_loaded_is_quiet(name: str, module: str, tmp_path: Path) -> None:
    """Wherever in the imports it comes, the process is gone without a traceback or another word."""
    status, rest = signalled_in_imports(name, module, signal.SIGINT, tmp_path)
    assert status in (-signal.SIGINT, 130)
    assert rest == []


@pytest.mark.parametrize("module", ["typer", "numpy", "livekit.rtc"])
def test_sigterm_while_a_worker_loads_modules_ends_it(module: str, tmp_path: Path) -> None:
    """Wherever in the imports it comes, it is handled, not left to the kernel: exit status 0, no word."""
    assert signalled_in_imports("start", module, signal.SIGTERM, tmp_path) == (0, [])


def test_sigterm_while_a_worker_waits_for_livekit_ends_it(tmp_path: Path) -> None:
    """With everything else up and LiveKit not answering: exit status 0 at once, and no traceback."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "one.yaml").write_text(BUNDLE)
    with socket.create_server(("127.0.0.1", 0)) as livekit:
        livekit.settimeout(60)
        process = command("start", tmp_path, LIVEKIT_URL=f"ws://127.0.0.1:{livekit.getsockname()[1]}")
        asking, _ = livekit.accept()
        with asking:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in output


def test_ctrl_c_that_python_swallows_comes_again() -> None:
    """KeyboardInterrupt in a place where nothing may fail is not printed and not lost."""
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")
