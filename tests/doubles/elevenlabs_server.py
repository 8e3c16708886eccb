"""A double of ElevenLabs: speech over the two WebSockets the plugin uses, and Scribe over its own."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.doubles.audio import mp3, tone
from tests.doubles.server import CALL, TROUBLE, Double, Trouble, b64


class ElevenLabsDouble(Double):
    """`url` goes to `base_url`. The length of its speech obeys `speed`, and it sends word timings."""

    def __init__(self, *, transcript: str = "hello there", **rest: Any) -> None:
        super().__init__(**rest)
        self.transcript = transcript

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/text-to-speech/{voice}/multi-stream-input", self._speech),
            web.get("/v1/text-to-dialogue/multi-stream-input", self._dialogue),
            web.get("/v1/speech-to-text/realtime", self._listen),
        ]

    async def _speech(self, request: web.Request) -> web.WebSocketResponse:
        socket = await _opened(request)
        contexts: dict[str, dict[str, Any]] = {}
        async for message in _messages(socket, request):
            name = message["context_id"]
            if message.get("close_context"):
                await self._say(request, socket, name, contexts.pop(name))
                if not request[TROUBLE].stall:
                    await socket.send_json({"contextId": name, "isFinal": True})
                continue
            context = contexts.setdefault(name, {"settings": message.get("voice_settings") or {}, "text": ""})
            context["text"] += message["text"]
            if message.get("flush"):
                await self._say(request, socket, name, context)
        return socket

    async def _say(
        self, request: web.Request, socket: web.WebSocketResponse, name: str, context: dict[str, Any]
    ) -> None:
        text, context["text"] = context["text"].strip(), ""
        if not text:
            return
        if not (data := await self._audio(request, text, context["settings"])):
            return
        per = int(1000 * self.seconds_per_character / float(context["settings"].get("speed") or 1.0))
        starts = [index * per for index in range(len(text))]
        alignment = {"chars": list(text), "charStartTimesMs": starts, "charDurationsMs": [per] * len(text)}
        timed = {"alignment": alignment, "normalizedAlignment": alignment}
        await socket.send_json({"audio": b64(data), "contextId": name, "isFinal": False, **timed})
        trouble: Trouble = request[TROUBLE]
        if trouble.cut_after is not None and request.transport is not None:
            request.transport.abort()

    async def _dialogue(self, request: web.Request) -> web.WebSocketResponse:
        socket = await _opened(request)
        async for message in _messages(socket, request):
            name = message["context_id"]
            if message.get("close_context"):
                await socket.send_json({"context_id": name, "is_final": True})
                continue
            text = "".join(part["text"] for part in message.get("inputs", ())).strip()
            if text and (data := await self._audio(request, text, {})):
                await socket.send_json({"context_id": name, "audio": b64(data), "is_final": False})
        return socket

    async def _audio(self, request: web.Request, text: str, settings: dict[str, Any]) -> bytes:
        trouble: Trouble = request[TROUBLE]
        if trouble.empty or trouble.stall:
            return b""
        encoding, rate = request.query["output_format"].split("_")[:2]
        pcm = tone(self.seconds_per_character * len(text) / float(settings.get("speed") or 1.0), int(rate))
        if trouble.cut_after is not None:
            pcm = pcm[: trouble.cut_after]
        return pcm if encoding == "pcm" else mp3(pcm, int(rate), 32)

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        socket = await _opened(request)
        await socket.send_json({"message_type": "session_started", "session_id": "s1"})
        async for message in _messages(socket, request):
            request[CALL].sent[-1]["audio_base_64"] = len(base64.b64decode(message["audio_base_64"]))
            if request[TROUBLE].cut_after is not None:
                request[TROUBLE] = Trouble()
                await socket.close()
                break
            if not message["commit"]:
                continue
            text = self.heard(request[CALL])
            await socket.send_json({"message_type": "partial_transcript", "text": text})
            await socket.send_json({"message_type": "committed_transcript", "text": text})
            words = [
                {"text": word, "type": "word", "start": n * 0.3, "end": n * 0.3 + 0.25, "logprob": -0.05}
                for n, word in enumerate(text.split())
            ]
            final = {"text": text, "language_code": "en", "words": words}
            await socket.send_json({"message_type": "committed_transcript_with_timestamps", **final})
        return socket


async def _opened(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    return socket


async def _messages(socket: web.WebSocketResponse, request: web.Request) -> Any:
    async for frame in socket:
        if frame.type != WSMsgType.TEXT:
            break
        message = json.loads(frame.data)
        request[CALL].sent.append(message)
        yield message
        await asyncio.sleep(0)
