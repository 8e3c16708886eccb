"""
The code blocks of the documents are run, as they stand, or checked against what runs; each is accounted for.

One worker, started by the README's own lines, for all that talks to one.
"""

import asyncio
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent
AGENT = str(Path(sys.executable).with_name("agent"))

ACCOUNTED = {
    # (page, first line of the block up to here): where it is run or checked, or why it is not
    ("README.md", "# bundles/shop.yaml"): "tests/test_docs.py compiles it",
    ("README.md", "make demo"): "here: the targets exist; the demo is run by tests/test_demo.py",
    ("README.md", "bundle 'support' is not valid"): "tests/test_docs.py prints it",
    ("README.md", "make dev"): "here: the target exists; tests/dev runs it",
    ("README.md", "pip install"): "here: run, but for the installation",
    ("README.md", "agent session start"): "here: run",
    ("README.md", "agent --install-completion"): "here: run",
    ("README.md", "redis-cli SET session"): "here: run",
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
    """The commands of a block, without comments."""
    (text,) = [text for _, text in blocks(page) if text.startswith(beginning)]
    lines = [shlex.join(shlex.split(line, comments=True)) for line in text.splitlines()]
    return [line for line in lines if line]


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
    """`pip install` names this distribution and extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (line,) = [line for line in block("README.md", "pip install") if line.startswith("pip")]
    name, extras = re.fullmatch(r"pip install '([\w-]+)\[([\w,]+)\]'", line).groups()  # type: ignore[union-attr]
    assert name == project["name"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_completion_is_installed(tmp_path: Path) -> None:
    """The README's line leaves a script that the shell reads at its next start."""
    (line,) = block("README.md", "agent --install-completion")
    path = f"{Path(AGENT).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", f"{line}; exit $?"],  # the shell is found among the ancestors of the command
        cwd=tmp_path, env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "_AGENT_COMPLETE" in next((tmp_path / ".bash_completions").iterdir()).read_text()
    assert ".bash_completions" in (tmp_path / ".bashrc").read_text()


@pytest.fixture(scope="module")
def place(livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> RunningWorker:
    """A folder as the README's reader has it: shipped bundles, the interview on the offline voice."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "bundles" / "prompts", folder / "bundles" / "prompts")
    for name in ("base", "offline"):
        shutil.copy(ROOT / "bundles" / f"{name}.yaml", folder / "bundles")
    text = (ROOT / "bundles" / "interview.yaml").read_text()
    text = re.sub(r"^models:\n(  .*\n)+", "", text, flags=re.MULTILINE)
    (folder / "bundles" / "interview.yaml").write_text(
        text.replace("include: [base]", "include: [base, offline]")
    )
    return RunningWorker(
        livekit_server,
        folder / "var",
        bundles=folder / "bundles",
        environment={"AGENT_MODULES": "", "AGENT_NAME": "reader"},
    )


def run(place: RunningWorker, line: str) -> str:
    """One line of the documents; its output."""
    program, *words = shlex.split(line)
    assert program == "agent", line
    done = subprocess.run(
        [AGENT, *words], cwd=place.data.parent, env=place.environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


async def redis_cli(place: RunningWorker, line: str) -> Any:
    """One line for redis-cli, on the worker's Redis."""
    program, *words = shlex.split(line)
    assert program == "redis-cli", line
    async with place.redis() as client:
        return await client.execute_command(*words)


async def test_from_nothing_to_a_worker_that_served_a_call(place: RunningWorker) -> None:
    """
    The README's lines in their order: doctor, start, then a session from its override to its record; and the
    commands of docs/sessions.md on a second one.
    """
    lines = block("README.md", "pip install")
    assert [line.split()[0] for line in lines] == ["pip", "export", "agent", "agent"]
    exported = dict(word.split("=", 1) for word in shlex.split(lines[1])[1:])
    assert set(exported) == set(place.server.environment)
    assert run(place, lines[2]).count("ok  ") == 11
    assert lines[3] == "agent start"
    place.start()
    try:
        (override,) = block("README.md", "redis-cli SET")
        assert await redis_cli(place, override)
        start, change, end, *after = block("README.md", "agent session start")
        answer = json.loads(await asyncio.to_thread(run, place, f"{start} --session-id s-1"))
        assert set(answer) == {"session_id", "room", "url", "token"}
        await in_a_call(place, "s-1", answer, change, end)
        for line in after:
            said = await asyncio.to_thread(run, place, line)
            if "show" in line:
                record = json.loads(said)
                assert (record["schema"], record["end_reason"]) == ("transcript/v1", "operator")
                assert record["origins"]["voice_tuning.pace"].startswith("redis ")
        await by_stream(place, start)
    finally:
        assert place.stop() == 0


async def in_a_call(
    place: RunningWorker, session_id: str, answer: dict[str, str], change: str, end: str
) -> None:
    """The user is there while the config is changed and the session ended."""
    from agent.demo.caller import Caller

    async with Caller(answer["url"], answer["token"]) as caller:
        await caller.wait_words("Hello Asha", within=15)
        assert session_id in change
        await asyncio.to_thread(run, place, change)
        await asyncio.to_thread(run, place, end)
        await caller.wait_event("ended", reason="operator", within=15)


async def by_stream(place: RunningWorker, start: str) -> None:
    """The same by `XADD`."""
    from agent.demo.caller import Caller

    (end,) = block("docs/sessions.md", "redis-cli XADD session:s-1:commands '*' command end")
    (change,) = block("docs/sessions.md", "redis-cli XADD session:s-1:commands '*' command override")
    answer = json.loads(await asyncio.to_thread(run, place, f"{start} --session-id s-2"))
    async with Caller(answer["url"], answer["token"]) as caller:
        await caller.wait_words("Hello Asha", within=15)
        await redis_cli(place, change.replace("s-1", "s-2"))
        applied = await caller.until(
            lambda: [event for event in caller.events if event["type"] == "config_applied"][1:], "the change"
        )
        assert applied[0]["verdicts"][0]["verdict"] == "applied"
        await redis_cli(place, end.replace("s-1", "s-2"))
        await caller.wait_event("ended", reason="operator", within=15)
    assert (await place.transcript("s-2"))["end_reason"] == "operator"
