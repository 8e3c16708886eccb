"""Figures that jobs leave in their journals are counted once, and name nobody."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from prometheus_client import REGISTRY, generate_latest

from agent import metrics
from agent.ending import REASONS
from agent.health import unwritable
from agent.transcripts.finalize import Outcome
from config_store.verdict import Outcome as VerdictWord

AGENT = Path(__file__).parent.parent.parent / "agent"

Delta = Callable[..., float]


@pytest.fixture
def change() -> Delta:
    """How much a series grew since the test began."""
    before = {(s.name, *sorted(s.labels.items())): s.value for m in REGISTRY.collect() for s in m.samples}

    def of(name: str, **labels: str) -> float:
        value = REGISTRY.get_sample_value(name, labels) or 0.0
        return value - before.get((name, *sorted(labels.items())), 0.0)

    return of


def entry(type: str, *, attempt: int = 1, w: str = "w1", n: int = 1, **fields: Any) -> dict[str, Any]:  # noqa: A002
    """A journal entry."""
    return {
        "v": 1,
        "attempt": attempt,
        "w": w,
        "n": n,
        "at": "2026-01-01T00:00:00.000Z",
        "type": type,
        **fields,
    }


def test_a_record_that_grows_is_one_end(change: Delta) -> None:
    """What comes to a record later is counted, and its session has ended once; `unchanged` ends nothing."""
    late = entry("verdicts", n=7, verdicts=[{"verdict": "clamped", "path": "voice_tuning.pace"}])
    metrics.count("created", [entry("figure", name="first_audio", seconds=0.2)], "idle")
    metrics.count("grown", [late], "idle")
    metrics.count("unchanged", [], None)
    assert change("agent_first_audio_seconds_count") == 1
    assert change("agent_override_verdicts_total", verdict="clamped") == 1
    assert change("agent_sessions_ended_total", reason="idle") == 1
    assert [change("agent_records_total", action=a) for a in ("created", "grown", "unchanged")] == [1, 1, 1]


def test_a_later_attempt_is_a_recovery(change: Delta) -> None:
    """Two attempts of one session are one end and one recovery, also when more of the second comes later."""
    metrics.count("created", [entry("live"), entry("live", attempt=2, w="w2")], "crashed")
    metrics.count("grown", [entry("end", attempt=2, w="w2", n=2)], "crashed")
    assert change("agent_recoveries_total") == 1
    assert change("agent_sessions_ended_total", reason="crashed") == 1


def test_labels_are_from_closed_lists() -> None:
    """Whatever a journal holds, no text of it becomes a label or a name."""
    metrics.count(
        "created",
        [
            entry("error", source="parrot said this", message="giraffe"),
            entry("verdicts", verdicts=[{"verdict": "parrot"}]),
            entry("figure", name="parrot", seconds=1),
            entry("figure", name="resolve", seconds="giraffe"),
            entry("user", text="parrot", identity="giraffe"),
        ],
        "parrot",
    )
    text = generate_latest().decode()
    for word in ("parrot", "giraffe"):
        assert word not in text


def series_of_a_new_worker() -> dict[str, set[str]]:
    """The label values of each of our counters before anything happened, all of them at 0."""
    code = (
        "from prometheus_client import generate_latest as page; from agent import metrics; n = lambda: 0\n"
        "metrics.follow(running=n, starting=n, waiting=n, oldest=n, usable=n, quarantined=n, last_good=n,"
        " compiled_age=n, draining=n, capacity=1); print(page().decode())"
    )
    page = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    found: dict[str, set[str]] = {}
    for name, label in re.findall(r'^(agent_\w+_total)\{\w+="(\w+)"\} 0\.0$', page, re.MULTILINE):
        found.setdefault(name, set()).add(label)
    return found


def test_every_series_of_a_counter_is_there_from_the_start() -> None:
    """`rate()` sees the first store error, refusal or failing provider: their series began at 0 before."""
    stores = set(re.findall(r'STORE_ERRORS\.labels\("(\w+)"\)', (AGENT / "sweep.py").read_text()))
    refusals = set(re.findall(r'^ +return "(\w+)"$', (AGENT / "admission.py").read_text(), re.MULTILINE))
    assert len(stores) == 2
    assert len(refusals) == 4
    assert series_of_a_new_worker() == {
        "agent_job_requests_total": {"accepted", *refusals},
        "agent_override_verdicts_total": {*get_args(VerdictWord), "other"},
        "agent_provider_errors_total": {
            "stt", "llm", "tts", "realtime_model", "vad", "interruption", "other",
        },
        "agent_records_total": set(get_args(get_type_hints(Outcome)["action"])),
        "agent_sessions_ended_total": {*REASONS, "unknown"},
        "agent_store_errors_total": stores,
    }  # fmt: skip


def test_names_are_in_the_ecosystems_style() -> None:
    """Our prefix, a base unit where there is one, `_total` for counters and only for them."""
    ours = [one for one in REGISTRY.collect() if one.name.startswith("agent_")]
    assert len(ours) > 15
    for family in ours:
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb", "_count", "_total"))
        counts = {
            sample.name.endswith("_total")
            for sample in family.samples
            if not sample.name.endswith("_created")
        }
        assert counts <= {family.type == "counter"}
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_a_broken_journal_is_no_error(change: Delta) -> None:
    """Entries of any shape are passed over."""
    metrics.count("created", [{}, {"type": None}, entry("verdicts", verdicts=None)], None)
    assert change("agent_sessions_ended_total", reason="unknown") == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Any) -> None:
    """A file where the journals' folder should be is said in one line; a folder is fine and stays empty."""
    (tmp_path / "file").write_text("")
    assert "cannot be written" in (unwritable(tmp_path / "file" / "journals") or "")
    assert unwritable(tmp_path / "journals") is None
    assert list((tmp_path / "journals").iterdir()) == []
