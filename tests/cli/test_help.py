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

from agent import cli
from agent.cli import Program, build

PROGRAM = build()


def whole() -> Program:
    """The program with every command imported."""
    program = typer.main.get_command(PROGRAM)
    assert isinstance(program, Program)
    for name in list(program.commands):
        program.load(name)
    return program


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that lead to it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not getattr(command, "commands", {}):
        yield path, command


COMMANDS = list(commands(whole()))


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


TAB = {"_AGENT_COMPLETE": "complete_bash"}
PROBE = """
import atexit, sys
atexit.register(lambda: print(*(name for name in sys.modules if name.startswith(PARTS)), file=sys.stderr))
PARTS = ("agent.cli.", "agent.settings", "sqlalchemy", "redis", "livekit", "alembic")
from agent.__main__ import main
sys.argv = ["agent", *sys.argv[1:]]
main()
"""
"""Runs the command line and names on stderr what it imported of what takes its time."""


@pytest.mark.parametrize(
    ("words", "asked", "says", "imports"),
    [
        (["--help"], {}, "transcripts", set()),
        ([], {}, "transcripts", set()),
        ([], TAB | {"COMP_WORDS": "agent ", "COMP_CWORD": "1"}, "transcripts", set()),
        ([], TAB | {"COMP_WORDS": "agent se", "COMP_CWORD": "1"}, "session", set()),
        ([], TAB | {"COMP_WORDS": "agent session st", "COMP_CWORD": "2"}, "start", {"agent.cli.session"}),
        (
            [],
            {"_AGENT_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "agent start --h"},
            "--help",
            {"agent.cli.start"},
        ),
        (["session", "--help"], {}, "override", {"agent.cli.session"}),
    ],
    ids=["help", "nothing", "Tab", "Tab in a word", "Tab in a group", "Tab in zsh", "help of a group"],
)
def test_help_and_tab_import_only_what_they_tell_of(
    words: list[str], asked: dict[str, str], says: str, imports: set[str]
) -> None:
    """Neither imports a command that it does not tell of, nor stores and LiveKit; that took seconds."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert says in done.stdout, done.stderr
    found = set(done.stderr.split())
    loaded = {name for name in found if name.removeprefix("agent.cli.") in {*cli.COMMANDS, *cli.GROUPS}}
    assert loaded == imports
    assert {name.split(".")[0] for name in found} <= {"agent"}
    assert imports or "agent.settings" not in found


def test_the_help_says_what_each_command_says() -> None:
    """A command's line in `agent --help` is the first paragraph of its own help."""
    lines = typer.main.get_command(PROGRAM)
    assert isinstance(lines, Program)
    for name, command in whole().commands.items():
        said = str(lines.commands[name].help)
        assert said == " ".join(str(command.help).split("\n\n")[0].split()), name


def test_completion_can_be_installed(tmp_path: Path) -> None:
    """`agent --show-completion` prints the script of a shell, which calls this program."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m agent --show-completion; exit $?"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "_COMPLETE=complete_bash" in done.stdout
