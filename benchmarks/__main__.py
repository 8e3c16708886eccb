"""
`python -m benchmarks`: measure what the README states, beside a plain worker, in the same run.

Everything runs on this machine on loopback: livekit-server, Valkey, the workers and the callers. Results go
to benchmarks/results as JSON, a Markdown table and a plot. Exit status 1 when something that was measured now
misses a goal or fails; the last line says what.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import answer, capacity, figures, latency, load, silence, stop
from benchmarks.machine import machine
from benchmarks.report import Line, plot, table
from benchmarks.stage import Stage

RESULTS = Path(__file__).parent / "results"
VARIANTS = ("bare", "ours", "lean", "bare-trimmed")

PARTS = ("latency", "answer", "load", "capacity", "silence", "stop")
OTHERS = (
    "connections",
    "timers",
    "config",
    "scaling",
    "journal",
    "records",
    "history",
    "growth",
    "redaction",
    "soak",
)
"""Benchmarks with a command of their own, which say themselves whether their goals are reached."""


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each variant under load")
    parser.add_argument("--calls", type=int, default=8, help="calls at once under load")
    parser.add_argument("--latency", type=int, default=12, help="calls of each way one by one")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", choices=(*PARTS, *OTHERS), action="append")
    parser.add_argument("--most", type=int, default=24, help="calls at the last step of a climb")
    parser.add_argument("--climbs", type=int, default=1, help="climbs of each variant, in turn")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    wanted = given.only or [*PARTS, *OTHERS]
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for part in (part for part in PARTS if part in wanted):
        results[part] = _measured(part, given)
        results.setdefault("machines", {})[part] = machine()
        kept.write_text(json.dumps(results, indent=1) + "\n")
    lines = _lines(results)
    _report(results, [line for found in lines.values() for line in found], given.out)
    missed = [part for part in PARTS if part in wanted and any(line.missed for line in lines[part])]
    for other in (other for other in OTHERS if other in wanted):
        print(f"## {other}\n", flush=True)
        with (given.out / f"{other}.txt").open("w") as file:
            done = subprocess.run([sys.executable, "-m", f"benchmarks.{other}"], stdout=file, check=False)
        print((given.out / f"{other}.txt").read_text(), flush=True)
        if done.returncode != 0:
            missed.append(other)
    print(f"goals missed, or failed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def _measured(part: str, given: argparse.Namespace) -> list[dict[str, object]]:
    with Stage() as stage:
        match part:
            case "latency":
                return asyncio.run(latency.run(stage, calls=given.latency))
            case "answer":
                return asyncio.run(answer.run(stage, calls=given.latency))
            case "stop":
                return asyncio.run(stop.run(stage, rounds=given.rounds, calls=given.calls))
            case "silence":
                return asyncio.run(silence.run(stage, kills=given.kills))
            case "capacity":
                climbing = capacity.run(stage, variants=VARIANTS[:3], most=given.most, climbs=given.climbs)
                return asyncio.run(climbing)
        rounds = load.run(stage, rounds=given.rounds, calls=given.calls, variants=VARIANTS)
        return asyncio.run(rounds)


def _lines(results: dict[str, Any]) -> dict[str, list[Line]]:
    """The figures of each part, as far as it has been measured."""
    return {
        "latency": figures.latency_lines(results),
        "answer": figures.answer_lines(results),
        "load": figures.load_lines(results),
        "capacity": figures.capacity_lines(results),
        "silence": figures.silence_lines(results),
        "stop": figures.stop_lines(results),
    }


def _report(results: dict[str, Any], lines: list[Line], out: Path) -> None:
    if not lines:
        return
    text = table(lines, [*figures.METHOD, *figures.beside(results), *_stamps(results)])
    (out / "results.md").write_text(text)
    (out / "results.svg").write_text(plot(lines))
    for name, drawing in figures.plots(results).items():
        (out / name).write_text(drawing)
    print(text, flush=True)


def _stamps(results: dict[str, Any]) -> list[str]:
    """Where and when each part was measured; those of one run together."""
    parts: dict[str, list[str]] = {}
    for part, stamp in results.get("machines", {}).items():
        parts.setdefault(", ".join(f"{name} {value}" for name, value in stamp.items()), []).append(part)
    return [f"{', '.join(names)}: {stamp}" for stamp, names in parts.items()]


if __name__ == "__main__":
    sys.exit(main())
