"""What tests of commands about bundles and presets share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import bundles as bundles_command
from agent.cli import preset as preset_command

CALL = """
name: ${TITLE}
models:
  {stt: {provider: offline, options: {phrases: [hello]}}, llm: {provider: offline}, tts: {provider: offline}}
agents:
  desk: {instructions: "You talk to {{who}}.", greeting: "Hello {{who}}."}
idle_timeout_seconds: 30
variables: {who: {default: "${WHO}"}}
"""

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one good bundle, whose environment is known."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "call.yaml").write_text(CALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TITLE", "hush-title")
    monkeypatch.setenv("WHO", "hush-who")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """`agent bundles …` or `agent preset …`; returns the result with stdout and stderr apart."""

    def run_one(*arguments: str, status: int = 0, stdin: str | None = None) -> Any:
        group, *rest = arguments
        app = {"bundles": bundles_command.app, "preset": preset_command.app}[group]
        result = CliRunner().invoke(app, rest, input=stdin)
        assert result.exit_code == status, result.output
        return result

    return run_one
