"""What probes and operators ask the worker over HTTP: /livez, /readyz, /metrics."""

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

LOOK_SECONDS = 1.0
"""For how long what was seen of a folder is good enough for those who ask often."""


class PortTakenError(Exception):
    """Another program listens on the port; the text names the port and the setting."""


class Health:
    """
    A small HTTP server of the worker.

    Args:
        port: Where to listen on all interfaces; 0: any free port.
        unready: Says why the worker is not ready now, one line each; empty when it is.
        notes: What else an operator should see there, one line each; it does not change readiness.
    """

    def __init__(
        self, port: int, unready: Callable[[], Sequence[str]], notes: Callable[[], Sequence[str]] = tuple
    ) -> None:
        self._unready = unready
        self._notes = notes
        self._wanted = port
        self._runner: web.AppRunner | None = None
        self.port = port
        """The port it listens on, once started."""

    async def start(self) -> None:
        """
        Listen.

        Raises:
            PortTakenError: Another program has the port.
        """
        app = web.Application()
        app.router.add_get("/livez", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, port=self._wanted)
        try:
            await site.start()
        except OSError as exc:
            await self._runner.cleanup()
            raise PortTakenError(
                f"port {self._wanted} cannot be used ({exc.strerror}); set AGENT_HTTP_PORT to another one"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        reasons = self._unready()
        lines = [*(reasons or ["ready"]), *self._notes()]
        return web.Response(status=503 if reasons else 200, text="\n".join(lines) + "\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Writable:
    """Whether files can be made in a folder; for those who ask often, from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[float, str | None] = (-math.inf, None)

    def look(self) -> str | None:
        """Why no file can be made there now, in one line; None: it can. Touches the disk."""
        problem = unwritable(self._folder)
        self._seen = (time.monotonic(), problem)
        return problem

    def problem(self) -> str | None:
        """As `look`, from a look at most `LOOK_SECONDS` ago: the disk is touched once in that time."""
        looked_at, problem = self._seen
        return problem if time.monotonic() - looked_at < LOOK_SECONDS else self.look()


def unwritable(folder: Path) -> str | None:
    """Why no file can be made in this folder, in one line; None: it can. The folder is made when missing."""
    probe = folder / f".probe-{os.getpid()}-{threading.get_ident()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            probe.write_bytes(bytes(4096))  # on a full disk an empty file can still be made
        finally:
            probe.unlink(missing_ok=True)
    except OSError as exc:
        return f"{folder} cannot be written: {exc.strerror}"
    return None
