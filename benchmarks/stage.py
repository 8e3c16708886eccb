"""The services of a benchmark and the workers that are compared, each as a process of its own."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from livekit import api

from agent.services.livekit_server import LiveKitServer
from agent.services.ports import free_ports
from agent.services.tether import end_process, start_tethered
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings
from agent.transcripts.migrations import upgrade
from benchmarks import processes

BUNDLES = Path(__file__).parent / "bundles"
READY_SECONDS = 60.0
QUIET_SHARE = 0.25
"""Busy share of one core below which the machine counts as quiet enough to measure."""


class Stage:
    """LiveKit and Valkey on loopback in a temporary folder, and workers on them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.folder = Path(self._folder.name)
        self.livekit = LiveKitServer(self.folder / "livekit")
        self.valkey = EmbeddedValkey(self.folder / "valkey")
        self.workers: list[RunningWorker] = []

    def __enter__(self) -> Self:
        self.livekit.start()
        self.valkey.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self.workers):
            worker.stop()
        self.valkey.stop()
        self.livekit.stop()
        self._folder.cleanup()

    def ours(self, name: str = "ours", **environment: str) -> "RunningWorker":
        """This runtime."""
        return self._started(Ours(self, name, environment))

    def bare(self, name: str = "bare", **environment: str) -> "RunningWorker":
        """The hard-coded worker."""
        return self._started(Bare(self, name, environment))

    def openrtc(self, name: str = "openrtc") -> "RunningWorker":
        """OpenRTC, with the interpreter that BENCH_OPENRTC names."""
        return self._started(Bare(self, name, {}, os.environ["BENCH_OPENRTC"], "benchmarks.openrtc_worker"))

    def _started(self, worker: "RunningWorker") -> "RunningWorker":
        self.workers.append(worker)
        worker.start()
        return worker

    def settings(self, name: str) -> Settings:
        """What `agent session start` needs to reach our worker."""
        return Settings(
            livekit_url=self.livekit.url,
            livekit_api_key=self.livekit.api_key,
            livekit_api_secret=self.livekit.api_secret,
            redis_url=self.valkey.url,
            data=self.folder / name,
            name=name,
        )

    def token(self, room: str, identity: str, *, agent: str | None = None, metadata: str = "") -> str:
        """A user's token; with `agent`, one that brings the agent along."""
        token = (
            api.AccessToken(self.livekit.api_key, self.livekit.api_secret)
            .with_identity(identity)
            .with_grants(api.VideoGrants(room_join=True, room=room))
        )
        if agent is not None:
            dispatch = api.RoomAgentDispatch(agent_name=agent, metadata=metadata)
            token = token.with_room_config(api.RoomConfiguration(agents=[dispatch]))
        return token.to_jwt()


class RunningWorker:
    """A worker as a process."""

    def __init__(self, stage: Stage, name: str, environment: dict[str, str]) -> None:
        self.stage = stage
        self.name = name
        self.log = stage.folder / f"{name}-{len(stage.workers)}.log"
        kept = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "VIRTUAL_ENV")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in kept},
            **stage.livekit.environment,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_seconds = 0.0

    def start(self) -> None:
        """Start it and wait until it takes jobs."""
        began = time.monotonic()
        with self.log.open("wb") as output:
            self._start(output)
        while not self._ready():
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended\n{self.log.read_text(errors='replace')[-3000:]}")
            if time.monotonic() - began > READY_SECONDS:
                raise RuntimeError(
                    f"{self.name} is not ready\n{self.log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.02)
        self.ready_seconds = time.monotonic() - began

    def _start(self, output: IO[bytes]) -> None:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        assert self.process is not None
        return processes.tree(self.process.pid)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.stage.workers.remove(self)
        assert self.process is not None
        return end_process(self.process, 30.0)


class Ours(RunningWorker):
    """`agent start`; Redis runs outside of it, as in production."""

    def __init__(self, stage: Stage, name: str, environment: dict[str, str]) -> None:
        super().__init__(stage, name, environment)
        self.port = free_ports(1)[0]
        self.environment = {
            **self.environment,
            "REDIS_URL": stage.valkey.url,
            "AGENT_NAME": name,
            "AGENT_DATA": str(stage.folder / name),
            "AGENT_BUNDLES": str(BUNDLES),
            "AGENT_DEFAULT_BUNDLE": "talk",
            "AGENT_HTTP_PORT": str(self.port),
            "AGENT_MAX_SESSIONS": "200",
            "AGENT_DRAIN_SECONDS": "0",
            **environment,
        }

    def _start(self, output: IO[bytes]) -> None:
        # a worker finds its tables, but for the first start on an embedded database
        upgrade(f"sqlite:///{self.environment['AGENT_DATA']}/agent.db")
        self.process = start_tethered(
            [sys.executable, "-m", "agent", "start"], output=output, environment=self.environment
        )

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.HTTPError, OSError):
            return False


class Bare(RunningWorker):
    """benchmarks/bare_worker.py, or another module that takes its name from BARE_NAME."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        environment: dict[str, str],
        python: str = sys.executable,
        module: str = "benchmarks.bare_worker",
    ) -> None:
        super().__init__(stage, name, environment)
        self._command = [python, "-m", module]

    def _start(self, output: IO[bytes]) -> None:
        self.process = start_tethered(
            self._command,
            output=output,
            environment={**self.environment, "BARE_NAME": self.name},
            folder=Path(__file__).parent.parent,
        )

    def _ready(self) -> bool:
        return b"registered" in self.log.read_bytes()


def wait_for_quiet(patience: float = 20.0) -> float:
    """
    Wait until others leave the machine alone, at most `patience` seconds; the share of a core they took.

    On a machine that is never quiet it goes on all the same: the share stands beside the figures.
    """
    until = time.monotonic() + patience
    while True:
        began, at = processes.busy_seconds(), time.monotonic()
        time.sleep(1.0)
        share = (processes.busy_seconds() - began) / (time.monotonic() - at)
        if share < QUIET_SHARE or time.monotonic() > until:
            return share
