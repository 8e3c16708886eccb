"""Claims as job processes make them, without a room."""

import itertools
import json
from types import SimpleNamespace
from typing import Any

from agent import claiming
from agent.attempt import Attempt
from agent.settings import Settings

_numbers = itertools.count()


async def claim(settings: Settings, session_id: str | None, room: str = "r") -> Attempt:
    """What a new job for this session, or for any in this room, gets; whoever claims closes it."""
    job = SimpleNamespace(
        id=f"AJ_test{next(_numbers)}",
        metadata=json.dumps({"session_id": session_id} if session_id else {}),
        room=SimpleNamespace(name=room, sid="RM_1"),
        agent_name="agent",
    )
    ctx: Any = SimpleNamespace(job=job, log_context_fields={}, worker_id="AW_1")
    return await claiming.claim(settings, ctx)
