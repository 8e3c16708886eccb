"""A worker as a process of its own: `agent start` with given settings, watched until it is ready."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from agent.services.ports import LOOPBACK, free_ports
from agent.services.service import Service
from agent.services.tether import end_process, start_tethered
from agent.settings import environment

READY_WITHIN = 60.0
"""Seconds until the worker is registered and has a usable bundle; measured 3 to 6 on two busy cores."""

POLL = 0.05
"""Seconds between two looks at a worker that is starting."""

LAST_LINES = 12
"""Lines of the log that are shown when a worker did not start."""


class WorkerError(Exception):
    """The worker did not become ready; the text has the end of its log."""


class Worker(Service):
    """
    One `agent start` process, as a context manager. It ends with the process that started it.

    Attributes:
        log: Its log file; None when it writes to our stderr.
        http_port: Port of its /readyz.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        log: Path | None,
        patience: float = 10.0,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """
        Args:
            settings: Variables that win over our environment: addresses, keys, AGENT_DATA and so on.
            log: File for its output, appended to; None: our stderr.
            patience: Seconds it gets to end after SIGTERM; more than its AGENT_DRAIN_SECONDS.
            death_signal: What it gets when this process is gone without having stopped it.
        """
        self._settings = dict(settings)
        self.log = log
        self._patience = patience
        self._death_signal = death_signal
        self._process: subprocess.Popen[bytes] | None = None
        self.http_port = 0

    @property
    def pid(self) -> int | None:
        """Process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """
        Start it and return once it is ready for calls.

        Raises:
            WorkerError: It ended, or was not ready in time.
        """
        self.launch()
        deadline = time.monotonic() + READY_WITHIN
        while not self.is_ready():
            if self.pid is None or time.monotonic() > deadline:
                status = self.stop()
                raise WorkerError(f"the worker did not start (exit status {status}){self._end_of_log()}")
            time.sleep(POLL)

    def launch(self) -> None:
        """Start it without waiting; call it from the main thread."""
        self.http_port = free_ports(1)[0]
        env = {**environment(), **self._settings, "AGENT_HTTP_PORT": str(self.http_port)}
        output: IO[bytes] | int = self.log.open("ab") if self.log else sys.stderr.fileno()
        try:
            self._process = start_tethered(
                [sys.executable, "-m", "agent", "start"],
                output=output,
                environment=env,
                death_signal=self._death_signal,
            )
        finally:
            if not isinstance(output, int):
                output.close()

    def is_ready(self) -> bool:
        """Whether it is registered, not draining, and has a usable bundle."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.http_port}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> int | None:
        """End it and return its exit status (None: it never ran); safe to call twice."""
        if self._process is None:
            return None
        group = self._process.pid
        try:
            status = end_process(self._process, self._patience)
        finally:
            # a worker that had to be killed may leave its jobs behind for a moment
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self._process = None
        return status

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash of the whole worker would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _end_of_log(self) -> str:
        if self.log is None:
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            last = collections.deque((line.rstrip() for line in lines), maxlen=LAST_LINES)
        return f"; see {self.log}\n" + "\n".join(last)
