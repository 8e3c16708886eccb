"""The local page's server: what it serves, and whom."""

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agent.dev.page import STATIC, AskedWrongError, BundleCard, make_page

CARD = BundleCard("demo", "Demo", "A small shop's telephone.", ("desk", "specialist"))


class Backend:
    """Stands for what `agent dev` does behind the page, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.problem: str | None = None

    async def start(self, *, bundle: str, user_id: str, overrides: dict[str, Any]) -> dict[str, str]:
        if self.problem:
            raise AskedWrongError(self.problem)
        self.asked.append({"bundle": bundle, "user_id": user_id, "overrides": overrides})
        return {"session_id": "s-1", "room": "s-1", "url": "ws://127.0.0.1:1", "token": "t"}

    async def live(self, session_id: str) -> dict[str, Any] | None:
        return {"session_id": session_id, "timers": []} if session_id == "s-1" else None

    async def transcript(self, session_id: str) -> dict[str, Any] | None:
        return {"session_id": session_id} if session_id == "s-1" else None


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
async def client(backend: Backend) -> AsyncIterator[TestClient[Any, Any]]:
    app = make_page(lambda: [CARD], backend.start, backend.live, backend.transcript)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_page_needs_nothing_from_elsewhere(client: TestClient[Any, Any]) -> None:
    """Every script, style and icon of the page comes from this server, and its policy allows no other."""
    answer = await client.get("/")
    html = await answer.text()
    files = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert "/static/page.js" in files
    for file in files:
        if not file.startswith("data:"):
            assert (await client.get(file)).status == 200, file
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_bundles_are_listed(client: TestClient[Any, Any]) -> None:
    """The page gets name, title, description and agents of what can be joined."""
    answer = await client.get("/api/bundles")
    assert await answer.json() == [
        {
            "name": "demo", "title": "Demo", "description": "A small shop's telephone.",
            "agents": ["desk", "specialist"],
        }
    ]  # fmt: skip


async def test_a_session_is_started(client: TestClient[Any, Any], backend: Backend) -> None:
    """Bundle, person and overrides reach the starter, and its answer reaches the page."""
    asked = {"bundle": "demo", "user_id": "u", "overrides": {"voice_tuning": {"pace": 1.5}}}
    answer = await client.post("/api/sessions", json=asked)
    assert (await answer.json())["token"] == "t"
    assert backend.asked == [asked]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("{", 400, id="not JSON"),
        pytest.param('{"bundle": "demo"}', 400, id="no user"),
        pytest.param('["demo"]', 400, id="not an object"),
    ],
)
async def test_a_broken_request_is_refused(client: TestClient[Any, Any], body: str, status: int) -> None:
    """What is not a request for a session is answered with one clear line."""
    answer = await client.post("/api/sessions", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == status
    assert await answer.json() == {"error": "the request is not {bundle, user_id, overrides}"}


async def test_a_problem_reaches_the_person(client: TestClient[Any, Any], backend: Backend) -> None:
    """When no session can be started the page gets the reason."""
    backend.problem = "no worker took the session"
    answer = await client.post("/api/sessions", json={"bundle": "demo", "user_id": "u"})
    assert (answer.status, await answer.json()) == (409, {"error": "no worker took the session"})


async def test_a_running_session_is_shown(client: TestClient[Any, Any]) -> None:
    """What is known of a session that runs is served as JSON; of another one the answer is empty."""
    assert await (await client.get("/api/sessions/s-1")).json() == {"session_id": "s-1", "timers": []}
    assert (await client.get("/api/sessions/s-2")).status == 204


async def test_a_transcript_is_shown_once_it_is_there(client: TestClient[Any, Any]) -> None:
    """The record is served as JSON; before there is one the answer is empty."""
    assert await (await client.get("/api/transcripts/s-1")).json() == {"session_id": "s-1"}
    assert (await client.get("/api/transcripts/s-2")).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="a name that points here"),
        pytest.param({"Origin": "http://evil.example"}, id="another site"),
        pytest.param({"Origin": "null"}, id="a sandboxed frame"),
    ],
)
async def test_another_site_cannot_start_sessions(
    client: TestClient[Any, Any], backend: Backend, headers: dict[str, str]
) -> None:
    """A request that comes from another site's page, under whatever name, starts nothing."""
    answer = await client.post("/api/sessions", json={"bundle": "demo", "user_id": "u"}, headers=headers)
    assert answer.status == 403
    assert backend.asked == []


async def test_a_form_of_another_site_cannot_start_sessions(
    client: TestClient[Any, Any], backend: Backend
) -> None:
    """A body that a plain HTML form can send is not accepted."""
    answer = await client.post("/api/sessions", data='{"bundle": "demo", "user_id": "u"}')
    assert answer.status == 415
    assert backend.asked == []


def test_the_vendored_client_is_the_published_one() -> None:
    """livekit-client is byte for byte what its README names, and its licence lies beside it."""
    folder = STATIC / "vendor" / "livekit-client"
    digest = hashlib.sha256((folder / "livekit-client.umd.js").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text()
    assert "Apache License" in (folder / "LICENSE").read_text()
