"""What `.env` adds to the environment."""

from pathlib import Path

import dotenv
import pytest

from agent.settings import environment


def test_a_file_is_read_again_when_it_changed_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job asks for the environment: a file that is the same is not parsed anew, an edited one is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMED_TWICE", "of the process")
    parsed = []
    parse = dotenv.dotenv_values
    monkeypatch.setattr(dotenv, "dotenv_values", lambda path: parsed.append(path) or parse(path))
    file = tmp_path / ".env"

    assert "ONLY_IN_THE_FILE" not in environment()
    file.write_text("ONLY_IN_THE_FILE=first\nNAMED_TWICE=of the file\n")
    for _ in range(3):
        found = environment()
        assert (found["ONLY_IN_THE_FILE"], found["NAMED_TWICE"]) == ("first", "of the process")
    assert len(parsed) == 1

    file.write_text("ONLY_IN_THE_FILE=the second\n")
    assert environment()["ONLY_IN_THE_FILE"] == "the second"
    file.unlink()
    assert "ONLY_IN_THE_FILE" not in environment()
