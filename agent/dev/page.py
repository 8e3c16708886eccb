"""The local page of `agent dev`: static files, the bundles one can join, and a door to start a session."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

STATIC = Path(__file__).parent / "static"

LARGEST_BODY = 64 * 1024
"""Bytes of a request; the page sends a few hundred."""

HEADERS = {
    # everything comes from here; the LiveKit server has another port, and captions are text, never markup
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; media-src 'self' blob: mediastream:; "
        "connect-src 'self' ws: wss: http: https:; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class BundleCard:
    """What the page shows of a bundle that a session can start with."""

    name: str
    title: str
    description: str
    agents: tuple[str, ...]


class SessionAsked(Protocol):
    """Starts a session and returns what the page needs to join: session_id, room, url, token."""

    def __call__(
        self, *, bundle: str, user_id: str, overrides: dict[str, Any]
    ) -> Awaitable[dict[str, str]]: ...


class AskedWrongError(Exception):
    """The page asked for something that cannot be had; one line for the person."""


def make_page(
    bundles: Callable[[], Sequence[BundleCard]],
    start: SessionAsked,
    live: Callable[[str], Awaitable[dict[str, Any] | None]],
    transcript: Callable[[str], Awaitable[dict[str, Any] | None]],
) -> web.Application:
    """
    The page as an aiohttp application.

    Args:
        bundles: What can be joined now; asked on each load, so that edits show.
        start: Starts a session; raises AskedWrongError with a line for the person.
        live: Config, verdicts and timers of a session; None while nobody has configured it.
        transcript: The record of a session; None while there is none.
    """

    async def index(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def list_bundles(_: web.Request) -> web.Response:
        return web.json_response([asdict(card) for card in bundles()])

    async def start_session(request: web.Request) -> web.Response:
        try:
            body = await request.json()
            bundle, user = str(body["bundle"]), str(body["user_id"])
            overrides = dict(body.get("overrides") or {})
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            return _problem(400, "the request is not {bundle, user_id, overrides}")
        try:
            return web.json_response(await start(bundle=bundle, user_id=user, overrides=overrides))
        except AskedWrongError as exc:
            return _problem(409, str(exc))

    async def show_live(request: web.Request) -> web.Response:
        found = await live(request.match_info["session_id"])
        return web.Response(status=204) if found is None else web.json_response(found)

    async def show_transcript(request: web.Request) -> web.Response:
        found = await transcript(request.match_info["session_id"])
        if found is None:
            return web.Response(status=204)  # the page asks until it is there
        return web.json_response(found, dumps=lambda value: json.dumps(value, ensure_ascii=False, indent=2))

    app = web.Application(middlewares=[_only_from_here], client_max_size=LARGEST_BODY)
    app.router.add_get("/", index)
    app.router.add_get("/api/bundles", list_bundles)
    app.router.add_post("/api/sessions", start_session)
    app.router.add_get("/api/sessions/{session_id}", show_live)
    app.router.add_get("/api/transcripts/{session_id}", show_transcript)
    app.router.add_static("/static", STATIC)
    return app


@web.middleware
async def _only_from_here(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """
    Serve this machine's own browser and this page only.

    Any web site can make a visitor's browser ask 127.0.0.1 for things, under its own name (`Origin`) or under
    one that it lets point here (`Host`); a session costs money when real providers are used.
    """
    host = request.host.rsplit(":", 1)[0]
    origin = request.headers.get("Origin")
    if host not in ("127.0.0.1", "localhost") or origin not in (None, f"http://{request.host}"):
        return _problem(403, "this page is for the browser of this machine")
    if request.method == "POST" and request.content_type != "application/json":
        return _problem(415, "send JSON")
    response = await handler(request)
    response.headers.update(HEADERS)
    return response


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
