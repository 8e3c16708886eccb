"""The demo as a newcomer runs it: its exit status, its database, and what it leaves running."""

import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.services.test_tether import ended

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc"),
]

ROOT = Path(__file__).parent.parent
WITHIN = 180.0  # seconds for the whole demo on a machine that runs other tests too


class Demo:
    """A running `agent demo`, in a session of its own, so that all its processes can be found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "demo", "--plain"],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def read_until(self, pattern: str, within: float = 90.0) -> str:
        """What it printed up to a line that matches; fails when it ends or takes too long."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + within
        text = ""
        while time.monotonic() < deadline:
            if not select.select([self.process.stdout], [], [], 1.0)[0]:
                continue
            line = self.process.stdout.readline()
            assert line, f"the demo ended before {pattern!r}:\n{text}"
            text += line
            if re.search(pattern, line):
                return text
        self.process.kill()
        self.process.communicate()
        pytest.fail(f"no {pattern!r} within {within} s:\n{text}")

    def end(self, number: signal.Signals | None = None) -> "Left":
        """Wait for its end, after a signal if one is given, and look at what it leaves."""
        if number is not None:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=WITHIN)
        return Left(self.process.returncode, output, self._running(), list(self.folder.glob("agent-demo-*")))

    def _running(self) -> list[str]:
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
            ours = session == self.process.pid or str(self.folder) in command
            if ours and not ended(int(folder.name), within=5):
                found.append(command)
        return found


@dataclass
class Left:
    """What a demo leaves."""

    status: int
    output: str
    running: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


def test_everything_it_shows_really_happened(tmp_path: Path) -> None:
    """The demo exits with 0, its database has the six transcripts with their reasons, and nothing runs on."""
    left = Demo(tmp_path).end()
    assert left.status == 0, left.output
    assert "\x1b" not in left.output  # plain means no colour codes
    assert len(re.findall(r"✓", left.output)) == 5, left.output
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
    assert left.running == []


MOMENTS = {
    "at the beginning": (r"livekit", signal.SIGINT),
    "while the worker starts": (r"stores", signal.SIGINT),
    "in a call": (r"caller ", signal.SIGINT),
    "killed in a call": (r"caller ", signal.SIGKILL),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Left]]:
    """How demos end that do not come to their end, all played at the same time: they mostly wait."""

    def stopped(moment: str) -> Left:
        pattern, number = MOMENTS[moment]
        demo = Demo(tmp_path_factory.mktemp("stopped"))
        demo.read_until(pattern)
        return demo.end(number)

    def failing() -> Left:
        folder = tmp_path_factory.mktemp("failing")
        (folder / "bundles").mkdir()
        text = (ROOT / "bundles" / "demo.yaml").read_text()
        assert "  - voice_tuning.*\n" in text
        (folder / "bundles" / "demo.yaml").write_text(text.replace("  - voice_tuning.*\n", ""))
        return Demo(folder).end()

    with ThreadPoolExecutor() as pool:
        failed = pool.submit(failing)
        found = {moment: pool.submit(stopped, moment) for moment in MOMENTS}
        yield {"failing": failed.result(), **{moment: left.result() for moment, left in found.items()}}


@pytest.mark.parametrize("moment", ["at the beginning", "while the worker starts", "in a call"])
def test_ctrl_c_leaves_nothing_behind(ends: Mapping[str, Left], moment: str) -> None:
    """After Ctrl-C, at whatever moment, no process of the demo runs and no file of it is left."""
    left = ends[moment]
    assert left.status == 130, left.output
    assert "Traceback" not in left.output
    assert (left.running, left.folders) == ([], [])


def test_sigkill_leaves_nothing_running(ends: Mapping[str, Left]) -> None:
    """Even when the demo itself is killed in a call, its servers, its worker and its jobs end."""
    assert ends["killed in a call"].running == []


def test_a_scene_that_fails_is_named(ends: Mapping[str, Left]) -> None:
    """When no voice may be tuned, the demo exits with 1 and names what was expected and the log to read."""
    left = ends["failing"]
    assert left.status == 1, left.output
    failure = r"✗\s+two_voices\.py:\d+: expected pace and pitch of demo-(slow|fast) to come from redis"
    assert re.search(failure, left.output), left.output
    assert re.search(r"logs: \S+/worker\.log, \S+/livekit-server\.log", left.output), left.output
