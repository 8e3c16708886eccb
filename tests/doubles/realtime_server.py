"""A double of OpenAI's realtime protocol: a WebSocket that hears turns and answers with audio and words."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from tests.doubles.audio import tone
from tests.doubles.server import CALL, Call, Double, b64

RATE = 24000
_TURN_ENDS_AFTER = RATE * 2 * 3 // 10

Reply = Callable[[str, dict[str, Any]], tuple[str, list[tuple[str, dict[str, Any]]]]]
"""
(last words of the user, session as it was set) -> (text, [(tool, arguments)]); what an answer's request says
stands in the session as `asked`.
"""


class RealtimeDouble(Double):
    """`url` goes to `base_url`. Speech that it hears counts as `transcript`; it answers turns by itself."""

    def __init__(self, *, reply: Reply | None = None, transcript: str = "hello there", **rest: Any) -> None:
        super().__init__(**rest)
        self.reply: Reply = reply or (lambda _words, _session: ("Fine, thank you.", []))
        self.transcript = transcript
        self._count = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/realtime", self._talk)]

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        talk = _Talk(self, socket, request[CALL], self._count)
        await talk.send("session.created", session={"type": "realtime"})
        async for frame in socket:
            if frame.type != WSMsgType.TEXT:
                break
            await talk.take(json.loads(frame.data))
        return socket


class _Talk:
    def __init__(self, double: RealtimeDouble, socket: web.WebSocketResponse, call: Call, count: Any) -> None:
        self._double, self._socket, self._call, self._count = double, socket, call, count
        self._sent = call.sent
        self._session: dict[str, Any] = {}
        self._words = ""
        self._last: str | None = None
        self._heard, self._silent = 0, 0

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send_json({"type": kind, "event_id": f"ev_{next(self._count)}", **fields})

    async def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            await self._listen(base64.b64decode(event["audio"]))
            return
        self._sent.append(event)
        if kind == "session.update":
            self._session |= event["session"]
            await self.send("session.updated", session=self._session)
        elif kind == "conversation.item.create":
            item = event["item"]
            if item.get("role") == "user":
                self._words = " ".join(part.get("text", "") for part in item["content"])
            elif item["type"] == "function_call_output":
                self._words = f"result: {item['output']}"
            await self._added(item)
        elif kind == "conversation.item.delete":
            await self.send("conversation.item.deleted", item_id=event["item_id"])
        elif kind == "response.create":
            response = event.get("response") or {}
            self._session["asked"] = response.get("instructions")
            await self._respond(response.get("metadata"))
            self._session["asked"] = None

    async def _added(self, item: dict[str, Any]) -> None:
        await self.send("conversation.item.added", previous_item_id=self._last, item=item)
        self._last = item["id"]

    async def _listen(self, pcm: bytes) -> None:
        loud = np.abs(np.frombuffer(pcm, np.int16).astype(int)).max(initial=0) > 500
        if loud and not self._heard:
            await self.send("input_audio_buffer.speech_started", item_id="spoken", audio_start_ms=0)
        self._heard += len(pcm) if loud or self._heard else 0
        self._silent = 0 if loud else self._silent + len(pcm)
        if not self._heard or self._silent < _TURN_ENDS_AFTER:
            return
        self._heard = 0
        item_id = f"item_{next(self._count)}"
        self._words = self._double.heard(self._call)
        await self.send("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=0)
        await self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=self._last)
        content = [{"type": "input_audio", "transcript": None}]
        await self._added({"id": item_id, "type": "message", "role": "user", "content": content})
        kind = "conversation.item.input_audio_transcription.completed"
        await self.send(kind, item_id=item_id, content_index=0, transcript=self._words)
        await self._respond(None)

    async def _respond(self, metadata: Any) -> None:
        text, calls = self._double.reply(self._words, self._session)
        response = {"id": f"resp_{next(self._count)}", "object": "realtime.response", "metadata": metadata}
        await self.send("response.created", response={**response, "status": "in_progress", "output": []})
        if text:
            await self._speak(response["id"], text)
        for name, arguments in calls:
            item = {
                "id": f"item_{next(self._count)}",
                "type": "function_call",
                "call_id": f"call_{next(self._count)}",
                "name": name,
                "arguments": json.dumps(arguments),
            }
            await self.send("response.output_item.added", item=item, output_index=0)
            await self._added(item)
            await self.send("response.output_item.done", item=item, output_index=0)
        usage = {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2}
        await self.send("response.done", response={**response, "status": "completed", "usage": usage})

    async def _speak(self, response_id: str, text: str) -> None:
        item: dict[str, Any] = {"id": f"item_{next(self._count)}", "type": "message", "role": "assistant"}
        place = {"response_id": response_id, "item_id": item["id"], "output_index": 0, "content_index": 0}
        await self.send("response.output_item.added", item={**item, "content": []}, output_index=0)
        await self._added({**item, "content": []})
        await self.send("response.content_part.added", part={"type": "audio"}, **place)
        await self.send("response.output_audio_transcript.delta", delta=text, **place)
        speed = float(self._session.get("audio", {}).get("output", {}).get("speed") or 1.0)
        audio = tone(self._double.seconds_per_character * len(text) / speed, RATE)
        await self.send("response.output_audio.delta", delta=b64(audio), **place)
        await self.send("response.output_audio.done", **place)
        content = [{"type": "output_audio", "transcript": text}]
        await self.send("response.output_item.done", item={**item, "content": content}, output_index=0)
