"""Anthropic: language models."""

from __future__ import annotations

from typing import Any

from agent.providers.capability import Offer, Provider, Request
from agent.providers.plugin import arguments

_LLM = "livekit.plugins.anthropic:LLM"


def _llm(request: Request) -> Any:
    from agent.providers.anthropic_llm import ClosingLLM

    return ClosingLLM(**arguments(_LLM, request))


ANTHROPIC = Provider(
    name="anthropic",
    packages=("livekit.plugins.anthropic",),
    key_env="ANTHROPIC_API_KEY",
    extra="anthropic",
    languages="most",
    offers={
        "llm": Offer(
            target=_LLM,
            build=_llm,
            models=("claude-sonnet-4-6", "claude-haiku-4-5"),
            reserved={
                "model": "model",
                "base_url": "base_url",
                "temperature": "temperature",
                "timeout": "nothing: it is an object",
            },
        )
    },
)
