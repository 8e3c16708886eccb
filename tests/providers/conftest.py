"""Doubles of the providers, and the HTTP session that plugins expect to find."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from livekit.agents import utils

from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble


@pytest.fixture
async def http() -> AsyncIterator[None]:
    """What a job gives its plugins: one HTTP session."""
    async with utils.http_context.open():
        yield


@pytest.fixture
async def openai_double(http: None) -> AsyncIterator[OpenAIDouble]:
    """A server that speaks OpenAI's protocol."""
    async with OpenAIDouble() as double:
        yield double


@pytest.fixture
async def elevenlabs_double(http: None) -> AsyncIterator[ElevenLabsDouble]:
    """A server that speaks ElevenLabs' protocol."""
    async with ElevenLabsDouble() as double:
        yield double
