"""Modules of AGENT_MODULES, tried in another process."""

from pathlib import Path
from typing import Literal

import pytest

from agent.importing import Trial

HANGS = "import threading\nthreading.Event().wait()\n"
PATIENCE = 60.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A = 1\n\nraise ValueError('no\\nshop')\n", "{here}/wrong.py:3: ValueError: no shop; correct it"),
        ("import json\njson.loads('x')\n", "{here}/wrong.py:2, at "),
        ("import helping\n", "{here}/wrong.py:1, at {here}/helping.py:2: ZeroDivisionError: "),
        ("A = 1\ndef f(:\n", "{here}/wrong.py:2: SyntaxError: invalid syntax; correct it"),
        ("import no_such_package\n", "{here}/wrong.py:1: ModuleNotFoundError: No module named"),
        ("raise SystemExit\n", "{here}/wrong.py:1: SystemExit; correct it"),
        ("import os\nos._exit(7)\n", "ends the process that imports it (exit status 7)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "(exit status -9)"),
    ],
    ids=["raises", "library", "helper", "syntax", "package", "exit", "gone", "killed"],
)
def test_what_cannot_be_imported_is_said_in_one_line(folder: Path, text: str, says: str) -> None:
    """The module, its line, the line that raised, and the exception; nothing of it is left here."""
    (folder / "wrong.py").write_text(text)
    (folder / "helping.py").write_text("\n1 / 0\n")
    (folder / "fine.py").write_text("print('not shown')\n")

    (problem,) = Trial(["fine", "wrong"], "fork").problems(PATIENCE)
    assert "module 'wrong' of AGENT_MODULES" in problem
    assert says.format(here=folder) in problem
    assert "\n" not in problem


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_every_module_is_tried(
    folder: Path, how: Literal["fork", "spawn"], capfd: pytest.CaptureFixture[str]
) -> None:
    """One that raises does not hide the next, and nothing that they print is seen."""
    (folder / "first.py").write_text("print('words'); nothing\n")
    (folder / "last.py").write_text("import sys\nprint('words', file=sys.stderr)\n")

    name, missing = Trial(["first", "nope", "last"], how).problems(PATIENCE)
    assert "first.py:1: NameError: name 'nothing' is not defined" in name
    assert missing.endswith("ModuleNotFoundError: No module named 'nope'; is its folder on PYTHONPATH?")
    assert capfd.readouterr() == ("", "")


def test_what_hangs_is_given_up(folder: Path) -> None:
    """The module is named and is no problem for that; the process is gone."""
    (folder / "hangs.py").write_text(HANGS)
    trial = Trial(["hangs"], "fork")
    assert (trial.problems(1.0), trial.unfinished) == ([], "hangs")
    assert trial._process.exitcode == -9

    ended = Trial(["hangs"], "fork")
    ended.close()
    assert "(exit status -9)" in ended.problems(PATIENCE)[0]
