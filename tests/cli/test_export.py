"""`agent transcripts export`: each form, of one and of many, streaming, a progress bar for people only."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import transcripts
from agent.transcripts.export import export
from agent.transcripts.fold import fold
from tests.transcripts.conftest import talk

SESSIONS = ("s-1", "s-2", "s-3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AGENT_DATA with three records."""
    folder = tmp_path_factory.mktemp("export") / "var"
    for session_id in SESSIONS:
        talk(folder / "journals", session_id, said=(f"words of {session_id}",))
    assert run(folder, "finalize").exit_code == 0
    return folder


def run(data: Path, *arguments: str) -> Any:
    """The command in this process."""
    return CliRunner().invoke(transcripts.app, list(arguments), env={"AGENT_DATA": str(data)})


def sessions_in(form: str, text: str) -> list[str]:
    """Whose words are in an export, and that all of it is what it says it is."""
    match form:
        case "json":
            records = json.loads(text)
            assert all(record["schema"] == "transcript/v1" for record in records)
            return sorted(record["session_id"] for record in records)
        case "csv":
            return sorted({row["session_id"] for row in csv.DictReader(io.StringIO(text))})
        case _:
            return sorted(session_id for session_id in SESSIONS if f"words of {session_id}" in text)


@pytest.mark.parametrize("form", ["json", "text", "csv"])
def test_one_and_many_to_a_file_and_to_a_pipe(data: Path, form: str, tmp_path: Path) -> None:
    """Named ids, or all that the filters leave; the file holds what the pipe gets."""
    one = run(data, "export", "s-2", "--format", form)
    assert sessions_in(form, one.stdout) == ["s-2"]
    two = run(data, "export", "s-1", "s-3", "--format", form)
    assert sessions_in(form, two.stdout) == ["s-1", "s-3"]
    out = tmp_path / "out"
    everything = run(data, "export", "--format", form)
    assert run(data, "export", "--format", form, "--output", str(out)).stdout == ""
    assert sessions_in(form, everything.stdout) == list(SESSIONS)
    assert out.read_bytes() == everything.stdout_bytes
    assert sessions_in(form, run(data, "export", "--bundle", "none", "--format", form).stdout) == []


def test_webvtt_of_one_and_a_folder_of_many(data: Path, tmp_path: Path) -> None:
    """One session is one file, also on a pipe; many are one file each, and many into one are refused."""
    one = run(data, "export", "s-1", "--format", "vtt").stdout
    assert one.startswith("WEBVTT\n\n1\n00:00:00.000 --> ")
    assert run(data, "export", "--format", "vtt", "--output", str(tmp_path / "out")).exit_code == 0
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert sorted(files) == [f"{session_id}.vtt" for session_id in SESSIONS]
    assert files["s-1.vtt"] == one
    refused = run(data, "export", "--format", "vtt")
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("form", ["json", "text", "csv"])
def test_a_record_is_out_before_the_next_is_read(form: Any) -> None:
    """Nothing but one record is held, however many there are."""
    read: list[int] = []

    def records() -> Iterator[dict[str, Any]]:
        for number in range(3):
            read.append(number)
            talked = [
                {"attempt": 1, "w": "a", "n": 1, "type": "start", "session_id": f"s-{number}"},
                {"attempt": 1, "w": "a", "n": 2, "type": "user", "text": "hello"},
            ]
            yield fold(talked)

    out = ""
    for piece in export(records(), form):
        out += piece
        written = sum(f"s-{number}" in out for number in range(3))
        assert len(read) <= written + 1


def test_a_bar_for_people_only(data: Path, tmp_path: Path) -> None:
    """A terminal is shown how far the export is, also when that goes to a pipe; a pipe is not."""
    out = tmp_path / "out.json"
    shown, _ = on_terminal(data, "export", "--output", str(out))
    assert "exporting" in shown
    assert "\x1b[" in shown
    assert sessions_in("json", out.read_text()) == list(SESSIONS)
    shown, printed = on_terminal(data, "export")
    assert "exporting" in shown, "the export goes to a pipe, the bar to the terminal"
    assert sessions_in("json", printed) == list(SESSIONS)
    silent = subprocess.run(
        command("export", "--output", str(out)), env=environment(data), capture_output=True, check=True
    )
    assert (silent.stdout, silent.stderr) == (b"", b"")


def on_terminal(data: Path, *arguments: str) -> tuple[str, str]:
    """What a person sees on stderr, a terminal, and what the command prints to a pipe."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), env=environment(data), stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # how Linux says that nobody has the other end any more
    os.close(ours)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return shown.decode(), printed.decode()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent", "transcripts", *arguments]


def environment(data: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {**kept, "AGENT_DATA": str(data), "TERM": "xterm-256color"}
