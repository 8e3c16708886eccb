"""Which voice speaks, and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config_store.marks import Mark
from config_store.section import Frozen, Section

_SPOKEN = Mark("default", "next_utterance")

VoiceName = Annotated[str, Field(min_length=1, max_length=200)]
VoiceId = VoiceName | Annotated[dict[str, VoiceName], Frozen]
"""One name for whatever provider speaks, or a map from provider to name."""


class VoiceTuning(Section):
    """One vocabulary over all providers. A field that is absent leaves the provider's own default."""

    pace: Annotated[float | None, _SPOKEN] = Field(None, ge=0.3, le=3.0)
    """Speed of speech, 0.3 to 3.0; 1.0 is the voice's own speed."""

    pitch: Annotated[float | None, _SPOKEN] = Field(None, ge=-0.75, le=0.75)
    """Height of the voice, -0.75 (lower) to 0.75 (higher); 0.0 leaves it alone."""

    loudness: Annotated[float | None, _SPOKEN] = Field(None, ge=0.0, le=3.0)
    """Factor on the amplitude, 0.0 (silent) to 3.0; 1.0 leaves it alone. Works with every provider."""

    stability: Annotated[float | None, _SPOKEN] = Field(None, ge=0.0, le=1.0)
    """Evenness of the delivery, 0 (lively) to 1 (even)."""

    similarity_boost: Annotated[float | None, _SPOKEN] = Field(None, ge=0.0, le=1.0)
    """Closeness to the original speaker, 0 to 1."""

    style: Annotated[float | None, _SPOKEN] = Field(None, ge=0.0, le=1.0)
    """Exaggeration of the speaker's style, 0 to 1."""

    use_speaker_boost: Annotated[bool | None, _SPOKEN] = None
    """Whether the provider boosts likeness to the speaker, at some cost in delay."""

    instructions: Annotated[str | None, _SPOKEN] = Field(None, max_length=2000)
    """How to speak, in words, for voices that take such words (up to 2000 characters)."""
