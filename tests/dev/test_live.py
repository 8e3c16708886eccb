"""What `agent dev` knows and tells of a session that runs."""

from typing import Any

import pytest

from agent.dev.live import Timer, live_of
from agent.dev.telling import beginning, line_of, timers
from config_store.stored import Stored
from config_store.verdict import Verdict

NOW = 1_700_000_100.0
CONFIG: dict[str, Any] = {
    "idle_timeout_seconds": 60,
    "idle_prompts": [{"after_seconds": 20, "say": "Are you there?"}],
    "max_duration_seconds": 600,
    "max_duration_warnings": [{"before_seconds": 30}, {"before_seconds": 540}],
    "join_timeout_seconds": 45,
}


def state(**fields: str) -> dict[str, str]:
    """A session's state: it began 100 s ago."""
    stored = Stored(
        config=CONFIG,
        bundle="shop",
        preset=None,
        digest="sha256:" + "0" * 64,
        origins={"idle_timeout_seconds": "bundles/shop.yaml:3:1", "goodbye": "default"},
        verdicts=(Verdict("voice_tuning.pace", "clamped", "above the range", asked=9, applied=3.0),),
        variables={},
        user_id="u1",
        organization=None,
        sourced=(),
    )
    return {"config": stored.to_json(), "phase": "live", "started_at": str(int(NOW - 100) * 1000), **fields}


def test_before_the_user_comes_there_is_one_timer() -> None:
    """Time is up when the join timeout is over, never less than none."""
    assert live_of("s-1", state(), NOW).timers == (Timer("join timeout", 0.0),)
    assert live_of("s-1", state(), NOW - 90).timers == (Timer("join timeout", 35.0),)


def test_the_timers_of_a_call() -> None:
    """Those that run have the time left; those that wait for something say for what; passed ones are gone."""
    live = live_of("s-1", state(live_at=str(int(NOW - 90) * 1000)), NOW)
    assert live.timers == (
        Timer("idle prompt", 20.0, "the user's last words"),
        Timer("idle", 60, "the user's last words"),
        Timer("max duration warning", 480.0),
        Timer("max duration", 510.0),
        Timer("rejoin grace", 15.0, "the user leaves"),
    )
    assert list(timers(live))[:2] == [
        "timer idle prompt: 20 s after the user's last words",
        "timer idle: 60 s after the user's last words",
    ]
    assert "timer max duration: in 510 s" in list(timers(live))


def test_the_config_is_shown_with_its_origins_and_verdicts() -> None:
    """Every value that is no default, where it comes from, and what was made of what was asked for."""
    lines = list(beginning(live_of("s-1", state(), NOW)))
    assert lines[0].startswith("bundle shop  sha256:")
    assert lines[1] == "  idle_timeout_seconds  60  (bundles/shop.yaml:3:1)"
    assert lines[2].startswith("verdict clamped: voice_tuning.pace, asked for 9")
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"type": "user", "identity": "u1", "text": "hello"}, "u1: hello"),
        ({"type": "agent", "agent": "desk", "text": "Hi.", "final": True}, "desk: Hi."),
        (
            {"type": "agent", "agent": "desk", "text": "Hi", "final": True, "interrupted": True},
            "desk: Hi [interrupted]",
        ),
        ({"type": "agent", "agent": "desk", "text": "H", "final": False}, None),
        ({"type": "handoff", "from": "desk", "to": "expert"}, "handoff desk → expert"),
        ({"type": "event", "name": "idle_prompt"}, "event idle_prompt"),
        ({"type": "participant", "identity": "u1", "change": "joined"}, "u1 joined"),
        ({"type": "tool_call", "name": "look", "arguments": {"n": 7}}, "tool look {n: 7}"),
        ({"type": "tool_result", "status": "ok", "output": "yes"}, "tool result (ok): yes"),
        ({"type": "revision", "changed": ["voice_id"]}, "config changed: voice_id"),
        ({"type": "error", "source": "tts", "message": "APIError"}, "error tts: APIError"),
        ({"type": "end", "reason": "idle", "detail": None}, "ended: idle"),
        ({"type": "usage", "models": []}, None),
        ({}, None),
    ],
)
def test_one_line_for_what_happens(entry: dict[str, Any], line: str | None) -> None:
    """Turns, tools, handovers, timers, changes, errors and the end have a line; bookkeeping has none."""
    assert line_of(entry) == line
