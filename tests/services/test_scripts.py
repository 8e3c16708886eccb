"""The shell scripts that `make` stands on."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.services.test_livekit_binary import script

ROOT = Path(__file__).parent.parent.parent
FAILS = "exit 127"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with a shell's own tools and nothing else."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("bash", "sh", "env", "id", "mktemp", "rm", "tail", "cat"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return folder


def run(name: str, tools: Path) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": str(tools), "HOME": str(tools.parent), "TMPDIR": str(tools.parent)}
    return subprocess.run(
        [ROOT / "scripts" / name], env=environment, capture_output=True, text=True, check=False
    )


def test_uv_on_the_path_is_used(tools: Path) -> None:
    """A uv that works is taken from the PATH."""
    script(tools / "uv", "exit 0")
    assert run("find-uv", tools).stdout == "uv\n"


def test_a_shim_that_fails_is_passed_over(tools: Path) -> None:
    """A uv that is on the PATH but fails, as a version manager's shim does, gives way to `python3 -m uv`."""
    script(tools / "uv", FAILS)
    script(tools / "python3", "exit 0")
    assert run("find-uv", tools).stdout == "python3 -m uv\n"


def test_uv_comes_through_pip(tools: Path) -> None:
    """Without uv it is installed by pip into a private environment, and nobody's Python is changed."""
    private = tools.parent / ".cache" / "livekit-agent-runtime" / "uv"
    script(
        tools / "python3",
        f"""case "$*" in
  *-m\\ uv*) exit 1;;
  *-m\\ venv*) /bin/mkdir -p {private}/bin; /bin/cp {tools}/fake-pip {private}/bin/python;;
esac""",
    )
    script(tools / "fake-pip", f"printf '#!/bin/sh\\n' > {private}/bin/uv; /bin/chmod +x {private}/bin/uv")
    result = run("find-uv", tools)
    assert result.stdout == f"{private}/bin/uv\n"
    assert result.stderr == "uv is not installed; getting it with pip\n"


def test_without_any_way_to_uv_the_error_says_where_to_get_it(tools: Path) -> None:
    """Where nothing works the last line names the page that tells how to install it."""
    result = run("find-uv", tools)
    assert result.returncode == 1
    assert re.search(r"^error: uv could not be installed; see https://docs\.astral\.sh/", result.stderr, re.M)


def test_missing_packages_are_named_where_they_cannot_be_installed(tools: Path) -> None:
    """Without root the missing packages are named and the run goes on, since tests say what they lack."""
    (tools / "id").unlink()
    script(tools / "id", "echo 1000")
    result = run("install-test-parts", tools)
    assert result.returncode == 0
    assert result.stderr.startswith("not installed: chromium flite (needs root and apt)")


def test_nothing_is_installed_when_all_is_there(tools: Path) -> None:
    """With a browser and flite on the PATH nothing is asked of apt."""
    for name in ("chromium", "flite"):
        script(tools / name, "exit 0")
    script(tools / "apt-get", "echo called; exit 1")
    result = run("install-test-parts", tools)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_make_help_has_a_sentence_for_every_target() -> None:
    """`make help` lists each command with one sentence."""
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = dict(re.findall(r"make (\w+) +(.*)", result.stdout))
    assert set(lines) == {"help", "demo", "dev", "test", "check", "bench", "sync", "server"}
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in lines.values())
