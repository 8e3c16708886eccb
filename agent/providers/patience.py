"""
How long a model is waited for before it counts as failed.

The library waits 10 s, four times over, and OpenAI's speech up to 30 s for its next byte; a caller has long
hung up by then.
"""

from __future__ import annotations

import asyncio
import time

from livekit.agents import APIConnectOptions, APITimeoutError, tts
from livekit.agents.voice.agent_session import SessionConnectOptions

from agent.providers.relay import RelayStream, RelayTTS

STALL_SECONDS = 5.0
"""A voice that has all its text and sends nothing for so long has failed."""
CONNECT_SECONDS = 5.0
"""Longest wait for a connection, and for the next piece of an answer of a language model."""
RETRIES = 1
RETRY_SECONDS = 0.5


def once_more() -> APIConnectOptions:
    """Two tries of 5 s each, half a second apart."""
    return APIConnectOptions(max_retry=RETRIES, retry_interval=RETRY_SECONDS, timeout=CONNECT_SECONDS)


def connect_options(*, unrecoverable_errors: int = 1) -> SessionConnectOptions:
    """
    What an AgentSession should wait for its models: 5 s for each try, two tries.

    Args:
        unrecoverable_errors: How many answers in a row may fail before the session closes itself.
    """
    return SessionConnectOptions(
        stt_conn_options=APIConnectOptions(retry_interval=RETRY_SECONDS, timeout=CONNECT_SECONDS),
        llm_conn_options=once_more(),
        tts_conn_options=once_more(),
        max_unrecoverable_errors=unrecoverable_errors,
    )


class PromptTTS(RelayTTS):
    """
    Another TTS that may not stall: APITimeoutError when it has all its text and sends nothing for
    `STALL_SECONDS`, at the beginning or in the middle of its audio.
    """

    def relay(self, stream: tts.ChunkedStream | tts.SynthesizeStream, *, complete: bool) -> RelayStream:
        """The same stream, watched."""
        return _PromptStream(self, stream, complete=complete)

    def stalled(self) -> APITimeoutError:
        """The error, told to whoever listens for errors of this TTS, and to be raised."""
        error = APITimeoutError(f"no audio for {STALL_SECONDS:g} s")
        self.emit(
            "error", tts.TTSError(timestamp=time.time(), label=self.label, error=error, recoverable=False)
        )
        return error


class _PromptStream(RelayStream):
    def __init__(
        self, prompt: PromptTTS, stream: tts.ChunkedStream | tts.SynthesizeStream, *, complete: bool
    ) -> None:
        super().__init__(stream)
        self._prompt = prompt
        self._complete = asyncio.Event()
        if complete:
            self._complete.set()

    def end_input(self) -> None:
        """No more text will come: from now on audio has to."""
        self._stream.end_input()  # type: ignore[union-attr]
        self._complete.set()

    async def __anext__(self) -> tts.SynthesizedAudio:
        audio = asyncio.ensure_future(super().__anext__())
        try:
            if not self._complete.is_set():
                complete = asyncio.ensure_future(self._complete.wait())
                try:
                    await asyncio.wait({audio, complete}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    complete.cancel()
            await asyncio.wait({audio}, timeout=STALL_SECONDS)
            if audio.done():
                return audio.result()
            raise self._prompt.stalled()
        finally:
            audio.cancel()
