"""The life of `agent dev`: services, a worker that starts again when its Python changes, and the page."""

import asyncio
import logging
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import typer
from aiohttp import web

from agent.demo.stage import bundles_folder
from agent.dev.backend import Backend
from agent.dev.edits import python_edits
from agent.dev.page import make_page
from agent.dev.watching import watch
from agent.plain_text import one_line
from agent.services.livekit_server import LiveKitServer
from agent.services.ports import LOOPBACK, free_ports, is_listening
from agent.services.valkey import EmbeddedValkey
from agent.services.worker import READY_WITHIN, Worker
from agent.settings import Settings, load
from agent.stores import end_task

DEMO_TOOLS = "agent.demo.tools"

DRAIN_SECONDS = "0"
"""A restart after an edit ends live calls at once, with their goodbye; they belong to the developer."""

FIRST_PORT = 8000

logger = logging.getLogger(__name__)


class PortTakenError(Exception):
    """The page's port is in use; one line with what to do."""


class Development:
    """
    Everything that `agent dev` runs, on the settings of this process.

    A context manager around `run`: services start before there is an event loop, since getting the LiveKit
    server for the first time takes minutes in which Ctrl-C has to work.
    """

    def __init__(self, settings: Settings, port: int | None) -> None:
        """
        Args:
            settings: Of this process; LIVEKIT_URL and REDIS_URL are used when set, else our own servers.
            port: Of the page; None: 8000, or a free one when that is taken.

        Raises:
            PortTakenError: The port that was asked for is in use.
        """
        if port and is_listening(port):
            raise PortTakenError(f"--port {port} is in use; choose another one or leave it out")
        self._port = port or (FIRST_PORT if not is_listening(FIRST_PORT) else free_ports(1)[0])
        self._asked = settings
        self._own_livekit = settings.livekit_url is None
        self._server = LiveKitServer(settings.data / "livekit", progress=_say)
        self._valkey = EmbeddedValkey(settings.data)
        self._worker: Worker | None = None
        self._settings = settings

    def __enter__(self) -> Self:
        try:
            self._start_services()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    async def run(self) -> None:
        """Run worker and page until SIGINT or SIGTERM. Raises OSError: nobody takes what is printed."""
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._serve_page(), name="page"),
                    tasks.create_task(self._keep_working(), name="worker"),
                ]
                watching = tasks.create_task(watch(self._settings, _tell), name="watch")
                await stop.wait()
                _say("stopping")
                for task in running:
                    task.cancel()
                await end_task(watching)
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from None  # the others were told to end by it

    def _start_services(self) -> None:
        asked = self._asked
        if asked.redis_url is None:
            self._valkey.start()
        if self._own_livekit:
            self._server.start()
        folder = asked.bundles if asked.bundles.is_dir() else bundles_folder()
        own: dict[str, Any] = {}
        if self._own_livekit:
            own = {
                "livekit_url": self._server.url,
                "livekit_api_key": self._server.api_key,
                "livekit_api_secret": self._server.api_secret,
            }
        if asked.redis_url is None:
            own["redis_url"] = self._valkey.url
        modules = tuple(dict.fromkeys((*asked.modules, DEMO_TOOLS)))
        self._settings = load(**own, bundles=folder, modules=modules)
        self._worker = Worker(
            {
                **(self._server.environment if self._own_livekit else {}),
                "AGENT_BUNDLES": str(folder),
                "AGENT_MODULES": ",".join(modules),
                "AGENT_DRAIN_SECONDS": DRAIN_SECONDS,
            },
            log=None,
        )
        _say(f"LiveKit    {self._settings.livekit_url}")
        _say(f"data       {asked.data.absolute()}")
        _say(f"bundles    {folder}  (an edit counts for the next call)")

    def _stop(self) -> None:
        try:
            if self._worker:
                self._worker.stop()
        finally:
            try:
                self._server.stop()
            finally:
                self._valkey.stop()

    # --- the worker

    async def _keep_working(self) -> None:
        """Start the worker, and again after each edit of Python, also when it had fallen."""
        edits = python_edits(self._settings.modules)
        await self._start_worker()
        async for files in edits:
            _say(f"{', '.join(_short(file) for file in files)} changed: starting the worker again")
            assert self._worker is not None
            await asyncio.to_thread(self._worker.stop)
            await self._start_worker()

    async def _start_worker(self) -> None:
        worker = self._worker
        assert worker is not None
        worker.launch()
        try:
            async with asyncio.timeout(READY_WITHIN):
                while worker.pid and not await asyncio.to_thread(worker.is_ready):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            _say("the worker is not ready; its log above says why")
            return
        if worker.pid:
            _say(f"ready: open http://{LOOPBACK}:{self._port} and press Join  (Ctrl-C stops)")
        else:
            _say("the worker has ended; the lines above say why. The next edit of Python starts it again")

    # --- the page

    async def _serve_page(self) -> None:
        assert self._worker is not None
        backend = Backend(self._settings, self._worker)
        page = make_page(backend.bundles, backend.start_session, backend.live, backend.transcript)
        runner = web.AppRunner(page, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, self._port).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


def _say(line: str) -> None:
    typer.echo(f"agent dev  {line}")


def _tell(session_id: str, line: str) -> None:
    typer.echo(one_line(f"{session_id}  {line}"))


def _short(file: Path) -> str:
    """The path from here, when it is below."""
    here = Path(os.curdir).resolve()
    return str(file.relative_to(here)) if here in file.parents else str(file)
