"""Reading journals back: whole lines only, whatever state the files are in."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.transcripts.append_file import is_being_written
from agent.transcripts.entries import Entry, from_lines, union
from agent.transcripts.paths import journal_files, session_folder, session_folders, session_id_of


@dataclass(frozen=True)
class JournalRead:
    """What one journal file held when it was read."""

    path: Path
    session_id: str | None
    """From its first line; None if that is damaged."""
    entries: list[Entry]
    size: int
    """Bytes that were read; a file that is longer now has more in it."""
    damaged: int
    """Lines that are torn or damaged, and dropped."""


def read_file(path: Path) -> JournalRead:
    """
    One journal.

    Raises:
        OSError: It is gone or cannot be read.
    """
    content = path.read_bytes()
    found, damaged = from_lines(content)
    session_id: str | None = None
    entries: list[Entry] = []
    for entry in found:
        if entry.get("type") == "journal" and entry.get("n") == 0:
            session_id = entry.get("session_id")
        else:
            entries.append(entry)
    return JournalRead(path, session_id, entries, len(content), damaged)


def read_session(folder: Path, session_id: str) -> list[JournalRead]:
    """Each journal of one session; files that go away meanwhile are left out. Raises OSError."""
    found = []
    for path in journal_files(session_folder(folder, session_id)):
        try:
            found.append(read_file(path))
        except FileNotFoundError:
            continue
    return found


def read_journals(folder: Path, session_id: str) -> list[Entry]:
    """
    All entries of a session on this disk, each once, by attempt and number; empty if there are none.

    Raises:
        OSError: A journal cannot be read.
    """
    return list(union(entry for read in read_session(folder, session_id) for entry in read.entries).values())


def sessions_on_disk(folder: Path) -> Iterator[str]:
    """The ids of all sessions that have a journal here; nothing if there is no such folder."""
    for session in session_folders(folder):
        files = journal_files(session)
        if not files:
            continue
        known = session_id_of(session)
        session_id = known if known is not None else _from_content(files)
        if session_id is not None:
            yield session_id


def _from_content(files: list[Path]) -> str | None:
    for path in files:
        try:
            session_id = read_file(path).session_id
        except OSError:
            continue
        if session_id is not None:
            return session_id
    return None


def is_session_written(journals: Path, session_id: str) -> bool:
    """
    Whether a living process on this machine writes a journal of this session.

    Raises:
        OSError: One of them cannot be opened.
    """
    for path in journal_files(session_folder(journals, session_id)):
        with suppress(FileNotFoundError):
            if is_being_written(path):
                return True
    return False
