"""How full workers are, as each says with its heartbeat, and what that means for a session nobody took."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.stores import text
from config_store.state import WORKERS_KEY, heartbeat_key


@dataclass(frozen=True)
class Occupancy:
    """One worker: the agent name it serves, its sessions now, and the most it takes."""

    name: str
    sessions: int
    cap: int

    def to_json(self) -> str:
        """As the heartbeat's value."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, said: str) -> "Occupancy | None":
        """What `to_json` wrote; None for anything else, such as the beat of another release."""
        try:
            found = json.loads(said)
            return cls(str(found["name"]), int(found["sessions"]), int(found["cap"]))
        except (ValueError, TypeError, KeyError):
            return None


async def of_workers(client: Any, name: str) -> list[Occupancy]:
    """
    The workers that beat now and serve this agent name.

    Raises:
        RedisError: Redis did not answer.
    """
    keys = [heartbeat_key(text(worker)) for worker in await client.smembers(WORKERS_KEY)]
    beats = await client.mget(keys) if keys else []
    found = [Occupancy.from_json(text(beat)) for beat in beats if beat is not None]
    return [one for one in found if one is not None and one.name == name]


def why_nobody(workers: Sequence[Occupancy], name: str) -> tuple[str, str]:
    """Why none of these workers took a session: a word for programs, and cause and next step in one line."""
    if not workers:
        return "no_worker", (
            f"no worker took the session: none with AGENT_NAME '{name}' runs on this Redis; start one, or "
            "compare AGENT_NAME and REDIS_URL here and there"
        )
    sessions, cap = sum(one.sessions for one in workers), sum(one.cap for one in workers)
    if sessions >= cap:
        return "full", (
            f"no worker took the session: all {len(workers)} workers with AGENT_NAME '{name}' are full "
            f"({sessions} of {cap} sessions); try again later, add a worker or raise AGENT_MAX_SESSIONS"
        )
    return "no_worker", (
        f"no worker took the session, though {len(workers)} with AGENT_NAME '{name}' run and are not full "
        f"({sessions} of {cap} sessions); are they ready (/readyz), and on this LiveKit server?"
    )
