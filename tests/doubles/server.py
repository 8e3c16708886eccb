"""What the doubles have in common: an address, a record of every call, and trouble on demand."""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Speak = Any
"""(text, rate, settings) -> 16-bit PCM: what the double's voice sounds like."""


@dataclass
class Call:
    """One request, or one WebSocket with everything that came in on it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    sent: list[dict[str, Any]] = field(default_factory=list)
    peer: Any = None
    """The client's end of the connection: calls with the same one came over one connection."""
    line: str = ""
    """The caller's part of the address, for doubles that serve several sessions at once."""

    @property
    def key(self) -> str:
        """The key it came with."""
        given = {name.lower(): value for name, value in self.headers.items()}
        for name in ("xi-api-key", "api-subscription-key", "x-api-key"):
            if name in given:
                return given[name]
        return given.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with one call."""

    status: int | None = None
    """Answer with this status instead."""
    quotes: bool = False
    """Tell in that answer what was asked, and with which key, as providers do."""
    stall: bool = False
    """Take the request and send nothing until the double closes or the caller leaves."""
    empty: bool = False
    """Answer rightly, without any audio."""
    cut_after: int | None = None
    """Break the connection after so many bytes of audio."""


CALL = web.RequestKey("call", Call)
TROUBLE = web.RequestKey("trouble", Trouble)


class Double:
    """
    A server on a free port of loopback.

    `trouble[path ending]` is a list; each call whose path ends so takes the first one off it, and is fine
    when there is none left.
    """

    def __init__(self, *, keys: tuple[str, ...] = ("test-key",), seconds_per_character: float = 0.06) -> None:
        self.keys = keys
        self.seconds_per_character = seconds_per_character
        """How long the double's voice speaks, at its own speed."""
        self.words: dict[str, list[str]] = defaultdict(list)
        """By line, what the next utterances say; when there is none left, `transcript` says it."""
        self.transcript = ""
        self.calls: list[Call] = []
        self.trouble: dict[str, list[Trouble]] = defaultdict(list)
        self.closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        """The paths this double serves."""
        raise NotImplementedError

    def of(self, ending: str, line: str | None = None) -> list[Call]:
        """The calls whose path ends so; those of one line only, or all."""
        return [
            call for call in self.calls if call.path.endswith(ending) and (line is None or call.line == line)
        ]

    def on(self, line: str) -> str:
        """The address of a line: what comes in on it can be told apart."""
        return self.url.removesuffix("/v1") + f"/{line}/v1"

    def heard(self, call: Call) -> str:
        """What an utterance on this call says."""
        waiting = self.words.get(call.line)
        return waiting.pop(0) if waiting else self.transcript

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._record], client_max_size=64 << 20)
        for route in self.routes():
            for path in (route.path, "/{line}" + route.path):
                app.router.add_route(route.method, path, route.handler)
        # the default of 60 s would let a test wait for a client that keeps its connection
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing.set()
        assert self._runner is not None
        await self._runner.cleanup()

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        line = request.match_info.get("line", "")
        path = request.path.removeprefix(f"/{line}") if line else request.path
        call = Call(path, dict(request.query), dict(request.headers), line=line)
        call.peer = request.transport.get_extra_info("peername") if request.transport else None
        self.calls.append(call)
        request[CALL] = call
        if call.key not in self.keys:
            return web.json_response({"error": {"message": "Incorrect API key provided"}}, status=401)
        request[TROUBLE] = trouble = self._next_trouble(request.path)  # with its line, if it has one
        if trouble.status is not None:
            asked = await request.text()
            why = f"injected into {asked} of {call.key}" if trouble.quotes else "injected"
            return web.json_response({"error": {"message": why}}, status=trouble.status)
        if trouble.stall and request.method == "POST":
            await request.read()
            await self.closing.wait()
        answer: web.StreamResponse = await handler(request)
        return answer

    def _next_trouble(self, path: str) -> Trouble:
        for ending, waiting in self.trouble.items():
            if path.endswith(ending) and waiting:
                return waiting.pop(0)
        return Trouble()


def b64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()
