"""The demo as a newcomer runs it: its exit status, its database, and what it leaves running."""

import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.test_tether import ended

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]

ROOT = Path(__file__).parent.parent
WITHIN = 180.0  # seconds for the whole demo on a machine that runs other tests too


@pytest.fixture
def demo(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A running `agent demo`, in a session of its own, so that all its processes can be found."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "agent", "demo", "--plain"],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def left_running(process: "subprocess.Popen[str]", tmp_path: Path) -> list[str]:
    """Command lines of processes of the demo's session, or that name its folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            session = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3])
        except (OSError, ValueError, IndexError):
            continue
        if (session == process.pid or str(tmp_path) in command) and not ended(int(folder.name), within=5):
            found.append(command)
    return found


def read_until(process: "subprocess.Popen[str]", pattern: str, within: float) -> str:
    """What the demo printed up to a line that matches; fails when it ends or takes too long."""
    assert process.stdout is not None
    deadline = time.monotonic() + within
    text = ""
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 1.0)[0]:
            continue
        line = process.stdout.readline()
        assert line, f"the demo ended before {pattern!r}:\n{text}"
        text += line
        if re.search(pattern, line):
            return text
    pytest.fail(f"no {pattern!r} within {within} s:\n{text}")


def test_everything_it_shows_really_happened(demo: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """The demo exits with 0, its database has the six transcripts with their reasons, and nothing runs on."""
    output, _ = demo.communicate(timeout=WITHIN)
    assert demo.returncode == 0, output
    assert "\x1b" not in output  # plain means no colour codes
    assert len(re.findall(r"✓", output)) == 5, output
    (database,) = tmp_path.glob("agent-demo-*/agent.db")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT session_id, end_reason FROM transcripts").fetchall()
    connection.close()
    assert dict(rows) == {
        "demo-slow": "agent_ended",
        "demo-fast": "agent_ended",
        "demo-talk": "agent_ended",
        "demo-silent": "idle",
        "demo-long": "max_duration",
        "demo-killed": "agent_ended",
    }
    assert left_running(demo, tmp_path) == []


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(r"livekit", id="at the beginning"),
        pytest.param(r"stores", id="while the worker starts"),
        pytest.param(r"caller ", id="in a call"),
    ],
)
def test_ctrl_c_leaves_nothing_behind(demo: "subprocess.Popen[str]", tmp_path: Path, moment: str) -> None:
    """After Ctrl-C, at whatever moment, no process of the demo runs and no file of it is left."""
    read_until(demo, moment, within=60)
    os.kill(demo.pid, signal.SIGINT)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert left_running(demo, tmp_path) == []
    assert list(tmp_path.glob("agent-demo-*")) == []


def test_sigkill_leaves_nothing_running(demo: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """Even when the demo itself is killed in a call, its servers, its worker and its jobs end."""
    read_until(demo, r"caller ", within=60)
    demo.kill()
    demo.communicate()
    assert left_running(demo, tmp_path) == []


def test_a_scene_that_fails_is_named(tmp_path: Path) -> None:
    """When no voice may be tuned, the demo exits with 1 and names what was expected and the log to read."""
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    text = (ROOT / "bundles" / "demo.yaml").read_text()
    assert "  - voice_tuning.*\n" in text
    text = text.replace("  - voice_tuning.*\n", "")
    (bundles / "demo.yaml").write_text(text)
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", "agent", "demo", "--plain"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=WITHIN,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout
    failure = r"✗\s+two_voices\.py:\d+: expected pace and pitch of demo-(slow|fast) to come from redis"
    assert re.search(failure, result.stdout), result.stdout
    assert re.search(r"logs: \S+/worker\.log, \S+/livekit-server\.log", result.stdout), result.stdout
