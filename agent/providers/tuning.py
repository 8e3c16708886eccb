"""Voice tuning: one vocabulary over all providers, and what becomes of each value, with verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from fnmatch import fnmatchcase

from agent.providers.capability import Cell, Row, Tuning, TuningTable, exact, unsupported
from config_store.schema import VoiceTuning
from config_store.verdict import Verdict, shown

KNOBS = tuple(f.name for f in dataclasses.fields(Tuning))
"""Every knob, in the order of the documentation."""

LOUDNESS = exact(0.0, 3.0, "gain on the audio, softly limited")
"""The same for every provider: it is done here, on the frames."""

_NOTHING_KNOWN = unsupported("this plugin has no tuning table")


def row_for(table: TuningTable, model: str | None) -> Row:
    """The row of `model` in a provider's table; of a table without it, only loudness is known."""
    for pattern, row in table:
        if fnmatchcase(model or "", pattern):
            return row
    return {}


def cell_for(row: Row, knob: str) -> Cell:
    """What a model does with `knob`."""
    return LOUDNESS if knob == "loudness" else row.get(knob, _NOTHING_KNOWN)


def fit(
    row: Row, tuning: VoiceTuning, *, who: str, place: str = "voice_tuning"
) -> tuple[Tuning, list[Verdict]]:
    """
    The tuning that goes to a model, and a verdict for every value that does not go as it was asked.

    Args:
        row: The model's row of the table.
        tuning: What the configuration asks for; None fields are left alone.
        who: Provider and model, for the reasons.
        place: Path of the tuning in the configuration, for the verdicts.
    """
    values: dict[str, object] = {}
    verdicts = []
    for knob in KNOBS:
        asked = getattr(tuning, knob)
        if asked is None:
            continue
        cell = cell_for(row, knob)
        path = f"{place}.{knob}"
        if cell.support == "unsupported":
            if not _is_neutral(knob, asked):
                why = f": {cell.how}" if cell.how else ""
                verdicts.append(Verdict(path, "unsupported", f"{who} has no {knob}{why}", asked=shown(asked)))
            continue
        applied = asked if isinstance(asked, bool | str) else _nearest(cell, float(asked))
        if applied != asked:
            verdicts.append(
                Verdict(
                    path,
                    "clamped",
                    f"{who} takes {_span(cell)}",
                    asked=asked,
                    applied=applied,
                    range=_span(cell),
                )
            )
        values[knob] = applied
    return Tuning(**values), verdicts  # type: ignore[arg-type]


def _nearest(cell: Cell, asked: float) -> float:
    if cell.steps is not None:
        return min(cell.steps, key=lambda step: abs(step - asked))
    low = asked if cell.low is None else max(cell.low, asked)
    return low if cell.high is None else min(cell.high, low)


def _span(cell: Cell) -> str:
    if cell.steps is not None:
        return ", ".join(f"{step:g}" for step in cell.steps)
    return "yes" if cell.low is None or cell.high is None else f"{cell.low:g} to {cell.high:g}"


def _is_neutral(knob: str, asked: object) -> bool:
    """Whether the value asks for nothing: a bundle that says pitch 0 is not told that there is no pitch."""
    neutral = {"pace": 1.0, "pitch": 0.0, "loudness": 1.0, "style": 0.0, "instructions": ""}
    return knob in neutral and asked == neutral[knob]


def markdown(rows: Iterable[tuple[str, Row]]) -> str:
    """
    The table provider and model by knob as Markdown.

    Args:
        rows: (Provider and model as shown, row).
    """
    lines = [
        "| provider, model | " + " | ".join(KNOBS) + " |",
        "|---|" + "---|" * len(KNOBS),
    ]
    lines += [
        f"| {name} | " + " | ".join(_shown(cell_for(row, knob)) for knob in KNOBS) + " |"
        for name, row in rows
    ]
    return "\n".join(lines) + "\n"


def _shown(cell: Cell) -> str:
    if cell.support == "unsupported":
        return "-"
    return f"≈ {_span(cell)}, {cell.how}" if cell.support == "approximated" else _span(cell)
