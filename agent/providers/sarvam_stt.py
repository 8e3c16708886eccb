"""Sarvam's speech recognition at another address: the plugin takes a `base_url` and streams to its own."""

from __future__ import annotations

from typing import Any

from livekit.plugins import sarvam


class AddressedSTT(sarvam.STT):
    """
    The plugin's STT.

    Args:
        address: Of the WebSocket that audio is streamed to.
    """

    def __init__(self, *, address: str, **given: Any) -> None:
        super().__init__(**given)
        self._address = address

    def stream(self, **given: Any) -> Any:
        """A stream to the address; it connects once this has returned."""
        stream = super().stream(**given)
        stream._opts.streaming_url = self._address
        return stream
