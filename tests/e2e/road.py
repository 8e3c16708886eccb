"""A way between two parts that can be closed for a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlparse


class Road:
    """
    A TCP relay on loopback: while it is closed bytes wait, and connections stay.

    Args:
        target: URL of the server, which names a port on loopback or, with `unix:`, a socket.
    """

    def __init__(self, target: str) -> None:
        self._target = urlparse(target)
        self.open = asyncio.Event()
        self.open.set()
        self.back = asyncio.Event()
        """Cleared: what the target answers waits too, while what is sent to it goes on."""
        self.back.set()
        self.port = 0

    @asynccontextmanager
    async def built(self) -> AsyncIterator["Road"]:
        """The relay, listening on `port`."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._target.scheme == "unix":
            far_reader, far_writer = await asyncio.open_unix_connection(self._target.path)
        else:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target.port)
        await asyncio.gather(
            self._carry(reader, far_writer, self.open),
            self._carry(far_reader, writer, self.open, self.back),
            return_exceptions=True,
        )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *gates: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(65536):
                for gate in gates:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
