"""A livekit plugin of nobody's: its names for things are unlike those of a bundle."""

from __future__ import annotations

from typing import Any


class _Model:
    def __init__(self, **given: Any) -> None:
        self.given = given
        self.provider = "fake"


class TTS(_Model):
    """Text to speech."""

    def __init__(
        self,
        *,
        model: str = "m",
        speaker: str = "s",
        target_language_code: str = "en",
        pace: float = 1.0,
        loudness: float = 1.0,
        api_key: str | None = None,
        codec: str = "mp3",
    ) -> None:
        super().__init__(
            model=model, speaker=speaker, language=target_language_code, pace=pace, key=api_key, codec=codec
        )


class LLM(_Model):
    """A language model that has neither a temperature nor a key."""

    def __init__(self, *, model: str = "m", **_rest: Any) -> None:
        super().__init__(model=model)


class STT(_Model):
    """A recognizer whose constructor fails."""

    def __init__(self, *, model: str = "m") -> None:
        raise RuntimeError("no\nlicence")
