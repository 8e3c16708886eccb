"""A double of Anthropic: messages over SSE, text and tools."""

from __future__ import annotations

import itertools
import json
from typing import Any

from aiohttp import web

from tests.doubles.openai_server import Reply
from tests.doubles.server import CALL, Double


class AnthropicDouble(Double):
    """`address` goes to `base_url`: the SDK adds the version by itself."""

    def __init__(self, *, reply: Reply | None = None, **rest: Any) -> None:
        super().__init__(**rest)
        self.reply: Reply = reply or (lambda _: ("Fine, thank you.", []))
        self._count = itertools.count(1)

    @property
    def address(self) -> str:
        """Without the version."""
        return self.url.removesuffix("/v1")

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/messages", self._messages), web.get("/v1/models", self._models)]

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [], "has_more": False, "first_id": None, "last_id": None})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = request[CALL].body = await request.json()
        text, calls = self.reply(body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        message = {
            "id": f"msg_{next(self._count)}", "type": "message", "role": "assistant", "content": [],
            "model": body["model"], "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 1},
        }  # fmt: skip
        events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
        if text:
            events += _block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})
        for index, (name, arguments) in enumerate(calls, start=1):
            use = {"type": "tool_use", "id": f"toolu_{next(self._count)}", "name": name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
            events += _block(index, use, delta)
        stop = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 4}})
        events.append({"type": "message_stop"})
        for event in events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await response.write_eof()
        return response


def _block(index: int, start: dict[str, Any], delta: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        {"type": "content_block_delta", "index": index, "delta": delta},
        {"type": "content_block_stop", "index": index},
    ]
