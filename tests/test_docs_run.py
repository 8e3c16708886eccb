"""
The code blocks of the documents are run, as they stand, or checked against what runs; each is accounted for.

The README's lines run in a shell, in a fresh checkout, as they are written. What is given: free ports, and a
LiveKit server that stays on loopback (`LIVEKIT_CONFIG`).
"""

import asyncio
import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from agent.services.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent
AGENT = str(Path(sys.executable).with_name("agent"))
READY_SECONDS = 90.0

ACCOUNTED = {
    # (page, first line of the block up to here): where it is run or checked, or why it is not
    ("README.md", "# bundles/shop.yaml"): "tests/test_docs.py compiles it",
    ("README.md", "make demo"): "here: the targets exist; the demo is run by tests/test_demo.py",
    ("README.md", "bundle 'support' is not valid"): "tests/test_docs.py prints it",
    ("README.md", "make dev"): "here: the target exists; tests/dev runs it",
    ("README.md", "make sync server"): "here: run",
    ("README.md", '"$(python -m'): "here: run",
    ("README.md", "agent doctor"): "here: run",
    ("README.md", "agent session start"): "here: run",
    ("README.md", "import redis"): "here: run",
    ("README.md", "agent --install-completion"): "here: run",
    ("docs/bundles.md", "# shop_python.py"): "tests/test_docs.py loads it",
    ("docs/bundles.md", "# bundles/orders.yaml"): "tests/test_docs.py compiles it",
    ("docs/bundles.md", "# bundles/routes.yaml"): "tests/test_docs.py routes calls by it",
    ("docs/sessions.md", "accepted → claimed"): "a drawing",
    ("docs/sessions.md", "idle_prompts: [{"): "a drawing; tests/agent/test_clock.py plays its lines",
    ("docs/sessions.md", "const room"): "tests/e2e/test_clients.py runs it in Chromium",
    ("docs/sessions.md", "import asyncio"): "tests/e2e/test_clients.py runs it",
    ("docs/sessions.md", "try await room"): "not run: needs Xcode",
    ("docs/sessions.md", "room.registerTextStreamHandler"): "not run: needs Android's SDK",
    ("docs/sessions.md", "redis-cli XADD session:s-1:commands '*' command end"): "here: run",
    ("docs/sessions.md", "redis-cli XADD session:s-1:commands '*' command override"): "here: run",
    (
        "docs/operations.md",
        "job=$(kubectl create",
    ): "tests/test_deploy.py runs it, with a kubectl that only tells",
    ("docs/transcripts.md", "agent transcripts"): "tests/test_transcripts_docs.py runs it",
}


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of each fenced block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md")))]


def block(page: str, beginning: str) -> list[str]:
    """The lines of a block, as they stand."""
    (text,) = [text for _, text in blocks(page) if text.startswith(beginning)]
    return text.splitlines()


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_accounted_for(page: str) -> None:
    """A new block needs a place where it is run or checked, or a reason; none is left over."""
    found = [text for _, text in blocks(page) if text not in figures(page)]
    known = [beginning for where, beginning in ACCOUNTED if where == page]
    assert [text[:60] for text in found if not any(text.startswith(one) for one in known)] == []
    assert [one for one in known if not any(text.startswith(one) for text in found)] == []


def figures(page: str) -> set[str]:
    """Blocks under a heading whose text names the benchmark that printed them."""
    sections = re.split(r"^#+ ", (ROOT / page).read_text(), flags=re.MULTILINE)
    return {
        text
        for section in sections
        if "`python -m benchmarks" in section
        for text in re.findall(r"^```text\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    }


def test_the_targets_of_make_are_there() -> None:
    """Every `make TARGET` of the documents is a target, and `make help` lists it."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(), re.M)
    }
    assert {"demo", "dev", "test", "check", "bench", "check-newest"} <= named
    assert {name for name in named if f"make {name} " not in listed} == set()


def test_the_commands_that_printed_the_figures_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every `python -m …` of the documents is a module that takes the options it is shown with."""
    named = {
        command.replace("\n", " ")
        for page in PAGES
        for command in re.findall(r"`python -m ([\w.]+[^`]*)`", (ROOT / page).read_text())
    }
    assert any(command.startswith("benchmarks.growth") for command in named)
    for command in sorted(named):
        module, *words = shlex.split(command)
        monkeypatch.setattr(sys, "argv", [module, "--help"])
        for imported in (module, f"{module}.__main__"):  # by another test
            monkeypatch.delitem(sys.modules, imported, raising=False)
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        told = capsys.readouterr().out
        assert ended.value.code == 0, command
        assert {word for word in words if word.startswith("--") and word not in told} == set(), command


def test_the_extras_that_are_installed_exist() -> None:
    """`pip install` of the checkout names extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"`pip install '\.\[([\w,]+)\]'`", (ROOT / "README.md").read_text())
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_completion_is_installed(tmp_path: Path) -> None:
    """The README's line leaves a script that the shell reads at its next start."""
    (line,) = block("README.md", "agent --install-completion")
    path = f"{Path(AGENT).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", f"{line}\nexit $?"],  # the shell is found among the ancestors of the command
        cwd=tmp_path, env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "_AGENT_COMPLETE" in next((tmp_path / ".bash_completions").iterdir()).read_text()
    assert ".bash_completions" in (tmp_path / ".bashrc").read_text()


PORT = "7880"
"""LiveKit's port in the README, which may be another's here."""


class Reader:
    """A person with a fresh checkout and several terminals, who types the README's lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        signalling, media, probes = free_ports(3)
        loopback = {
            "port": signalling,
            "rtc": {
                "node_ip": LOOPBACK,
                "use_external_ip": False,
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo", "lo0"]},
                "tcp_port": 0,
                "udp_port": media,
            },
        }
        mine = str(Path(sys.executable).parent)
        path = [part for part in os.environ["PATH"].split(os.pathsep) if part != mine]
        self.probes = f"http://{LOOPBACK}:{probes}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            "PATH": os.pathsep.join(path),
            "LIVEKIT_CONFIG": json.dumps(loopback),
            "AGENT_HTTP_PORT": str(probes),
        }
        self._setup = [line.replace(f":{PORT}", f":{signalling}") for line in block("README.md", "make sync")]
        self._running: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None:
        """The lines for every terminal, in the first one; the others need no more than its variables."""
        self.type("true")
        self._setup = [line for line in self._setup if line.startswith("export ")]
        assert len(self._setup) == 2

    def type(self, line: str, *, status: int = 0, stdin: str = "") -> str:
        """Type one line and wait for its end; what it printed."""
        done = subprocess.run(
            self._command(line), cwd=self.folder, env=self.environment, input=stdin, capture_output=True,
            text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def leave_running(self, line: str, url: str) -> Path:
        """Type one line that does not end, and wait until somebody answers at an address; its output."""
        log = self.folder / f"terminal-{len(self._running)}.log"
        with log.open("wb") as output:
            running = subprocess.Popen(
                self._command(line), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._running.append(running)
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and running.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return log
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"{line} is not ready\n{log.read_text()[-3000:]}")

    def press_ctrl_c(self) -> int:
        """Ctrl-C in the terminal that was left running last; the exit status."""
        running = self._running[-1]
        os.killpg(running.pid, signal.SIGINT)
        return running.wait(60)

    def close(self) -> None:
        """Close all terminals, with what runs in them."""
        for running in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()

    @property
    def livekit(self) -> str:
        """Where the README's server answers."""
        return self.type("echo $LIVEKIT_URL").strip().replace("ws://", "http://")

    def _command(self, line: str) -> list[str]:
        return ["bash", "-c", "\n".join(["set -e", *self._setup, line])]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the files of this repository as they would be cloned now."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    checkout = tmp_path / "checkout"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():  # not one that was removed and is not committed yet
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    reader = Reader(checkout)
    try:
        reader.prepare()
        yield reader
    finally:
        reader.close()


async def test_from_a_clone_to_a_worker_that_served_a_call(reader: Reader) -> None:
    """The README's lines in their order, none left out: server, doctor, worker, a call, a change, records."""
    (serve,) = block("README.md", '"$(python -m')
    reader.leave_running(serve, reader.livekit)
    doctor, start = block("README.md", "agent doctor")
    found = reader.type(doctor, status=1)
    assert re.findall(r"^bad +(\w+)", found, re.MULTILINE) == ["bundles", "keys"]
    assert found.count("ok  ") == 10
    log = reader.leave_running(start, f"{reader.probes}/readyz")

    lines = block("README.md", "agent session start")
    said = {line.split(" #")[0].strip(): await asyncio.to_thread(reader.type, line) for line in lines}
    assert set(json.loads((reader.folder / "var" / "call.json").read_text())) == {
        "session_id", "room", "url", "token",
    }  # fmt: skip
    (visit,) = [text for line, text in said.items() if "agent.demo.visit" in line]
    for words in (
        "Hello Asha",
        "when are you open",
        "We are open from nine to six",
        'ended {"reason": "agent',
    ):
        assert words in visit
    record = json.loads(said["agent transcripts show s-1 --json"])
    assert (record["schema"], record["end_reason"]) == ("transcript/v1", "agent_ended")
    assert record["origins"]["voice_tuning.pace"].startswith("redis ")
    assert "s-1" in said["agent transcripts list"]
    assert said["agent session override s-2 --set voice_tuning.pace=1.4 --live"].startswith("applied: ")
    assert "s-2" in said["agent session list"]
    assert said["agent session end s-2 --wait"] == "s-2: ended\n"
    assert "clamped: voice_tuning.pace" in said["agent bundles explain demo --set voice_tuning.pace=9"]

    await by_a_key(reader)
    await by_stream(reader)
    assert await asyncio.to_thread(reader.press_ctrl_c) == 0, log.read_text()[-3000:]
    assert "closed unexpectedly" not in log.read_text()


async def by_a_key(reader: Reader) -> None:
    """The override that a program writes, in Python and by `redis-cli`, to the socket of the README."""
    await asyncio.to_thread(reader.type, "python -", stdin="\n".join(block("README.md", "import redis")))
    await asyncio.to_thread(reader.type, "agent session start --bundle demo --session-id s-3")
    await asyncio.to_thread(reader.type, "agent session end s-3 --wait")
    record = json.loads(await asyncio.to_thread(reader.type, "agent transcripts show s-3 --json"))
    given = {verdict["path"]: verdict["verdict"] for verdict in record["verdicts"]}
    assert given == {"voice_tuning.pace": "applied", "voice_id": "applied"}

    (line,) = re.findall(r"`(redis-cli [^`]+)`", (ROOT / "README.md").read_text())
    program, option, socket, *words = shlex.split(line)
    assert (program, option) == ("redis-cli", "-s")
    assert await redis_cli(reader.folder / socket, words)


async def redis_cli(socket: Path, words: list[str]) -> Any:
    """What `redis-cli -s SOCKET WORDS` does, which not every machine has."""
    async with redis.asyncio.Redis(unix_socket_path=str(socket), decode_responses=True) as client:
        return await client.execute_command(*words)


async def by_stream(reader: Reader) -> None:
    """The commands of docs/sessions.md, while a user is there."""
    from agent.demo.caller import Caller

    socket = reader.folder / "var" / "valkey" / "valkey.sock"
    started = await asyncio.to_thread(
        reader.type, "agent session start --bundle demo --session-id s-4 --json"
    )
    answer = json.loads(started)
    async with Caller(answer["url"], answer["token"]) as caller:
        await caller.wait_words("Hello there", within=15)
        await redis_cli(socket, stream_command("redis-cli XADD session:s-1:commands '*' command override"))
        applied = await caller.until(
            lambda: [event for event in caller.events if event["type"] == "config_applied"][1:], "the change"
        )
        assert applied[0]["verdicts"][0]["verdict"] == "applied"
        await redis_cli(socket, stream_command("redis-cli XADD session:s-1:commands '*' command end"))
        await caller.wait_event("ended", reason="operator", within=15)


def stream_command(beginning: str) -> list[str]:
    """A command of docs/sessions.md, for the session that has a user here."""
    (line,) = block("docs/sessions.md", beginning)
    return shlex.split(line.replace("session:s-1:", "session:s-4:"))[1:]
