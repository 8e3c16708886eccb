"""From the bundles folder to what jobs read: the parent compiles, a job opens one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config_store.catalog import Catalog
from config_store.compiler import Compiler, CompileReport
from config_store.folder import BundleFolder
from config_store.published import CompiledBundle, Publication
from config_store.routes import Routes

__all__ = ["CompileReport", "CompiledBundle", "CompiledBundles", "Compiler", "compile_bundles"]


def compile_bundles(
    folder: Path,
    out: Path,
    *,
    environ: Mapping[str, str],
    catalog: Catalog | None = None,
    label: str | None = None,
) -> CompileReport:
    """
    Compile a folder of bundles into `out`, once.

    Args:
        folder: The bundles folder.
        out: Where jobs read; made when it is not there. Another folder that was compiled there is replaced.
        environ: Values for `${NAME}`.
        catalog: What this worker can do; None: models, tools and modules are not checked.
        label: How places name the folder; None: by its own name.

    Raises:
        OSError: `out` cannot be written.
    """
    return Compiler(BundleFolder(folder, label), Publication(out), environ, catalog).run()


class CompiledBundles:
    """What jobs read: a folder of published bundles. Opens one file per question and keeps nothing."""

    def __init__(self, out: Path) -> None:
        self._publication = Publication(out)

    def get(self, name: str) -> CompiledBundle | None:
        """One bundle; None when none of that name is served."""
        return self._publication.read(name)

    def startable(self) -> tuple[str, ...]:
        """The names of the bundles that a session can start with, in order."""
        return self._publication.read_index()

    def routes(self) -> Routes:
        """The routing rules."""
        data: dict[str, Any] = self._publication.read_routes()
        return Routes.model_validate(data)

    def prompt(self, prompt: str) -> str | None:
        """The text of `prompts/ID.md`; None when there is none."""
        return self._publication.read_prompt(prompt)
