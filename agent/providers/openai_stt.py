"""OpenAI's speech recognition, closed with its connections: the plugin leaves its HTTP client open."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx2 as httpx
from livekit.plugins import openai as plugin
from openai import APIError, AsyncClient

KEPT_SECONDS = 120.0
"""How long an idle connection is kept: longer than most silences in a talk."""


class ClosingSTT(plugin.STT):
    """The plugin's STT with a client of its own that `aclose` closes too. Timeouts are the plugin's."""

    def __init__(self, *, api_key: str, base_url: str | None = None, **arguments: Any) -> None:
        self._own = AsyncClient(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            http_client=httpx.AsyncClient(
                timeout=httpx.Timeout(connect=15.0, read=5.0, write=5.0, pool=5.0),
                limits=httpx.Limits(keepalive_expiry=KEPT_SECONDS),
                follow_redirects=True,
            ),
        )
        self._warming: asyncio.Task[None] | None = None
        super().__init__(client=self._own, **arguments)

    def prewarm(self) -> None:
        """Connect now, so that the first words do not wait for DNS and TLS; the plugin itself does not."""
        if self._warming is None:
            self._warming = asyncio.create_task(self._connect(), name="prewarm stt")

    async def _connect(self) -> None:
        with contextlib.suppress(APIError):  # a wrong key or address is told by the first request
            await self._own.models.list()

    async def aclose(self) -> None:
        """Closes streams, sockets and the client."""
        if self._warming is not None:
            self._warming.cancel()
        await super().aclose()
        await self._own.close()
