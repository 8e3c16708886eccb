"""What no longer fits after a session changed a number."""

from __future__ import annotations

from typing import Any

from config_store.provenance import Provenance
from config_store.schema import SessionConfig
from config_store.verdict import Verdict

_IDLE = SessionConfig.model_fields["idle_timeout_seconds"].default


def fit(document: dict[str, Any], verdicts: list[Verdict], known: Provenance) -> dict[str, Any]:
    """The document without prompts and warnings that can no longer come; each gets a verdict."""
    fitted = dict(document)
    idle = document.get("idle_timeout_seconds", _IDLE)
    longest = document.get("max_duration_seconds")
    prompts, warnings = document.get("idle_prompts", []), document.get("max_duration_warnings", [])
    if prompts and idle is not None:
        fitted["idle_prompts"] = _kept(
            prompts, "idle_prompts", "after_seconds", idle, "idle_timeout_seconds", verdicts, known
        )
    if warnings and longest is not None:
        fitted["max_duration_warnings"] = _kept(
            warnings,
            "max_duration_warnings",
            "before_seconds",
            longest,
            "max_duration_seconds",
            verdicts,
            known,
        )
    elif warnings:
        fitted["max_duration_warnings"] = []
        known.leave_out(("max_duration_warnings",), range(len(warnings)))
        verdicts.append(
            Verdict("max_duration_warnings", "unsupported", "left out: there is no max_duration_seconds")
        )
    turns = document.get("turn_taking", {})
    low, high = turns.get("min_delay"), turns.get("max_delay")
    if low is not None and high is not None and low > high:
        fitted["turn_taking"] = {**turns, "max_delay": low}
        known.follow(("turn_taking", "max_delay"), ("turn_taking", "min_delay"))
        verdicts.append(
            Verdict("turn_taking.max_delay", "clamped", "not shorter than min_delay", applied=low)
        )
    return fitted


def _kept(
    items: list[dict[str, Any]],
    path: str,
    key: str,
    limit: float,
    limit_key: str,
    verdicts: list[Verdict],
    known: Provenance,
) -> list[dict[str, Any]]:
    gone = [number for number, item in enumerate(items) if item[key] >= limit]
    for number in gone:
        reason = f"left out: its {key} is not less than {limit_key}, {limit:g} s"
        verdicts.append(Verdict(f"{path}[{number}]", "unsupported", reason))
    known.leave_out((path,), gone)
    return [item for number, item in enumerate(items) if number not in gone]
