"""The bundles folder: which bundles, prompts and files it holds. Nothing outside it is ever read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from config_store.names import is_bundle_name

ENDINGS = (".yaml", ".yml")
PROMPTS = "prompts"
ROUTES = "routes"
MAX_TEXT_BYTES = 256 * 1024


class OutsideError(ValueError):
    """The path leads out of the bundles folder, or is not a plain file in it; the message says which."""


Signature = tuple[int, int, int, int]
"""What a file is known by: time of change, size, inode, device."""


def bundle_of(relative: str) -> str | None:
    """The bundle that a path below the folder holds; None when it holds none."""
    stem, dot, ending = relative.rpartition(".")
    is_bundle = f"{dot}{ending}" in ENDINGS and stem != ROUTES and not stem.startswith(f"{PROMPTS}/")
    return stem if is_bundle and is_bundle_name(stem) else None


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file that holds a bundle. `shown` is its path as reports name it."""

    name: str
    path: Path
    shown: str


@dataclass(frozen=True)
class BundleFolder:
    """
    A folder of bundles.

    `label` stands for the folder in places; by default the folder's own name, so that a place reads
    `bundles/support.yaml:5:3` wherever the folder is.
    """

    root: Path
    label: str | None = None

    def shown(self, relative: str) -> str:
        """A path below the folder as reports name it."""
        label = self.root.name if self.label is None else self.label
        return f"{label}/{relative}" if label else relative

    def misnamed(self, listing: Iterable[str]) -> dict[str, str]:
        """Files that look like bundles and cannot be, by their path without the ending, and why."""
        found = {}
        paths = set(listing)
        for path in sorted(paths):
            stem, dot, ending = path.rpartition(".")
            if f"{dot}{ending}" not in ENDINGS or stem == ROUTES or stem.startswith(f"{PROMPTS}/"):
                continue
            if not is_bundle_name(stem):
                found[stem] = f"{self.shown(path)}: a bundle's name has letters, digits, '_', '-' and '.'"
            elif ending == "yml" and f"{stem}.yaml" in paths:
                found[f"{stem}.yml"] = f"{self.shown(path)}: not read, because there is {stem}.yaml too"
        return found

    def bundles(self) -> list[str]:
        """The names of all bundles, in order. Hidden files, `prompts/` and `routes.yaml` are none."""
        return sorted({name for path in self.listing() if (name := bundle_of(path)) is not None})

    def bundle(self, name: str) -> BundleFile | None:
        """The file of one bundle; None when there is none."""
        if not is_bundle_name(name) or name == ROUTES or name.split("/")[0] == PROMPTS:
            return None
        for ending in ENDINGS:
            path = self.root / f"{name}{ending}"
            if path.is_symlink() or (
                path.exists() and not path.is_dir()
            ):  # what cannot be read is said later
                return BundleFile(name, path, self.shown(f"{name}{ending}"))
        return None

    def routes(self) -> BundleFile | None:
        """The file of the routing rules; None when there is none."""
        for ending in ENDINGS:
            path = self.root / f"{ROUTES}{ending}"
            if path.is_file():
                return BundleFile(ROUTES, path, self.shown(f"{ROUTES}{ending}"))
        return None

    def prompts(self) -> list[str]:
        """The ids of all prompts."""
        folder = self.root / PROMPTS
        found = sorted(folder.rglob("*.md")) if folder.is_dir() else []
        return [path.relative_to(folder).as_posix()[:-3] for path in found]

    def read_bundle(self, file: BundleFile) -> bytes:
        """
        The bytes of a bundle.

        Raises:
            OSError: It cannot be read.
            OutsideError: A link leads out of the folder.
        """
        return self.inside(file.path).read_bytes()

    def read_text(self, relative: str) -> str:
        """
        The text of a file below the folder, such as a prompt.

        Raises:
            OutsideError: The path leads out of the folder, is no file, too large, or not UTF-8.
        """
        if relative.startswith(("/", "~")) or "\\" in relative or "\x00" in relative:
            raise OutsideError("must be a path inside the bundles folder")
        path = self.root / relative
        if ".." in path.parts:
            raise OutsideError("may not contain '..'; it must stay inside the bundles folder")
        real = self.inside(path)
        try:
            if real.stat().st_size > MAX_TEXT_BYTES:
                raise OutsideError(f"is larger than {MAX_TEXT_BYTES // 1024} KiB")
            return real.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise OutsideError("is not UTF-8") from None
        except OSError as exc:
            raise OutsideError(f"cannot be read: {exc.strerror}") from None

    def inside(self, path: Path) -> Path:
        """The file behind a path, once it is certain that no link leads out of the folder."""
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise OutsideError("is a link that leads out of the bundles folder")
        if not real.is_file():
            raise OutsideError("is not a file")
        return real

    def signature(self, relative: str) -> Signature | None:
        """The signature of one file; None when there is none of that path."""
        try:
            found = (self.root / relative).stat()
        except (OSError, ValueError):
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)

    def content_digest(self, relative: str) -> str | None:
        """A digest of a file's content; None when it cannot be read."""
        try:
            path = self.root / relative
            return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        except (OSError, ValueError):
            return None

    def plain_files(self, paths: Iterable[Path]) -> list[str] | None:
        """
        The paths below the folder of files that changed; None when more than plain files may have.

        A folder, a link or something hidden may stand for many files: only a look at everything tells.
        """
        found = []
        for path in paths:
            try:
                relative = path.relative_to(self.root)
            except ValueError:
                return None
            if any(part.startswith(".") for part in relative.parts):
                if path.suffix in (".swp", ".swx", ".tmp") and not path.is_dir():
                    continue  # an editor's own
                return None
            if path.is_symlink() or path.is_dir():
                return None
            found.append(relative.as_posix())
        return found

    def listing(self) -> dict[str, Signature]:
        """
        Every file that is not hidden, by its path below the folder; empty when there is no folder.

        A signature changes when the content may have: links are followed, so that swapping what they lead to
        counts.
        """
        found: dict[str, Signature] = {}
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                entries = list(os.scandir(self.root / below))
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                relative = f"{below}{entry.name}"
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{relative}/")
                        continue
                    stat = entry.stat()
                except OSError:
                    if entry.is_symlink():
                        found[relative] = (0, 0, 0, 0)  # a link to nothing
                    continue  # a file that went away just now
                found[relative] = (stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev)
        return found
