"""Where journals lie: one folder per session, one file per journal, under names that cannot escape."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

SUFFIX = ".journal"
_LONGEST_NAME = 180


def session_folder(folder: Path, session_id: str) -> Path:
    """
    The folder of one session's journals.

    The name is the id percent-encoded, without a dot at its start; an id that is too long for a file name
    is cut and ends in `~` and its SHA-256, and is then read from the first line of its journals.
    """
    name = quote(session_id, safe="", errors="surrogatepass").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(session_id.encode(errors="surrogatepass")).hexdigest()
        name = f"{name[:100]}~{digest}"
    return folder / (name or "%")


def session_id_of(session: Path) -> str | None:
    """The session id that a folder's name stands for; None if only its journals know (a very long id)."""
    name = session.name
    if "~" in name:
        return None
    return "" if name == "%" else unquote(name, errors="surrogatepass")


def journal_files(session: Path) -> list[Path]:
    """The journals in one session's folder, sorted by name; empty if there is no such folder."""
    try:
        return sorted(path for path in session.iterdir() if path.suffix == SUFFIX)
    except (FileNotFoundError, NotADirectoryError):
        return []


def session_folders(folder: Path) -> Iterator[Path]:
    """The folders of all sessions that have one under the folder of journals; nothing if that is missing."""
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (path for path in found if path.is_dir() and not path.is_symlink())
