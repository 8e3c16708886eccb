"""Anthropic: language models."""

from __future__ import annotations

from agent.providers.capability import Provider
from agent.providers.plugin import offer

ANTHROPIC = Provider(
    name="anthropic",
    packages=("livekit.plugins.anthropic",),
    key_env="ANTHROPIC_API_KEY",
    extra="anthropic",
    languages="most",
    offers={"llm": offer("livekit.plugins.anthropic:LLM", needs_model=True)},
)
