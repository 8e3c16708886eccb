"""What the measurements of `python -m benchmarks` come to: lines with goals, notes and curves."""

import math
from typing import Any

from benchmarks.report import Line, curves, middle, p95

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
    "calls held: calls are added until one is not served, receivers would make up more than 1 % of the "
    "sound, or callers hear less than 90 % of the speech they hear when there are few; server and callers "
    "included.",
    "callers of the rounds with many calls: opus_callers, on LiveKit's SDK for Go, send ready Opus and "
    "decode nothing; they buffer 60 ms after a pause, and what comes later than that would be made up. Where "
    "there is one call at a time, callers are livekit's clients for Python, which decode what they hear.",
    "end of speech → first audio: from the last sound that leaves the caller's microphone to the first one "
    "heard of the answer. Both workers wait for 0.3 s of silence and 0.1 s more until a turn is over.",
    "SIGTERM, no time to drain: ours says the bundle's goodbye and closes the rooms. The library closes a "
    "session before it tells anybody of the stop, so the bare worker says none.",
    "silence: from SIGKILL in mid-sentence until the caller hears the next agent. The bare worker never "
    "comes back.",
]


def latency_lines(results: dict[str, Any]) -> list[Line]:
    """Medians of the ways to an agent in the room, and to a first sound."""
    found: dict[str, list[float | None]] = {}
    there: dict[str, list[float | None]] = {}
    for one in results.get("latency", []):
        found.setdefault(one["way"], []).append(one["heard_ms"])
        if "agent_ms" in one:
            there.setdefault(one["way"], []).append(one["agent_ms"])
    if not found:
        return []
    base = middle(_never_as_infinite(found["bare"]))
    present = middle(_never_as_infinite(there.get("bare", [])))
    goals = (
        ("ours", "join → first audio, dispatched alike", "≤ 1.0 x", 1.0),
        ("lean", "join → first audio, dispatched alike, lean", "≤ 0.92 x", 0.92),
        ("ours, session start", "join → first audio, session start", "≤ 0.65 x", 0.65),
        ("lean, session start", "join → first audio, session start, lean", "≤ 0.6 x", 0.6),
        ("ours, session start, no microphone", "join → first audio, session start, no microphone", "-", 1.0),
    )
    agents = (
        ("ours", "join → agent in the room, dispatched alike"),
        ("ours, session start", "join → agent in the room, session start"),
    )
    return [
        *(_timed(what, present, there[way], "-", 1.0, "calls") for way, what in agents if way in there),
        *(
            _timed(what, base, found[way], goal, limit, "calls")
            for way, what, goal, limit in goals
            if way in found
        ),
    ]


def _never_as_infinite(values: list[float | None]) -> list[float]:
    return [math.inf if value is None else value for value in values]


def _timed(
    what: str, base: float, found: list[float | None], goal: str, limit: float, runs: str, unit: str = "ms"
) -> Line:
    """A median of times; None is one that never came, which no goal survives."""
    came = sum(value is not None for value in found)
    ours = middle(_never_as_infinite(found))
    return Line(
        what, unit, base, ours, goal, limit, f"{came} of {len(found)} {runs}", unserved=len(found) - came
    )


def answer_lines(results: dict[str, Any]) -> list[Line]:
    """Medians of the time from the end of a question to its answer."""
    asked = results.get("answer", [])
    found = {
        way: [one["answer_ms"] for one in asked if one["way"] == way] for way in ("bare", "ours", "lean")
    }
    if not found["bare"]:
        return []
    base = middle(_never_as_infinite(found["bare"]))
    what = "end of speech → first audio of the answer"
    return [
        _timed(name, base, found[way], "≤ 1.0 x", 1.0, "answers")
        for way, name in (("ours", what), ("lean", f"{what}, lean"))
        if found[way]
    ]


def stop_lines(results: dict[str, Any]) -> list[Line]:
    """What SIGTERM does to calls in progress when there is no time to drain."""
    rounds = results.get("stop", [])
    if not rounds:
        return []
    calls = rounds[0]["calls"]
    runs = f"{sum(one['variant'] == 'ours' for one in rounds)} x {calls} calls"

    def line(what: str, unit: str, field: str, goal: str, limit: float, *, more: bool = False) -> Line:
        worst = min if more else max
        bare, ours = (
            worst(abs(one[field]) for one in rounds if one["variant"] == variant)
            for variant in ("bare", "ours")
        )
        return Line(what, unit, bare, ours, goal, limit, runs, more_is_better=more)

    return [
        line("SIGTERM → last session over, slowest", "s", "over_seconds", "-", 1.0),
        line("SIGTERM → exit, slowest", "s", "exit_seconds", "-", 1.0),
        line("goodbyes heard to the end, fewest", "calls", "goodbyes", "all", calls, more=True),
        line("exit status, worst", "", "exit_status", "0", 0.0),
    ]


def load_lines(results: dict[str, Any]) -> list[Line]:
    """Memory and CPU."""
    rounds = results.get("load", [])

    def of(variant: str, field: str) -> float:
        return middle([one[field] for one in rounds if one["variant"] == variant])

    if not rounds:
        return []
    count = sum(one["variant"] == "ours" for one in rounds)
    runs = f"{count} rounds of {rounds[0]['calls']} calls"
    unserved = {
        variant: sum(one["calls"] - one["served"] for one in rounds if one["variant"] == variant)
        for variant in ("bare", "ours", "lean")
    }
    if any(unserved.values()):
        lost = [f"{number} of {name}" for name, number in unserved.items() if number]
        runs += f", not served: {', '.join(lost)}"
    goals = (
        ("idle worker", "MB", "idle_mb", (0.6, 0.55)),
        ("memory of one more call", "MB", "per_call_mb", (0.75, 0.65)),
        ("CPU per call-minute", "s", "cpu_per_call_minute", (0.85, 0.75)),
    )
    ready = of("bare", "ready_seconds"), of("ours", "ready_seconds")
    lines = [Line("start → registered", "s", *ready, "-", 1.0, runs)]
    for what, unit, field, limits in goals:
        for variant, limit in zip(("ours", "lean"), limits, strict=True):
            name = what if variant == "ours" else f"{what}, lean"
            figures = of("bare", field), of(variant, field)
            lines.append(Line(name, unit, *figures, f"≤ {limit} x", limit, runs, unserved=unserved[variant]))
    return lines


def silence_lines(results: dict[str, Any]) -> list[Line]:
    """Silence after kills; the baseline stays silent for ever, so it has none."""
    lines = []
    for of, what, limit in SILENCES:
        found = [one["silence_seconds"] for one in results.get("silence", []) if one.get("of", "job") == of]
        if found:
            silences = _never_as_infinite(found)
            runs = f"{sum(value is not None for value in found)} of {len(found)} kills"
            name = f"silence after SIGKILL of {what}"
            lines += [
                Line(f"{name}, p50", "s", None, middle(silences), "-", limit, runs),
                Line(f"{name}, p95", "s", None, p95(silences), f"≤ {limit:g} s", limit, runs),
            ]
    return lines


def beside(results: dict[str, Any]) -> list[str]:
    """Notes on what else was measured in the same rounds."""
    rounds = [one for one in results.get("load", []) if one["variant"] == "bare-trimmed"]
    if not rounds:
        return []
    mean = {
        field: middle([one[field] for one in rounds])
        for field in ("idle_mb", "per_call_mb", "cpu_per_call_minute")
    }
    foreign = middle([one["foreign_cores"] for one in results["load"]])
    parts = []
    for variant in ("bare", "ours"):
        one = next(one for one in rounds_of(results, variant))
        roles = ", ".join(
            f"{role} {figures['pss_mb']:.0f} / {figures['uss_mb']:.0f}"
            for role, figures in one.get("by_process", {}).items()
        )
        parts.append(f"{variant}: {roles}")
    return [
        "PSS / USS under load by process, MB: " + "; ".join(parts) + ".",
        f"bare, trimmed by hand: idle {mean['idle_mb']:.0f} MB, {mean['per_call_mb']:.1f} MB per call, "
        f"{mean['cpu_per_call_minute']:.2f} s CPU per call-minute.",
        f"CPU taken by servers, callers and other programs during the load rounds: {foreign:.2f} cores.",
    ]


def rounds_of(results: dict[str, Any], variant: str) -> list[dict[str, Any]]:
    """The load rounds of one variant."""
    return [one for one in results.get("load", []) if one["variant"] == variant]


def capacity_lines(results: dict[str, Any]) -> list[Line]:
    """The last step that held, of each variant: the median of its climbs."""
    steps = results.get("capacity", [])
    if not steps:
        return []
    held = {variant: held_calls(steps, variant) for variant in ("bare", "ours", "lean")}
    climbs = len({step.get("climb", 0) for step in steps})
    runs = "one climb each" if climbs == 1 else f"{climbs} climbs each, in turn"
    return [
        Line(what, "calls", held["bare"], held[variant], f"≥ {limit} x", limit, runs, more_is_better=True)
        for variant, what, limit in (
            ("ours", "calls held with no late audio", 1.25),
            ("lean", "calls held with no late audio, lean", 1.5),
        )
    ]


def held_calls(steps: list[dict[str, Any]], variant: str) -> float:
    """The most calls that a variant held, the median of its climbs; 0 when it was not measured."""
    climbs: dict[int, int] = {}
    for step in steps:
        if step["variant"] == variant:
            number = step.get("climb", 0)
            climbs[number] = max(climbs.get(number, 0), step["calls"] if step["holds"] else 0)
    return middle([float(calls) for calls in climbs.values()]) if climbs else 0.0


def plots(results: dict[str, Any]) -> dict[str, str]:
    """Growth with the number of live calls, as SVG by file name; of several climbs the first."""
    steps = [step for step in results.get("capacity", []) if not step.get("climb")]
    drawn = {}
    for field, title in (
        ("total_mb", "memory of the worker, MB"),
        ("cores", "CPU of the worker, cores"),
        ("late_share", "share of sound that receivers made up"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for step in steps:
            lines.setdefault(step["variant"], []).append((step["calls"], step[field]))
        if lines:
            drawn[f"calls-{field}.svg"] = curves(title, "live calls", lines)
    return drawn
