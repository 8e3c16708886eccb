"""What a session does at which time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config_store.marks import Mark
from config_store.personas import Words
from config_store.section import Section

_LISTED = Mark("listed")


class TurnTaking(Section):
    """When a turn is over and when the user may interrupt."""

    min_delay: Annotated[float, _LISTED] = Field(0.4, ge=0, le=10)
    """Seconds of silence after which a turn that seems complete is over; for the detector `vad` any."""

    max_delay: Annotated[float, _LISTED] = Field(3.0, ge=0, le=30)
    """Seconds of silence after which any turn is over, also one that the detector `v1-mini` doubts."""

    interruptions: Annotated[bool, _LISTED] = True
    """Whether the user's speech stops the agent's."""

    min_interruption_duration: Annotated[float, _LISTED] = Field(0.5, ge=0, le=10)
    """Seconds of speech after which the agent falls silent; shorter speech stops it when its turn is over."""

    preemptive_generation: Annotated[bool, _LISTED] = True
    """Whether an answer is begun before the turn is certainly over; quicker, and costs more tokens."""


class IdlePrompt(Section):
    """Words for a user who has been silent."""

    after_seconds: float = Field(gt=0, le=86_400)
    """Seconds of the user's silence after which it is said, once in a silence."""

    say: Words | None = Field(None, min_length=1)
    """What is said; absent: a short question in the session's language."""


class DurationWarning(Section):
    """A notice that the longest duration is near. The client is told in any case."""

    before_seconds: float = Field(gt=0, le=86_400)
    """Seconds before the end."""

    tell_agent: bool = False
    """Whether the language model is told, so that it can bring the talk to an end."""

    say: Words | None = None
    """
    Words that are said; absent: a short sentence in the session's language, unless the model is told;
    empty: nothing is said.
    """
