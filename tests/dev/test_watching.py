"""What the terminal of `agent dev` says of a session, as its journal grows."""

import asyncio
import json

from agent import stores
from agent.dev.watching import watch
from agent.settings import Settings
from agent.transcripts.stream import FIELD, stream_key
from config_store.state import state_key
from tests.dev.test_live import state

SESSION = "watched-1"


async def test_a_session_is_told_of_once(valkey_url: str) -> None:
    """A process writes two starts, one before its config; config and join timeout are told once."""
    told: list[str] = []
    over = asyncio.Event()

    def say(session_id: str, line: str) -> None:
        if session_id == SESSION:  # others use this Redis too
            told.append(line)
            if line.startswith("ended"):
                over.set()

    client = stores.open_redis(valkey_url, 3.0)
    watching = asyncio.create_task(watch(Settings(redis_url=valkey_url), say))
    try:
        await client.hset(
            state_key(SESSION, ""),
            mapping={**state(), "session_id": SESSION, "bundle": "shop", "room": SESSION, "owner": "a"},
        )
        for entry in (
            {"type": "start", "session_id": SESSION},
            {"type": "start", "session_id": SESSION, "bundle": "shop"},
            {"type": "participant", "identity": "u1", "change": "joined"},
            {"type": "end", "reason": "idle"},
        ):
            await client.xadd(stream_key(SESSION), {FIELD: json.dumps(entry)})
        async with asyncio.timeout(20):
            await over.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.aclose()
    assert [line.split(":")[0] for line in told if line.startswith("timer")] == ["timer join timeout"]
    assert sum(line.startswith("bundle shop") for line in told) == 1
    assert told[-2:] == ["u1 joined", "ended: idle"]
