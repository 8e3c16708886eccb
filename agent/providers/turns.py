"""When a turn is over and what interrupts: the configuration as livekit's options."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from livekit.agents import inference, vad

from config_store.schema import SessionConfig

MIN_SILENCE_SECONDS = 0.3
"""Silence after which the voice detector calls speech over; the endpointing delay counts from there."""


def turn_handling(config: SessionConfig, turn_detector: str) -> dict[str, Any]:
    """
    `turn_handling` for an AgentSession.

    Everything is said explicitly: left open, the library would choose by the environment it runs in, and
    in its development mode that is a detector in the cloud that hears the caller.

    Args:
        config: The session's configuration.
        turn_detector: The worker's choice, `vad` or `v1-mini`. A session in writing needs none.
    """
    turns = config.turn_taking
    detection: Any = turn_detector
    if config.models.realtime is not None:  # it finds turns by itself
        detection = "realtime_llm"
    elif config.is_text_only:
        detection = "manual"  # each text is a turn
    elif turn_detector == "v1-mini":
        detection = inference.TurnDetector(version="v1-mini")  # without a version it may be one in the cloud
    return {
        "turn_detection": detection,
        "endpointing": {
            "mode": "fixed",
            "min_delay": turns.min_delay,
            "max_delay": max(turns.min_delay, turns.max_delay),
        },
        "interruption": {
            "enabled": turns.interruptions,
            "mode": "vad",
            "min_duration": turns.min_interruption_duration,
        },
        "preemptive_generation": {"enabled": turns.preemptive_generation},
    }


def build_vad() -> vad.VAD:
    """
    The voice activity detector that comes with the library, weights included; nothing is downloaded.

    A new one for each session: it has no state between sessions worth sharing and costs nothing to make. It
    works on the event loop, for at most 0.3 ms in every 32: the way to a thread and back costs 0.1 ms more,
    once for the turns and once for a recognizer that does not stream.
    """
    return inference.VAD(min_silence_duration=MIN_SILENCE_SECONDS, executor=_AtOnce())


class _AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - whoever waits for it gets it
            done.set_exception(exc)
        return done
