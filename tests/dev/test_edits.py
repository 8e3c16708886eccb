"""Edits of Python that the worker has loaded."""

import asyncio
from pathlib import Path

import pytest

from agent.dev.edits import python_edits, watched


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module and a package, importable."""
    (tmp_path / "my_tools.py").write_text("")
    (tmp_path / "other.py").write_text("")
    (tmp_path / "my_agents").mkdir()
    (tmp_path / "my_agents" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_what_is_watched(project: Path) -> None:
    """A module is watched by its file, a package by its folder, and what cannot be found not at all."""
    folders = watched(["my_tools", "my_agents", "not_there", "not.there.either"])
    assert folders[project] == {project / "my_tools.py"}
    assert folders[project / "my_agents"] is None


def test_installed_packages_are_not_watched(project: Path) -> None:
    """A module from site-packages does not change while somebody works."""
    assert not any("site-packages" in str(folder) for folder in watched(["yaml", "my_tools"]))


async def test_an_edit_is_seen(project: Path) -> None:
    """Saving a watched module is reported; saving a neighbour or another kind of file is not."""
    edits = python_edits(["my_tools"])
    seen = asyncio.ensure_future(anext(edits))
    async with asyncio.timeout(30):
        number = 0
        while not seen.done():  # the watcher is ready at some moment after it was asked for
            number += 1
            (project / "other.py").write_text(f"x = {number}")
            (project / "my_tools.txt").write_text(f"{number}")
            (project / "my_tools.py").write_text(f"x = {number}")
            await asyncio.wait([seen], timeout=0.2)
    assert [file for file in seen.result() if file.parent == project] == [project / "my_tools.py"]
    await edits.aclose()
