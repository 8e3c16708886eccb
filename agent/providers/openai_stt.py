"""OpenAI's speech recognition, closed with its connections: the plugin leaves its HTTP client open."""

from __future__ import annotations

from typing import Any

from livekit.plugins import openai as plugin
from openai import AsyncClient, Timeout


class ClosingSTT(plugin.STT):
    """The plugin's STT with a client of its own that `aclose` closes too. Timeouts are the plugin's."""

    def __init__(self, *, api_key: str, base_url: str | None = None, **arguments: Any) -> None:
        self._own = AsyncClient(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            timeout=Timeout(connect=15.0, read=5.0, write=5.0, pool=5.0),
        )
        super().__init__(client=self._own, **arguments)

    async def aclose(self) -> None:
        """Closes streams, sockets and the client."""
        await super().aclose()
        await self._own.close()
