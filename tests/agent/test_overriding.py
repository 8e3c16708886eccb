"""Values that are added to an override that is there."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from agent.overriding import UnusableOverrideError, add_to_override
from config_store.layer import merged
from config_store.overrides import MAX_BYTES, override_key

KEY = override_key("s-adding")


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client of the sessions' Redis, with nothing under the key."""
    async with redis.asyncio.Redis.from_url(valkey_url) as opened:
        await opened.delete(KEY)
        yield opened


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"goodbye": "x" * MAX_BYTES}, "is larger than"),
        ({"goodbye": "a\0b"}, "holds a NUL character"),
        ({"goodbye": "\ud800"}, "is not UTF-8"),
        ({"max_duration_seconds": 2**60}, "holds a whole number beyond"),
    ],
    ids=["large", "NUL", "half a pair", "number"],
)
async def test_values_that_no_session_could_read_are_not_written(
    client: Any, values: dict[str, Any], cause: str
) -> None:
    """They would take those along that are there: an override is read as a whole, or not at all."""
    await add_to_override(client, "s-adding", {"voice_tuning": {"pace": 1.1}})
    with pytest.raises(UnusableOverrideError, match=f"with these values .*{cause}.*; nothing is written"):
        await add_to_override(client, "s-adding", values)

    assert json.loads(await client.get(KEY)) == {"voice_tuning": {"pace": 1.1}}
    assert await client.ttl(KEY) > 0


async def test_what_is_there_and_no_text_is_said(client: Any) -> None:
    """A key that holds a hash is not a Redis that does not answer; what is there stays."""
    await client.hset(KEY, "a", 1)
    with pytest.raises(UnusableOverrideError, match="is not a string in Redis; remove or replace it"):
        await add_to_override(client, "s-adding", {"goodbye": "Bye."})

    assert await client.hgetall(KEY) == {b"a": b"1"}


def test_maps_are_merged_and_values_replaced() -> None:
    """What is not named stays; a list or a value takes the place of another."""
    there = {"voice_tuning": {"pace": 1.1}, "idle_prompts": [1], "rev": 3}

    assert merged(there, {"voice_tuning": {"pitch": 0.1}, "idle_prompts": [2]}) == {
        "voice_tuning": {"pace": 1.1, "pitch": 0.1}, "idle_prompts": [2], "rev": 3,
    }  # fmt: skip
    assert there["voice_tuning"] == {"pace": 1.1}


def test_a_flat_word_replaces_the_path_it_means() -> None:
    """The path would win over the word, and the value just set would do nothing."""
    there = {"voice_id": "old", "models": {"llm": {"provider": "openai"}}}

    assert merged(there, {"voiceId": "new", "llm_model": "m", "userName": "Ann"}) == {
        "voice_id": "new", "models": {"llm": {"provider": "openai", "model": "m"}}, "userName": "Ann",
    }  # fmt: skip
