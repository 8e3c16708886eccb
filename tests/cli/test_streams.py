"""Where a command's output goes: full, closed, gone, or without UTF-8; and arguments that are no text."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPLAIN = ("bundles", "explain", "call")  # more than a buffer holds
EXPORT = ("transcripts", "export")


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """Of a person's shell, where Python keeps what is printed in a buffer."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def shell(
    script: str, *words: "str | bytes", environment: dict[str, str]
) -> "subprocess.CompletedProcess[bytes]":
    """`agent WORDS…` as "$@" of a script."""
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "agent", *words]
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        command, env={**environment, "PYTHONPATH": root}, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", [("--help",), ("bundles", "list"), EXPLAIN, EXPORT], ids=" ".join)
def test_a_full_disk_is_one_line(words: tuple[str, ...], environment: dict[str, str]) -> None:
    """What cannot be written is said in one line, and the status is 1."""
    done = shell('"$@" > /dev/full', *words, environment=environment)

    assert done.stderr == b"error: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("words", [("bundles", "list", "--json"), (*EXPLAIN, "--json")], ids=" ".join)
def test_a_full_disk_is_json_for_programs(words: tuple[str, ...], environment: dict[str, str]) -> None:
    """Also where little was printed, which Python writes as it ends."""
    done = shell('"$@" > /dev/full', *words, environment=environment)

    assert json.loads(done.stderr)["error"]["code"] == "output"
    assert done.returncode == 1


@pytest.mark.parametrize("words", [(*EXPLAIN, "--json"), EXPORT], ids=" ".join)
def test_a_closed_output_is_no_error(words: tuple[str, ...], environment: dict[str, str]) -> None:
    """`>&-`: nobody wants the output, and the command does its work."""
    done = shell('"$@" >&-', *words, environment=environment)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [("bundles", "list"), (*EXPLAIN, "--json"), EXPORT], ids=" ".join)
def test_a_pipe_that_nobody_reads_is_quiet(words: tuple[str, ...], environment: dict[str, str]) -> None:
    """`| head` has seen enough: no word about it."""
    done = shell('"$@" | true; exit ${PIPESTATUS[0]}', *words, environment=environment)

    assert (done.returncode, done.stderr) == (1, b"")


def test_an_encoding_without_the_characters(folder: Path, environment: dict[str, str]) -> None:
    """What the terminal cannot show is an escape there; JSON is JSON all the same."""
    (folder / "bundles" / "call.yaml").write_text("name: Gespräch 🙂\n", "utf-8")
    narrow = {**environment, "PYTHONIOENCODING": "latin-1"}

    for_people = shell('"$@"', "bundles", "list", environment=narrow)
    for_programs = shell('"$@"', "bundles", "list", "--json", environment=narrow)

    assert for_people.stdout.decode("latin-1").endswith("Gespräch \\U0001f642\n")
    assert json.loads(for_programs.stdout)[0]["title"] == "Gespräch 🙂"


def test_an_argument_that_is_no_text(environment: dict[str, str]) -> None:
    """Bytes that are no UTF-8 can be no name: one line that shows which argument has them."""
    words = ("preset", "list", "--user", b"m\xfcller")
    done = shell('"$@"', *words, environment=environment)
    assert done.stderr == b"error: argument 4 is not UTF-8: m\\xfcller\n"
    assert done.returncode == 2

    done = shell('"$@"', *words, "--json", environment=environment)
    assert json.loads(done.stderr)["error"]["code"] == "usage"
