"""A double of OpenAI: chat completions (SSE), speech and transcriptions."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.doubles.audio import mp3, tone
from tests.doubles.server import CALL, TROUBLE, Double, Trouble, b64

RATE = 24000

Reply = Callable[[dict[str, Any]], tuple[str, list[tuple[str, dict[str, Any]]]]]
"""(request body) -> (text, [(tool, arguments)])."""


class OpenAIDouble(Double):
    """`url` goes to `base_url`. The length of its speech obeys `speed`."""

    def __init__(self, *, reply: Reply | None = None, transcript: str = "hello there", **rest: Any) -> None:
        super().__init__(**rest)
        self.reply: Reply = reply or (lambda _: ("Fine, thank you.", []))
        self.transcript = transcript
        self._count = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.get("/v1/", self._models),
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/audio/speech", self._speech),
            web.post("/v1/audio/transcriptions", self._transcribe),
        ]

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "gpt-4.1", "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = request[CALL].body = await request.json()
        text, calls = self.reply(body)
        base = {
            "id": f"chatcmpl-{next(self._count)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body["model"],
        }

        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

        events: list[Any] = [chunk({"role": "assistant", "content": ""})]
        events += [chunk({"content": word + " "}) for word in text.split()]
        for index, (name, arguments) in enumerate(calls):
            events.append(chunk({"tool_calls": [self._opened(index, name)]}))
            written = json.dumps(arguments)
            for start in range(0, len(written), 5):  # arguments come in pieces that mean nothing alone
                piece = {"index": index, "function": {"arguments": written[start : start + 5]}}
                events.append(chunk({"tool_calls": [piece]}))
        events.append(chunk({}, "tool_calls" if calls else "stop"))
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        events += [{**base, "choices": [], "usage": usage}, "[DONE]"]
        return await self._events(request, events)

    def _opened(self, index: int, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": ""}
        return {"index": index, "id": f"call_{next(self._count)}", "type": "function", "function": function}

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        body = request[CALL].body = await request.json()
        trouble: Trouble = request[TROUBLE]
        pcm = b"" if trouble.empty else self._speak(body["input"], body)
        if body.get("response_format", "mp3") == "pcm":
            data, kind = pcm, "audio/pcm"
        else:
            data, kind = (mp3(pcm, RATE) if pcm else b""), "audio/mpeg"
        if body.get("stream_format") != "sse":
            return await self._plain(request, data, kind, trouble)
        pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
        if trouble.cut_after is not None:
            pieces = pieces[: trouble.cut_after // 4096 + 1]
        events: list[Any] = [{"type": "speech.audio.delta", "audio": b64(piece)} for piece in pieces]
        if trouble.cut_after is None:
            usage = {"input_tokens": 7, "output_tokens": 70, "total_tokens": 77}
            events.append({"type": "speech.audio.done", "usage": usage})
        return await self._events(request, events, cut=trouble.cut_after is not None)

    def _speak(self, text: str, settings: dict[str, Any]) -> bytes:
        return tone(self.seconds_per_character * len(text) / float(settings.get("speed") or 1.0), RATE)

    async def _plain(
        self, request: web.Request, data: bytes, kind: str, trouble: Trouble
    ) -> web.StreamResponse:
        if trouble.cut_after is None:
            return web.Response(body=data, content_type=kind)
        response = web.StreamResponse(headers={"Content-Type": kind, "Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: trouble.cut_after])
        _hang_up(request)
        return response

    async def _events(
        self, request: web.Request, events: list[Any], *, cut: bool = False
    ) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "x-request-id": f"req_{next(self._count)}"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for event in events:
            line = event if isinstance(event, str) else json.dumps(event)
            await response.write(f"data: {line}\n\n".encode())
        if cut:
            _hang_up(request)
            return response
        await response.write_eof()
        return response

    async def _transcribe(self, request: web.Request) -> web.Response:
        fields: dict[str, Any] = {}
        async for part in await request.multipart():
            data = await part.read()
            fields[part.name] = len(data) if part.name == "file" else data.decode()
        request[CALL].body = fields
        return web.json_response({"text": self.heard(request[CALL])})


def _hang_up(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
