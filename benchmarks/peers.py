"""
`python -m benchmarks.peers`: OpenRTC in coroutine mode beside ours and the bare worker, at 1 and at 8 calls,
and at as many as this machine holds.

What one process for all calls saves, and what it costs, is its design; the figures stand beside each other
without a goal. OpenRTC and what it needs are installed from PyPI into an environment of their own under the
user's cache, the first time; its files are copies, so that no page is shared with the other workers.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import capacity, figures, load
from benchmarks.machine import machine
from benchmarks.report import middle
from benchmarks.stage import Stage

OPENRTC = "0.20.1"
AGENTS = "1.8.9"
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
VARIANTS = ("bare", "ours", "openrtc")
FIELDS = (
    ("ready_seconds", "start → registered, s", 1),
    ("idle_mb", "idle worker, MB", 0),
    ("total_mb", "worker with the calls, MB", 0),
    ("per_call_mb", "one more call, MB", 1),
    ("cpu_per_call_minute", "CPU per call-minute, s", 2),
    ("served", "calls served", 0),
)


def python_of_openrtc() -> Path:
    """Its interpreter; installed when missing. Raises CalledProcessError with the installer's own words."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "livekit-agent-runtime" / f"openrtc-{OPENRTC}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = subprocess.run(
            [ROOT / "scripts" / "find-uv"], check=True, capture_output=True, text=True
        ).stdout.split()
        wanted = [
            f"openrtc=={OPENRTC}",
            f"livekit-agents[silero]=={AGENTS}",
            "espeakng-loader",
            "pocketsphinx",
        ]
        subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [*uv, "pip", "install", "-q", "--link-mode=copy", "--python", str(python), *wanted]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return python


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--climbs", type=int, default=1, help="climbs to as many calls as are held; 0: none")
    parser.add_argument("--most", type=int, default=24, help="calls at the last step of a climb")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    os.environ["BENCH_OPENRTC"] = str(python_of_openrtc())
    found: list[dict[str, Any]] = []
    for calls in given.calls:
        with Stage() as stage:
            found += asyncio.run(load.run(stage, rounds=given.rounds, calls=calls, variants=VARIANTS))
    steps: list[dict[str, Any]] = []
    if given.climbs:
        with Stage() as stage:
            steps = asyncio.run(capacity.run(stage, variants=VARIANTS, most=given.most, climbs=given.climbs))
    given.out.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Any] = {"load": found, "capacity": steps, "machine": machine()}
    (given.out / "peers.json").write_text(json.dumps(measured, indent=1) + "\n")
    for name, drawing in figures.plots(measured).items():
        (given.out / f"peers-{name}").write_text(drawing)
    text = table(found, steps)
    text += "\n" + ", ".join(f"{name} {value}" for name, value in measured["machine"].items()) + "\n"
    (given.out / "peers.md").write_text(text)
    print(text)


def table(found: list[dict[str, Any]], steps: list[dict[str, Any]]) -> str:
    """Medians in Markdown, a block of rows for each number of calls, and how many were held."""
    rows = ["| calls | what | bare worker | ours | OpenRTC, coroutine mode |", "|---|---|---|---|---|"]
    for calls in sorted({one["calls"] for one in found}):
        for field, what, places in FIELDS:
            values = [
                middle([one[field] for one in found if one["calls"] == calls and one["variant"] == variant])
                for variant in VARIANTS
            ]
            rows.append(
                f"| {calls} | {what} | " + " | ".join(f"{value:.{places}f}" for value in values) + " |"
            )
    if steps:
        held = " | ".join(f"{figures.held_calls(steps, variant):g}" for variant in VARIANTS)
        rows.append(f"| most | calls held with no late audio | {held} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
