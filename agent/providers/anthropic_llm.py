"""Anthropic's language models, closed with their connections: the plugin leaves its HTTP client open."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2 as httpx
from livekit.plugins import anthropic as plugin

KEPT_SECONDS = 120.0
"""How long an idle connection is kept: longer than most silences in a talk."""


class ClosingLLM(plugin.LLM):
    """The plugin's LLM with a client of its own that `aclose` closes too. Timeouts are the plugin's."""

    def __init__(self, *, api_key: str, base_url: str | None = None, **arguments: Any) -> None:
        self._own = anthropic.AsyncClient(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            http_client=httpx.AsyncClient(
                timeout=httpx.Timeout(5.0, read=30.0),
                limits=httpx.Limits(keepalive_expiry=KEPT_SECONDS),
                follow_redirects=True,
            ),
        )
        super().__init__(api_key=api_key, client=self._own, **arguments)

    async def aclose(self) -> None:
        """Closes the client too."""
        await super().aclose()
        await self._own.close()
