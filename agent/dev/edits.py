"""Edits of Python that the worker has loaded; it loads code once, so it has to start again to see them."""

import importlib.util
import sysconfig
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from watchfiles import Change, PythonFilter, awatch

OWN_PACKAGES = ("agent", "config_store")


def watched(modules: Iterable[str]) -> dict[Path, frozenset[Path] | None]:
    """
    Folders to watch → the files in them that matter; None: all Python files below.

    Args:
        modules: AGENT_MODULES: where bundles take tools and agents from. A module that cannot be found is
            left out: the worker says so.
    """
    folders: dict[Path, frozenset[Path] | None] = {}
    installed = Path(sysconfig.get_paths()["purelib"])
    for name in (*OWN_PACKAGES, *modules):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is None or spec.origin is None:
            continue
        file = Path(spec.origin).resolve()
        if installed in file.parents:
            continue
        if file.name == "__init__.py":
            folders[file.parent] = None
        elif folders.get(file.parent, frozenset()) is not None:
            # the folder is watched, not the file: many editors save by replacing it
            folders[file.parent] = (folders.get(file.parent) or frozenset()) | {file}
    return folders


async def python_edits(modules: Iterable[str]) -> AsyncIterator[list[Path]]:
    """The files of each edit, as they are saved."""
    folders = watched(modules)
    is_python = PythonFilter()

    def matters(change: Change, path: str) -> bool:
        file = Path(path)
        return is_python(change, path) and any(
            folder in file.parents and (files is None or file in files) for folder, files in folders.items()
        )

    async for changes in awatch(*folders, watch_filter=matters):
        yield sorted({Path(path) for _, path in changes})
