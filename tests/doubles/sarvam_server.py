"""A double of Sarvam: speech over its WebSockets, recognition over another, chat as OpenAI's."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.doubles.audio import mp3, tone
from tests.doubles.openai_server import OpenAIDouble
from tests.doubles.server import CALL, b64


class SarvamDouble(OpenAIDouble):
    """`url` goes to `base_url`. The length of its speech obeys `pace`."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self._chat),
            web.get("/v1/models", self._models),
            web.get("/v1/text-to-speech/ws", self._talk),
            web.get("/v1/text-to-speech/ws/v2", self._talk),
            web.get("/v1/speech-to-text/ws", self._hear),
        ]

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        config: dict[str, Any] = {}
        text = ""
        async for frame in socket:
            if frame.type != WSMsgType.TEXT:
                break
            message = json.loads(frame.data)
            request[CALL].sent.append(message)
            if message["type"] == "config":
                config = message["data"]
            elif message["type"] == "text":
                text += message["data"]["text"]
            elif message["type"] == "flush":
                rate = int(config["speech_sample_rate"])
                pcm = tone(self.seconds_per_character * len(text) / config["pace"], rate)
                text = ""
                await socket.send_json({"type": "audio", "data": {"audio": b64(mp3(pcm, rate))}})
                await socket.send_json({"type": "event", "data": {"event_type": "final"}})
        return socket

    async def _hear(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            if frame.type != WSMsgType.TEXT:
                break
            if request[CALL].sent:
                continue
            request[CALL].sent.append({"type": json.loads(frame.data).get("type", "audio")})
            await socket.send_json({"type": "events", "data": {"signal_type": "START_SPEECH"}})
            words = {"transcript": self.heard(request[CALL]), "language_code": "hi-IN", "request_id": "r1"}
            await socket.send_json({"type": "data", "data": words})
            await socket.send_json({"type": "events", "data": {"signal_type": "END_SPEECH"}})
        return socket
