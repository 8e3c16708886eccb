"""
Fallback lists on livekit's adapters, which retry, switch and probe the failed model until it is back.

What the adapters lack and is done here: they never close their members, and a session's own retries would
run through the whole list of voices again and again.
What stays: a voice that fails in mid-sentence is not repeated by the next one, so the rest of that answer is
lost, and the next answer comes from the fallback. Words that the user speaks while recognition switches are
lost. A probe of a failed voice speaks the last text again, unheard, and is paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from livekit.agents import llm, stt, tts
from livekit.agents.tts.fallback_adapter import FallbackSynthesizeStream
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions

from agent.providers.patience import CONNECT_SECONDS, RETRIES, RETRY_SECONDS
from agent.providers.turns import build_vad


class FallbackTTS(tts.FallbackAdapter):
    """Speaks with the first member that works. Closes its members."""

    def __init__(self, members: Sequence[tts.TTS[Any]]) -> None:
        super().__init__(list(members), max_retry_per_tts=RETRIES)
        self.members = tuple(members)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> FallbackSynthesizeStream:
        """One pass over the members: the session's own retries would try each of them again and again."""
        return super().stream(conn_options=replace(conn_options, max_retry=0))

    async def aclose(self) -> None:
        """Ends the probes, then closes every member."""
        await super().aclose()
        for member in self.members:
            await member.aclose()


class FallbackLLM(llm.FallbackAdapter):
    """Thinks with the first member that works. Closes its members."""

    def __init__(self, members: Sequence[llm.LLM[Any]]) -> None:
        super().__init__(list(members), attempt_timeout=CONNECT_SECONDS, retry_interval=RETRY_SECONDS)
        self.members = tuple(members)

    async def aclose(self) -> None:
        """Closes every member; a probe still under way fails with its connection and ends."""
        await super().aclose()
        for member in self.members:
            await member.aclose()


class FallbackSTT(stt.FallbackAdapter):
    """Hears with the first member that works. Closes its members."""

    def __init__(self, members: Sequence[stt.STT[Any]]) -> None:
        streaming = all(member.capabilities.streaming for member in members)
        super().__init__(
            list(members),
            vad=None if streaming else build_vad(),
            attempt_timeout=CONNECT_SECONDS,
            max_retry_per_stt=0,
            retry_interval=RETRY_SECONDS,
        )
        self.members = tuple(members)

    async def aclose(self) -> None:
        """Ends the probes, then closes every member."""
        await super().aclose()
        for member in self.members:
            await member.aclose()


class FallbackRealtime(llm.RealtimeModelFallbackAdapter):
    """Hears, thinks and speaks with the first member that works; the adapter closes its members itself."""

    def __init__(self, members: Sequence[llm.RealtimeModel]) -> None:
        super().__init__(list(members))
        self.members = tuple(members)
