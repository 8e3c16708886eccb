"""How measurements become a table and drawings."""

import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as benchmarks_command
from benchmarks import figures
from benchmarks.report import Line, curves, plot, table

STEPS = [
    {"variant": "bare", "calls": 8, "holds": True, "total_mb": 800.0, "cores": 0.7, "late_share": 0.0},
    {"variant": "bare", "calls": 12, "holds": False, "total_mb": 930.0, "cores": 1.2, "late_share": 0.2},
    {"variant": "ours", "calls": 12, "holds": True, "total_mb": 700.0, "cores": 0.9, "late_share": 0.0},
]


@pytest.mark.parametrize(
    ("ours", "limit", "more", "reached"),
    [
        (75.0, 0.75, False, True),
        (76.0, 0.75, False, False),
        (125.0, 1.25, True, True),
        (124.0, 1.25, True, False),
    ],
)
def test_a_goal_is_a_bound_of_the_ratio(ours: float, limit: float, more: bool, reached: bool) -> None:
    """A figure reaches its goal at the bound and not beyond it, on the side that is better."""
    line = Line("what", "MB", 100.0, ours, "", limit, "1 round", more_is_better=more)
    assert line.reached is reached
    assert ("**missed**" in table([line], [])) is not reached


def test_a_figure_without_a_goal_is_neither_reached_nor_missed() -> None:
    """It stands beside the others to be read, and nothing is said of it."""
    told = table([Line("what", "ms", 100.0, 400.0, "-", 1.0, "1 call")], [])
    assert "missed" not in told
    assert "reached" not in told


def test_the_last_step_that_held_is_what_a_machine_holds() -> None:
    """A step that did not hold does not count, and each variant stands beside the bare worker."""
    ours, lean = figures.capacity_lines({"capacity": STEPS})
    assert (ours.baseline, ours.ours, ours.reached) == (8, 12, True)
    assert (lean.ours, lean.reached) == (0, False)


@pytest.mark.parametrize(("part", "value"), [("answer", "answer_ms"), ("latency", "heard_ms")])
def test_what_never_came_misses_every_goal(part: str, value: str) -> None:
    """A call of ours that came to nothing is no faster than the others; how many came stands beside."""
    asked = [("bare", 700.0), ("bare", 900.0), ("ours", 500.0), ("ours", 600.0), ("ours", None)]
    lines = getattr(figures, f"{part}_lines")
    (line,) = lines({part: [{"way": who, value: ms} for who, ms in asked]})
    assert (line.baseline, line.ours, line.missed) == (800.0, 600.0, True)
    assert line.runs.startswith("2 of 3 ")
    (line,) = lines({part: [{"way": who, value: ms} for who, ms in asked if ms is not None]})
    assert not line.missed
    assert lines({}) == []


def test_a_silence_that_never_ended_is_no_short_one() -> None:
    """Half of the callers never hear an agent again: the goal is missed, whatever the others heard."""
    kills = [{"silence_seconds": seconds} for seconds in (0.5, 0.5, None, None)]
    median, tail = figures.silence_lines({"silence": kills})
    assert (tail.missed, tail.ours, tail.runs) == (True, math.inf, "2 of 4 kills")
    assert median.ours == math.inf


def test_a_round_in_which_calls_were_not_served_reaches_no_goal() -> None:
    """What calls cost is told of those that were served, and the goals are missed when some were not."""
    figure = dict.fromkeys(("ready_seconds", "idle_mb", "per_call_mb", "cpu_per_call_minute"), 1.0)
    better = dict.fromkeys(figure, 0.1)
    rounds = [
        {"variant": "bare", "calls": 8, "served": 8, **figure},
        {"variant": "ours", "calls": 8, "served": 4, **better},
        {"variant": "lean", "calls": 8, "served": 8, **better},
    ]
    lines = figures.load_lines({"load": rounds})
    missed = {"idle worker", "memory of one more call", "CPU per call-minute"}
    assert {line.what for line in lines if line.missed} == missed
    assert "not served: 4 of ours" in lines[1].runs


@pytest.mark.parametrize(
    ("goodbyes", "status", "missed"), [(4, 0, []), (3, 0, ["goodbyes"]), (4, -9, ["exit status"])]
)
def test_a_stop_is_as_good_as_its_worst_round(goodbyes: int, status: int, missed: list[str]) -> None:
    """One goodbye less in one of the rounds misses the goal, and so does a worker that was killed."""
    good = {"calls": 4, "exit_status": 0, "exit_seconds": 2.0, "over_seconds": 1.0, "goodbyes": 4}
    ours = good | {"variant": "ours"}
    worse = ours | {"exit_seconds": 9.0, "goodbyes": goodbyes, "exit_status": status}
    lines = figures.stop_lines({"stop": [good | {"variant": "bare", "goodbyes": 0}, ours, worse]})
    assert lines[1].ours == 9.0
    assert [
        line.what.partition(",")[0].removesuffix(" heard to the end") for line in lines if line.missed
    ] == missed


@pytest.mark.parametrize(("failing", "status", "last"), [("journal", 1, "journal"), (None, 0, "none")])
def test_a_benchmark_that_misses_its_goals_is_named_at_the_end(
    failing: str | None,
    status: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those after it run all the same; the last line says which ones it was, and the exit status is 1."""
    ran: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command[-1].removeprefix("benchmarks."))
        return subprocess.CompletedProcess(command, ran[-1] == failing)

    monkeypatch.setattr(benchmarks_command.subprocess, "run", run)
    only = ["--only", "journal", "--only", "redaction"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *only, "--out", str(tmp_path)])
    assert benchmarks_command.main() == status
    assert ran == ["journal", "redaction"]
    assert capsys.readouterr().out.splitlines()[-1] == f"goals missed, or failed: {last}"


def test_drawings_are_svg() -> None:
    """Bars and curves parse as XML whatever the names, and a curve has a point for each step."""
    bars = plot([Line("a < b", "s", 1.0, 2.0, "≤ 1 x", 1.0, "")])
    drawn = [bars, curves("t & u", "calls", {"<x>": [(1.0, 2.0), (2.0, 3.0)]}), curves("", "", {})]
    drawn.append(curves("t", "sessions", {"x": [(0.0, 2.0), (10.0, 2.0), (1000.0, 3.0)]}, by_tens=True))
    roots = [ElementTree.fromstring(text) for text in (*drawn, *figures.plots({"capacity": STEPS}).values())]
    assert all(root.tag.endswith("svg") for root in roots)
    lines = [line for line in roots[4] if line.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 1]
    (by_tens,) = (line for line in roots[3] if line.tag.endswith("polyline"))
    first, tenfold, last = (float(point.split(",")[0]) for point in by_tens.attrib["points"].split())
    assert last - first == pytest.approx(3 * (tenfold - first), abs=0.3), (
        "each ten times as far from the last"
    )
