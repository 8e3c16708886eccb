"""
A TTS that stands before another one: what comes through can be changed or watched, all else is the other's.

Streams stay the other's own streams, so that word timings, retries, metrics and errors are what they would
be without it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, cast

from livekit import rtc
from livekit.agents import tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions

_FORWARDED = ("metrics_collected", "error", "tts_availability_changed")


class RelayTTS(tts.TTS[Any]):
    """
    Passes everything on. It owns the other one: `aclose` closes both.

    Args:
        inner: The TTS behind it.
    """

    def __init__(self, inner: tts.TTS[Any]) -> None:
        super().__init__(
            capabilities=inner.capabilities, sample_rate=inner.sample_rate, num_channels=inner.num_channels
        )
        self.inner = inner
        self._forwards = {event: self._forward(event) for event in _FORWARDED}
        for event, forward in self._forwards.items():
            inner.on(cast(Any, event), forward)

    def _forward(self, event: str) -> Any:
        return lambda *args: self.emit(cast(Any, event), *args)

    @property
    def label(self) -> str:
        """The other one's."""
        return self.inner.label

    @property
    def model(self) -> str:
        """The other one's."""
        return self.inner.model

    @property
    def provider(self) -> str:
        """The other one's."""
        return self.inner.provider

    @property
    def metrics_metadata(self) -> Any:
        """The other one's: behind a list of fallbacks it names the one that spoke."""
        return self.inner.metrics_metadata

    @property
    def markup(self) -> tts.TTS.Markup:
        """The other one's."""
        return self.inner.markup

    def relay(self, stream: tts.ChunkedStream | tts.SynthesizeStream, *, complete: bool) -> RelayStream:
        """The stream that is given out in place of `stream`; `complete`: it has all its text already."""
        raise NotImplementedError

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """One request of the other one."""
        inner = self.inner.synthesize(text, conn_options=conn_options)
        return cast(tts.ChunkedStream, self.relay(inner, complete=True))

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        """One stream of the other one."""
        inner = self.inner.stream(conn_options=conn_options)
        return cast(tts.SynthesizeStream, self.relay(inner, complete=False))

    def update_options(self, **options: Any) -> None:
        """The other one's."""
        cast(Any, self.inner).update_options(**options)

    def prewarm(self) -> None:
        """The other one's."""
        self.inner.prewarm()

    async def aclose(self) -> None:
        """Closes the other one too."""
        for event, forward in self._forwards.items():
            self.inner.off(cast(Any, event), forward)
        await self.inner.aclose()


class RelayStream:
    """A stream of another TTS; what is not about frames goes to it as it is."""

    def __init__(self, stream: tts.ChunkedStream | tts.SynthesizeStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> RelayStream:
        return self

    async def __anext__(self) -> tts.SynthesizedAudio:
        return await self._stream.__anext__()

    async def collect(self) -> rtc.AudioFrame:
        """All frames in one."""
        return rtc.combine_audio_frames([audio.frame async for audio in self])

    async def __aenter__(self) -> RelayStream:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.__aexit__(kind, exc, trace)
