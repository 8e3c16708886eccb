"""
A LiveKit server of our own on loopback, for the demo, for `agent dev` and for tests.

`python -m agent.services.livekit_server` gets the program when it is missing and prints its path.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType

import yaml

from agent.services.livekit_binary import Progress, ServerUnavailableError, get_server
from agent.services.ports import LOOPBACK, free_ports
from agent.services.service import Service
from agent.services.tether import end_process, start_tethered
from agent.settings import environment

READY_WITHIN = 20.0
"""Seconds in which the server answers; measured under 1."""

ATTEMPTS = 3
"""How often it is started on new ports, since a port can be taken between choosing and binding it."""

PATIENCE = 0.2
"""Seconds it gets after SIGTERM; it has nothing to save, and would wait for the end of every call."""

POLL = 0.02
"""Seconds between two looks at a server that is starting."""


class LiveKitServerError(Exception):
    """The server did not start; the text names its log."""


class LiveKitServer(Service):
    """
    One livekit-server process, as a context manager. It ends with the process that started it.

    Attributes:
        url: `ws://127.0.0.1:PORT`, valid once started.
        api_key: Key for tokens and API calls.
        api_secret: Its secret, made up for this server.
        log: The server's log file (JSON lines).
    """

    def __init__(
        self, folder: Path | None = None, *, progress: Progress | None = None, port: int | None = None
    ) -> None:
        """
        Args:
            folder: Where its config and log go; None: a temporary folder of its own.
            progress: Told what goes on when the program has to be got first.
            port: Port of the API and of signalling; None: a free one.
        """
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="livekit-server-")
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.api_key = "key" + secrets.token_hex(4)
        self.api_secret = secrets.token_urlsafe(32)
        self.log = self.folder / "livekit-server.log"
        self._progress = progress or (lambda _: None)
        self._fixed_port = port
        self._ports: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for clients and workers."""
        if not self._ports:
            raise LiveKitServerError("the server has not been started")
        return f"ws://{LOOPBACK}:{self._ports[0]}"

    @property
    def pid(self) -> int | None:
        """Process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a worker or a command at this server."""
        return {
            "LIVEKIT_URL": self.url,
            "LIVEKIT_API_KEY": self.api_key,
            "LIVEKIT_API_SECRET": self.api_secret,
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._temporary:
            self._temporary.cleanup()

    def start(self) -> None:
        """
        Start it and return once it answers. After `stop` or `kill` it comes back on the same ports.

        Raises:
            ServerUnavailableError: The program cannot be had.
            LiveKitServerError: It did not start; its log says why.
        """
        program = get_server(environment(), self._progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        chosen_before = bool(self._ports)
        for attempt in range(1, ATTEMPTS + 1):
            if not chosen_before:
                signalling, media = free_ports(2)
                self._ports = [self._fixed_port or signalling, media]
            self._launch(program)
            if self._ready():
                return
            self.kill()
            if attempt == ATTEMPTS:
                self._ports = self._ports if chosen_before else []
        raise LiveKitServerError(f"livekit-server did not start; see {self.log}")

    def stop(self) -> None:
        """End it; safe to call twice."""
        if self._process:
            end_process(self._process, PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would; `start` brings it back with no memory of rooms."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _launch(self, program: Path) -> None:
        signalling, media = self._ports
        config = self.folder / "livekit-server.yaml"
        config.touch(mode=0o600)
        config.write_text(
            yaml.safe_dump(
                {
                    "port": signalling,
                    "bind_addresses": [LOOPBACK],
                    "rtc": {
                        "node_ip": LOOPBACK,
                        "use_external_ip": False,
                        "enable_loopback_candidate": True,
                        "interfaces": {"includes": ["lo", "lo0"]},
                        "tcp_port": 0,  # TCP for media cannot be bound to loopback alone
                        "udp_port": media,
                    },
                    "keys": {self.api_key: self.api_secret},
                    "logging": {"level": "info", "json": True},
                }
            ),
            encoding="utf-8",
        )
        with self.log.open("ab") as log:
            self._process = start_tethered([program, "--config", config], output=log)

    def _ready(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN
        address = self.url.replace("ws://", "http://")
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                with urllib.request.urlopen(address, timeout=1) as answer:  # noqa: S310 - our own address
                    if answer.status == 200:
                        return True
            except OSError:
                time.sleep(POLL)
        return False


def main() -> int:
    """Get the program and print its path; progress goes to stderr. Returns the exit status."""
    terminal = sys.stderr.isatty()

    def progress(line: str) -> None:
        sys.stderr.write(f"\r\033[K{line}" if terminal else f"{line}\n")
        sys.stderr.flush()

    try:
        program = get_server(environment(), progress)
    except ServerUnavailableError as exc:
        sys.stderr.write(f"{os.linesep if terminal else ''}error: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    if terminal:
        sys.stderr.write("\r\033[K")
    sys.stdout.write(f"{program}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
