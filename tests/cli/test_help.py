"""What a person learns at the prompt: help with examples that the command takes, and completion by Tab."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agent.cli import build

PROGRAM = build()


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that lead to it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not getattr(command, "commands", {}):
        yield path, command


COMMANDS = list(commands(typer.main.get_command(PROGRAM)))


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_has_an_example_that_it_takes(path: tuple[str, ...], command: Any) -> None:
    """The help says what the command does and shows a line whose options and arguments it has."""
    shown = CliRunner().invoke(PROGRAM, [*path, "--help"])
    assert shown.exit_code == 0
    assert "Example: " in shown.output.replace("\n", " ")
    example = command.help.split("Example: ", 1)[1].strip()
    words = shlex.split(example.split(" > ")[0])
    while "=" in words[0]:  # variables before the command
        words.pop(0)
    assert tuple(words[: len(path) + 1]) == ("agent", *path)
    with command.make_context(path[-1], words[len(path) + 1 :], resilient_parsing=False):
        pass  # parsed: unknown options, missing arguments and wrong types would have raised


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("agent ", {"demo", "dev", "start", "doctor", "bundles", "session", "preset", "transcripts", "db"}),
        ("agent se", {"session"}),
        ("agent session ", {"start", "override", "end", "list"}),
        ("agent transcripts e", {"export", "erase"}),
        ("agent session start --se", {"--session-id", "--set"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes(words: str, offered: set[str], shell: str) -> None:
    """Commands, sub-commands and options are offered, in each shell's own protocol."""
    asked = {"_AGENT_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        asked |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    else:
        asked |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = CliRunner().invoke(PROGRAM, prog_name="agent", env=asked)
    said = set(done.output.replace('"', " ").replace("'", " ").replace(":", " ").split())
    assert offered <= said, done.output


def test_completion_can_be_installed(tmp_path: Path) -> None:
    """`agent --show-completion` prints the script of a shell, which calls this program."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m agent --show-completion; exit $?"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "_COMPLETE=complete_bash" in done.stdout
