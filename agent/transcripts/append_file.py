"""A file that is only appended to, whole line by whole line, and that comes back when somebody deletes it."""

import errno
import fcntl
import os
from pathlib import Path

_COPY_BYTES = 1 << 16


class AppendFile:
    """
    One journal's file. Not thread-safe: it belongs to the thread that writes it.

    While it is open its writer holds an exclusive `flock` on it, which the kernel drops when the process is
    gone, however it went: `is_being_written` tells others on the same machine.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self._header = header
        self._descriptor: int | None = None
        self._size = 0
        self._torn = False

    @property
    def is_open(self) -> bool:
        """Whether the file has been made."""
        return self._descriptor is not None

    def write(self, line: bytes) -> None:
        """
        Append one line by one `write`.

        Raises:
            OSError: Nothing of the line counts: no space, no folder, no permission. The next call may work.
        """
        if self._descriptor is None:
            self._descriptor = self._make()
        elif not self._is_in_place():
            self._come_back()
        self._append(line)

    def sync(self) -> None:
        """Have the disk hold the file and its name; nothing if there is no file yet. Raises OSError."""
        if self._descriptor is None:
            return
        os.fsync(self._descriptor)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Close the file and give up the lock; idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: bytes) -> None:
        assert self._descriptor is not None
        whole = b"\n" + line if self._torn else line
        written = os.write(self._descriptor, whole)
        if written == len(whole):
            self._size += written
            self._torn = False
            return
        # A full disk takes a part of a line. Cut it off again; where not even that works, the next line
        # starts with a newline of its own, so that readers lose the torn line only.
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._size += written
            self._torn = True
        raise _no_space()

    def _make(self) -> int:
        """Make the file, owner-only, with its header in it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _write_all(descriptor, self._header)
        except OSError:
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise
        self._size = len(self._header)
        self._torn = False
        return descriptor

    def _is_in_place(self) -> bool:
        assert self._descriptor is not None
        try:
            there = self.path.stat()
        except OSError:
            return False
        return there.st_ino == os.fstat(self._descriptor).st_ino

    def _come_back(self) -> None:
        """The folder was deleted, but the open file still holds every line: copy them into a new file."""
        old, size = self._descriptor, self._size
        assert old is not None
        new = self._make()
        try:
            position = len(self._header)
            while position < size:
                block = os.pread(old, min(_COPY_BYTES, size - position), position)
                _write_all(new, block)
                position += len(block)
        except OSError:
            os.close(new)
            self.path.unlink(missing_ok=True)
            self._size = size
            raise
        self._descriptor, self._size = new, size
        os.close(old)


def _write_all(descriptor: int, content: bytes) -> None:
    if not content or os.write(descriptor, content) != len(content):
        raise _no_space()


def _no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_being_written(path: Path) -> bool:
    """
    Whether the process that writes this journal is alive on this machine.

    Raises:
        OSError: The file is gone or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
