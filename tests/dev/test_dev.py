"""`agent dev` as a person uses it: a headless browser with a fake microphone joins and talks."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from agent.services.ports import free_ports
from tests.services.test_tether import ended

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

ROOT = Path(__file__).parent.parent.parent
FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]


class Dev:
    """A running `agent dev`, with its output."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self.folder = folder
        self.lines: list[str] = []
        self._more = threading.Condition()
        environment = {**os.environ, "AGENT_DATA": str(folder / "var"), "PYTHONPATH": str(folder)}
        environment |= {"AGENT_BUNDLES": str(folder / "bundles"), "AGENT_MODULES": "edited_tools"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "dev", "--port", str(self.port)],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        self.process.stdout.close()

    def wait_for(self, pattern: str, *, count: int = 1, within: float = 60.0) -> None:
        """Return when `count` lines match."""
        with self._more:
            came = self._more.wait_for(
                lambda: sum(1 for line in self.lines if re.search(pattern, line)) >= count, within
            )
        assert came, f"no {pattern!r} in:\n{''.join(self.lines)}"

    def stop(self) -> int:
        """Ctrl-C; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        self._reader.join()
        return status


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """`agent dev` on the demo's bundle, in a folder whose files may be edited."""
    folder = tmp_path_factory.mktemp("dev")
    (folder / "bundles").mkdir()
    (folder / "bundles" / "demo.yaml").write_text((ROOT / "bundles" / "demo.yaml").read_text())
    (folder / "edited_tools.py").write_text("VERSION = 1\n")
    running = Dev(folder)
    try:
        running.wait_for(r"ready: open http://127\.0\.0\.1:\d+")
        yield running
    finally:
        running.process.kill() if running.process.poll() is None else None
        running.stop()


@pytest.fixture(scope="module")
def page(dev: Dev, chromium: str) -> Iterator[Page]:
    """The page in a headless browser that has a (beeping) microphone and lets sites use it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"http://127.0.0.1:{dev.port}/")
        yield page
        browser.close()


def test_a_person_joins_and_talks(page: Page) -> None:
    """Join brings the agent's greeting, its state and the session's events; written words are answered."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.get_by_role("radio", name="Demo").check()
    page.get_by_role("button", name="Join").click()
    words = page.locator("#words")
    expect(words).to_contain_text("this is the demo shop", timeout=20_000)
    expect(page.locator("#attributes")).to_contain_text("desk")
    expect(page.locator("#events")).to_contain_text("config_applied")
    page.get_by_role("button", name="Mute").click()
    expect(page.locator("#status")).to_have_text("listening", timeout=20_000)
    expect(page.locator("#timers")).to_contain_text("max duration", timeout=20_000)
    expect(page.locator("#values")).to_contain_text("demo.yaml:")
    box = page.get_by_role("textbox", name="Write to the agent")
    box.fill("i would like to talk to a specialist")
    box.press("Enter")
    expect(words).to_contain_text("desk hands over to specialist", timeout=20_000)
    expect(words).to_contain_text("This is the specialist speaking", timeout=20_000)
    expect(page.locator("#attributes")).to_contain_text("specialist")
    audio = page.evaluate("Array.from(document.querySelectorAll('audio')).some(one => !one.paused)")
    assert audio, "the agent's voice is playing"
    box.fill("goodbye")
    box.press("Enter")
    expect(words).to_contain_text("the call ended: agent_ended", timeout=20_000)
    expect(page.get_by_role("link", name="Transcript of this session")).to_be_visible(timeout=20_000)
    assert problems == []


def test_the_terminal_shows_the_call(page: Page, dev: Dev) -> None:
    """Config with origins, timers, turns of both sides, the handover and the end of the call before."""
    for line in (
        r"s-\w+  bundle demo  sha256:",
        r"s-\w+    agents\.desk\.greeting +Hello.* \(.*demo\.yaml:\d+:\d+\)",
        r"s-\w+  timer idle: \d+ s after the user's last words",
        r"s-\w+  timer max duration: in \d+ s",
        r"s-\w+  desk: .*this is the demo shop",
        r"s-\w+  dev-\w+: i would like to talk to a specialist",
        r"s-\w+  handoff desk → specialist",
        r"s-\w+  ended: agent_ended",
    ):
        dev.wait_for(line)


def test_an_edit_of_a_bundle_counts_for_the_next_call(page: Page, dev: Dev) -> None:
    """A greeting that was edited while everything runs is heard in the next call, with no restart."""
    file = dev.folder / "bundles" / "demo.yaml"
    file.write_text(file.read_text().replace("this is the demo shop", "this is the edited shop"))
    words = page.locator("#words")
    for _ in range(5):  # the worker sees the edit a moment after it was saved
        page.get_by_role("button", name="Join").click()
        expect(words).to_contain_text("shop", timeout=20_000)
        edited = "edited shop" in (words.text_content() or "")
        page.get_by_role("button", name="Leave").click()
        expect(page.get_by_role("button", name="Join")).to_be_enabled(timeout=20_000)
        if edited:
            break
    assert edited
    assert sum("ready: open" in line for line in dev.lines) == 1


def test_long_words_stay_inside_their_card(page: Page, dev: Dev) -> None:
    """A name and a description without a place to break them are broken anyway, and are never markup."""
    words = f"name: <b>{'x' * 90}</b>\ndescription: {'y' * 90}\n"
    (dev.folder / "bundles" / "long.yaml").write_text(f"include: [demo]\n{words}")
    page.wait_for_function(
        "async () => (await (await fetch('/api/bundles')).json()).some((bundle) => bundle.name === 'long')"
    )
    page.reload()

    expect(page.locator(".card", has_text="long · ")).to_contain_text(f"<b>{'x' * 90}</b>")
    wide, visible = page.locator(".setup").evaluate("(part) => [part.scrollWidth, part.clientWidth]")
    assert wide <= visible


def worker_of(process: int) -> int:
    """The process of `agent start` that this one started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    tasks = [task for task in Path(f"/proc/{process}/task").iterdir() if task.name != str(process)]
    children += [child for task in tasks for child in (task / "children").read_text().split()]
    return next(int(child) for child in children if _read_command(Path("/proc") / child).endswith(b"start\0"))


def test_a_worker_that_is_gone_is_said_on_the_page(page: Page, dev: Dev) -> None:
    """Whoever presses Join then is told what brings it back, and not to wait; an edit of Python does."""
    page.reload()
    expect(page.get_by_role("button", name="Join")).to_be_enabled()
    worker = worker_of(dev.process.pid)
    os.kill(worker, signal.SIGKILL)
    page.wait_for_function(
        """async () => (await (await fetch('/api/sessions', {
            method: 'POST', headers: {'Content-Type': 'application/json'},
            body: JSON.stringify({bundle: 'demo', user_id: 'u', overrides: {}}),
        })).json()).error?.startsWith('the worker has ended')"""
    )
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#problem")).to_contain_text("the next edit of Python starts it again")


def test_an_edit_of_python_starts_the_worker_again(dev: Dev) -> None:
    """Saving a module of AGENT_MODULES brings a new worker, which gets ready."""
    (dev.folder / "edited_tools.py").write_text("VERSION = 2\n")
    dev.wait_for(r"edited_tools\.py changed: starting the worker again")
    dev.wait_for("ready: open", count=2)


def test_ctrl_c_stops_everything(dev: Dev) -> None:
    """After Ctrl-C it exits with 0 and none of its processes is left."""
    children = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and str(dev.folder).encode() in _read_command(entry)
    ]
    assert children
    assert dev.stop() == 0, "".join(dev.lines[-20:])
    assert [pid for pid in children if not ended(pid)] == []
    assert "Traceback" not in "".join(dev.lines)


def test_nobody_reads_what_it_says(tmp_path: Path) -> None:
    """`agent dev | head`: it stops when its next line finds no reader, without a traceback."""
    environment = {**os.environ, "AGENT_DATA": str(tmp_path / "var"), "AGENT_BUNDLES": str(ROOT / "bundles")}
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", "dev", "--port", str(free_ports(1)[0])],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
        assert process.stdout is not None
        with process.stdout as lines:
            while not lines.readline().startswith(b"agent dev  bundles"):
                assert process.poll() is None
        assert process.wait(90) == 1
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_a_port_in_use_is_one_clear_line() -> None:
    """A page port that somebody else has is refused before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "agent", "dev", "--port", str(port)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == f"error: --port {port} is in use; choose another one or leave it out\n"


def _read_command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""
