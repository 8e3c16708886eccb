"""
`python -m benchmarks`: measure what the README states, beside a plain worker, in the same run.

Everything runs on this machine on loopback: livekit-server, Valkey, the workers and the callers. Results go
to benchmarks/results as JSON, a Markdown table and a plot.
"""

import argparse
import asyncio
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import latency, load, silence
from benchmarks.report import Line, middle, p95, plot, table
from benchmarks.stage import Stage

RESULTS = Path(__file__).parent / "results"
VARIANTS = ("bare", "ours", "lean", "bare-trimmed")

SILENCES = (
    ("job", "a job", 2.0),
    ("worker", "a worker, another one alive", 7.0),
    ("machine", "all processes of a worker, another one alive", 7.0),
)
"""What is killed, in words, and the goal in seconds; for a worker the heartbeat's limit of 5 s and 2 more."""

METHOD = [
    "bare worker: benchmarks/bare_worker.py, livekit-agents with its defaults, the same offline voice, ears "
    "and rules, turns by voice detection, two idle processes; ours and it are measured in turn, in one run.",
    "memory: anonymous pages by the kernel's share (Pss_Anon) plus each mapped file once per worker, over "
    "all processes of a worker; Redis and LiveKit are outside of both. CPU: user and system time of those.",
    "the library's defaults that ours leaves out: the weights for finding ends of turns, which nothing uses "
    "here, gain control, and audio from before the connection. `bare, trimmed` leaves them out by hand.",
    "silence: from SIGKILL in mid-sentence until the caller hears the next agent. The bare worker never "
    "comes back.",
]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each variant under load")
    parser.add_argument("--calls", type=int, default=8, help="calls at once under load")
    parser.add_argument("--latency", type=int, default=12, help="calls of each way one by one")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", choices=("load", "latency", "silence"), action="append")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    wanted = given.only or ["latency", "silence", "load"]
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for part in wanted:
        with Stage() as stage:
            if part == "latency":
                results[part] = asyncio.run(latency.run(stage, calls=given.latency))
            elif part == "silence":
                results[part] = asyncio.run(silence.run(stage, kills=given.kills))
            else:
                results[part] = asyncio.run(
                    load.run(stage, rounds=given.rounds, calls=given.calls, variants=VARIANTS)
                )
        results["machine"] = _machine()
        kept.write_text(json.dumps(results, indent=1) + "\n")
    lines = [*_latency(results), *_load(results), *_silence(results)]
    machine = results["machine"]
    notes = [*METHOD, *_beside(results), ", ".join(f"{name} {value}" for name, value in machine.items())]
    (given.out / "results.md").write_text(table(lines, notes))
    (given.out / "results.svg").write_text(plot(lines))
    print((given.out / "results.md").read_text())


def _latency(results: dict[str, Any]) -> list[Line]:
    found: dict[str, list[float]] = {}
    for one in results.get("latency", []):
        if one["heard_ms"] is not None:
            found.setdefault(one["way"], []).append(one["heard_ms"])
    if not found:
        return []
    base = middle(found["bare"])
    goals = (
        ("ours", "join → first audio, dispatched alike", "≤ 1.0 x", 1.0),
        ("lean", "join → first audio, dispatched alike, lean", "≤ 0.92 x", 0.92),
        ("ours, session start", "join → first audio, session start", "≤ 0.65 x", 0.65),
        ("lean, session start", "join → first audio, session start, lean", "≤ 0.6 x", 0.6),
    )
    return [
        Line(what, "ms", base, middle(found[way]), goal, limit, f"{len(found[way])} calls each")
        for way, what, goal, limit in goals
        if way in found
    ]


def _load(results: dict[str, Any]) -> list[Line]:
    rounds = results.get("load", [])

    def of(variant: str, field: str) -> float:
        return middle([one[field] for one in rounds if one["variant"] == variant])

    if not rounds:
        return []
    count = sum(one["variant"] == "ours" for one in rounds)
    runs = f"{count} rounds of {rounds[0]['calls']} calls"
    goals = (
        ("idle worker", "MB", "idle_mb", (0.6, 0.55)),
        ("memory of one more call", "MB", "per_call_mb", (0.75, 0.65)),
        ("CPU per call-minute", "s", "cpu_per_call_minute", (0.85, 0.75)),
    )
    lines = []
    for what, unit, field, limits in goals:
        for variant, limit in zip(("ours", "lean"), limits, strict=True):
            name = what if variant == "ours" else f"{what}, lean"
            lines.append(Line(name, unit, of("bare", field), of(variant, field), f"≤ {limit} x", limit, runs))
    return lines


def _silence(results: dict[str, Any]) -> list[Line]:
    lines = []
    for of, what, limit in SILENCES:
        found = [one["silence_seconds"] for one in results.get("silence", []) if one.get("of", "job") == of]
        heard = [value for value in found if value is not None]
        if heard:
            runs = f"{len(heard)} of {len(found)} kills"
            lines += [
                Line(f"silence after SIGKILL of {what}, p50", "s", None, middle(heard), "-", limit, runs),
                Line(
                    f"silence after SIGKILL of {what}, p95",
                    "s",
                    None,
                    p95(heard),
                    f"≤ {limit:g} s",
                    limit,
                    runs,
                ),
            ]
    return lines


def _beside(results: dict[str, Any]) -> list[str]:
    rounds = [one for one in results.get("load", []) if one["variant"] == "bare-trimmed"]
    if not rounds:
        return []
    mean = {
        field: middle([one[field] for one in rounds])
        for field in ("idle_mb", "per_call_mb", "cpu_per_call_minute")
    }
    foreign = middle([one["foreign_cores"] for one in results["load"]])
    return [
        f"bare, trimmed by hand: idle {mean['idle_mb']:.0f} MB, {mean['per_call_mb']:.1f} MB per call, "
        f"{mean['cpu_per_call_minute']:.2f} s CPU per call-minute.",
        f"CPU taken by servers, callers and other programs during the load rounds: {foreign:.2f} cores.",
    ]


def _machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "Linux": platform.release(),
        "livekit-agents": version("livekit-agents"),
        "livekit": version("livekit"),
        "measured": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    main()
