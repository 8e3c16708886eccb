"""The bundles folder read directly, for commands that explain what a session would be."""

from __future__ import annotations

from collections.abc import Mapping

from config_store.bundle import Bundle, load_bundle
from config_store.catalog import Catalog
from config_store.compiler import compiled
from config_store.errors import BundleNotFoundError, InvalidBundleError
from config_store.folder import BundleFolder, OutsideError
from config_store.parts import Sources
from config_store.published import CompiledBundle
from config_store.routes import Routes, load_routes


class FolderBundles:
    """
    Bundles as they stand in the folder now, each checked when it is asked for.

    Has the methods of CompiledBundles, so that a session can be resolved from it.
    """

    def __init__(
        self, folder: BundleFolder, environ: Mapping[str, str], catalog: Catalog | None = None
    ) -> None:
        self.folder = folder
        self._environ = environ
        self._catalog = catalog
        self.sources = Sources(folder, environ)

    def names(self) -> list[str]:
        """The names of all bundles, in order."""
        return sorted(self.sources.known())

    def load(self, name: str) -> Bundle:
        """
        One bundle with its problems.

        Raises:
            BundleNotFoundError: There is none of that name.
        """
        bundle = load_bundle(self.sources, name, self._catalog)
        if bundle is None:
            raise BundleNotFoundError(name, self.sources.known())
        return bundle

    def get(self, name: str) -> CompiledBundle | None:
        """
        One bundle.

        Raises:
            BundleNotFoundError: There is none of that name.
            InvalidBundleError: It has problems.
        """
        bundle = self.load(name)
        if not bundle.is_usable:
            raise InvalidBundleError(name, bundle.problems)
        return compiled(bundle)

    def startable(self) -> tuple[str, ...]:
        """The names of the bundles that are valid and have agents."""
        return tuple(
            name for name in self.names() if (found := self.load(name)).is_usable and found.is_startable
        )

    def routes(self) -> Routes:
        """The routing rules; those of a faulty file are none."""
        return load_routes(self.folder, self._environ, dict.fromkeys(self.names(), True))[0]

    def prompt(self, prompt: str) -> str | None:
        """The text of a prompt; None when there is none."""
        try:
            return self.folder.read_text(f"prompts/{prompt}.md")
        except OutsideError:
            return None
