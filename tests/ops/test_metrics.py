"""Figures that jobs leave in their journals are counted once, and name nobody."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from agent import metrics
from agent.health import unwritable

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
