"""What is known of a session while it runs: its config with origins, its verdicts and its timers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agent.explained import Explained, text_of
from agent.settings import environment
from config_store.state import SessionState, state_key
from config_store.stored import Stored


@dataclass(frozen=True)
class Timer:
    """Something that will happen by itself."""

    name: str
    seconds: float
    """Left from now, or after what `after` names."""
    after: str | None = None
    """None: the timer runs now."""


@dataclass(frozen=True)
class Live:
    """One session, as Redis has it now."""

    session_id: str
    phase: str
    digest: str
    bundle: str
    values: tuple[tuple[str, str, str], ...]
    """Path, value on one line, and origin of everything that is not the schema's default."""
    verdicts: tuple[dict[str, Any], ...]
    timers: tuple[Timer, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the page gets it."""
        return asdict(self)


async def look(client: Any, session_id: str) -> Live | None:
    """
    The session as it is now; None while nobody has configured it.

    Raises:
        RedisError: Redis did not answer.
    """
    state = await SessionState(client, state_key(session_id, "")).read()
    if not state.get("config"):
        return None
    seconds, microseconds = await client.time()
    return live_of(session_id, state, seconds + microseconds / 1e6)


def live_of(session_id: str, state: Mapping[str, str], now: float) -> Live:
    """
    The session from its state.

    Args:
        session_id: The session's id.
        state: The fields of its hash in Redis, the config among them.
        now: Seconds since 1970 by the clock of Redis, which the times in the state are.
    """
    stored = Stored.from_json(state["config"])
    values = ((path, text_of(value), origin) for path, value, origin in Explained(stored).values())
    return Live(
        session_id=session_id,
        phase=state.get("phase", ""),
        digest=stored.digest,
        bundle=stored.bundle,
        values=tuple(value for value in values if value[2] != "default"),
        verdicts=tuple(verdict.as_dict() for verdict in stored.verdicts),
        timers=tuple(_timers(stored, state, now)),
    )


def _timers(stored: Stored, state: Mapping[str, str], now: float) -> Iterator[Timer]:
    environ = environment()
    if not state.get("live_at"):
        since = now - int(state.get("started_at", 0)) / 1000
        yield Timer("join timeout", max(0.0, stored.value("join_timeout_seconds", environ) - since))
        return
    since = now - int(state["live_at"]) / 1000
    for prompt in stored.value("idle_prompts", environ) or ():
        yield Timer("idle prompt", _of(prompt, "after_seconds"), "the user's last words")
    if (idle := stored.value("idle_timeout_seconds", environ)) is not None:
        yield Timer("idle", idle, "the user's last words")
    if (longest := stored.value("max_duration_seconds", environ)) is not None:
        for warning in stored.value("max_duration_warnings", environ) or ():
            if (left := longest - _of(warning, "before_seconds") - since) > 0:
                yield Timer("max duration warning", left)
        yield Timer("max duration", max(0.0, longest - since))
    yield Timer("rejoin grace", stored.value("rejoin_grace_seconds", environ), "the user leaves")


def _of(entry: Any, key: str) -> float:
    """A value of an entry of a list, as stored or as the schema's default has it."""
    return float(entry[key] if isinstance(entry, Mapping) else getattr(entry, key))
