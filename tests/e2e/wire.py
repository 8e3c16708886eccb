"""A language model over the wire that a test plays: it says what it was asked, and never ends if told so."""

import asyncio
import json
from typing import Any, Self

from aiohttp import web

from agent.services.ports import free_ports

KEY = "wire-test-key"
PORT = free_ports(1)[0]
"""Known before any worker starts, because a worker's environment names it."""
ENVIRONMENT = {"WIRE_URL": f"http://127.0.0.1:{PORT}/v1", "WIRE_KEY": KEY}
FOR_EVER = "for ever"
"""A user who writes this gets an answer that never ends."""

Message = dict[str, Any]


def text_of(message: Message) -> str:
    """The text of one message, whichever form it has."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def last_words(messages: list[Message]) -> str:
    """What the user said last."""
    texts = [text_of(message) for message in messages if message["role"] == "user"]
    return texts[-1] if texts else ""


class Wire:
    """OpenAI as far as these tests need it; a voice that takes every text and sends nothing."""

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []
        self._closing = asyncio.Event()
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/audio/speech", self._speech),
                web.get("/v1/models", self._models),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", PORT).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    def asked_after(self, words: str) -> list[list[str]]:
        """The texts of each request in which the user's last words were these."""
        found = [asked for asked in self.asked if words in last_words(asked)]
        return [[text_of(message) for message in messages] for messages in found]

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "gpt-4.1", "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        self.asked.append(messages)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        words = last_words(messages)
        if FOR_EVER in words:
            while not self._closing.is_set():
                await response.write(_chunk("and on and on. "))
                await asyncio.sleep(0.05)
        await response.write(_chunk(f"You said {words}."))
        await response.write(_chunk(None) + b"data: [DONE]\n\n")
        return response

    async def _speech(self, request: web.Request) -> web.Response:
        await request.read()
        await self._closing.wait()
        return web.Response()


def _chunk(text: str | None) -> bytes:
    delta, finish = ({}, "stop") if text is None else ({"content": text}, None)
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    return f"data: {json.dumps({**base, 'choices': [choice]})}\n\n".encode()
