"""docs/transcripts.md says what records and commands are."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import build
from agent.transcripts.fold import fold
from tests.transcripts.conftest import talk

TEXT = (Path(__file__).parent.parent / "docs" / "transcripts.md").read_text()


def test_every_field_of_a_record_is_documented() -> None:
    """The table names exactly the fields that a record has, in their order."""
    table = TEXT.partition("<!-- record -->")[2].partition("<!-- end -->")[0]
    named = [
        name
        for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(named) == sorted(fold([]).keys())


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the page, one after the other, on two sessions, exits 0."""
    monkeypatch.setenv("AGENT_DATA", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    talk(tmp_path / "var" / "journals", "s-1", said=("my order and a refund please",))
    talk(tmp_path / "var" / "journals", "s-2", said=("hello",), organization="acme")
    (block,) = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    lines = block.strip().splitlines()
    assert len(lines) > 10
    for line in lines:
        program, *arguments = shlex.split(line)
        answer = CliRunner().invoke(build(), arguments)
        assert (program, answer.exit_code) == ("agent", 0), f"{line}\n{answer.output}"
        if "search" in line:
            assert "**refund**" in answer.stdout
    assert (tmp_path / "turns.csv").exists()
