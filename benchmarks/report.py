"""Medians, ratios and goals: the table in Markdown and the plot in SVG."""

import math
from dataclasses import dataclass
from html import escape
from statistics import median, quantiles


@dataclass(frozen=True)
class Line:
    """One figure of ours beside the baseline's."""

    what: str
    unit: str
    baseline: float | None
    """None: the baseline has no such figure."""
    ours: float
    goal: str
    """As text: `≤ 0.60 x` or `≤ 2 s`; `-` for a figure that has none."""
    limit: float
    """What ratio (or, without a baseline, what value) is still the goal."""
    runs: str
    more_is_better: bool = False
    unserved: int = 0
    """How many calls of ours came to nothing; with one of them no goal is reached."""

    @property
    def measure(self) -> float:
        """What the goal speaks of: the ratio, or the figure itself where there is no baseline."""
        return self.ours / self.baseline if self.baseline else self.ours

    @property
    def reached(self) -> bool:
        """Whether the goal is."""
        if self.unserved or (self.baseline is not None and not math.isfinite(self.baseline)):
            return False
        return self.measure >= self.limit if self.more_is_better else self.measure <= self.limit

    @property
    def missed(self) -> bool:
        """Whether there is a goal and it is not reached."""
        return self.goal != "-" and not self.reached


def middle(values: list[float]) -> float:
    """The median; NaN of nothing."""
    return median(values) if values else float("nan")


def p95(values: list[float]) -> float:
    """The 95th percentile, of few values the largest but interpolated; infinite next to an infinite one."""
    found = quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else middle(values)
    return math.inf if math.isnan(found) and values else found


def table(lines: list[Line], notes: list[str]) -> str:
    """Markdown."""
    rows = [
        "| what | bare worker | ours | ratio | goal | | runs |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        base = "-" if line.baseline is None else f"{line.baseline:.{_places(line)}f} {line.unit}"
        ratio = f"{line.measure:.2f} x" if line.baseline else "-"
        reached = "**missed**" if line.missed else "" if line.goal == "-" else "reached"
        rows.append(
            f"| {line.what} | {base} | {line.ours:.{_places(line)}f} {line.unit} | {ratio} | {line.goal} "
            f"| {reached} | {line.runs} |"
        )
    return "\n".join([*rows, "", *(f"- {note}" for note in notes)]) + "\n"


def plot(lines: list[Line]) -> str:
    """Bars: ours relative to the baseline, with the goal as a tick. Plain SVG."""
    compared = [line for line in lines if line.baseline]
    width, left, row = 760, 330, 30
    scale = (width - left - 90) / 1.6
    height = 50 + row * len(compared)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18">relative to a hard-coded worker (1.0); | = goal</text>',
    ]
    for number, line in enumerate(compared):
        y = 32 + number * row
        bar = min(line.measure, 1.6) * scale
        colour = "#2a7f62" if line.reached else "#b5532a"
        goal = left + line.limit * scale
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(line.what)}</text>',
            f'<rect x="{left}" y="{y}" width="{bar:.0f}" height="18" fill="{colour}"/>',
            f'<line x1="{goal:.0f}" x2="{goal:.0f}" y1="{y - 3}" y2="{y + 21}" stroke="black" '
            f'stroke-width="2"/>',
            f'<text x="{left + bar + 6:.0f}" y="{y + 14}">{line.measure:.2f} x</text>',
        ]
    one = left + scale
    parts.append(
        f'<line x1="{one:.0f}" x2="{one:.0f}" y1="26" y2="{height - 10}" stroke="#888" '
        f'stroke-dasharray="4 3"/>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def curves(
    title: str, across: str, lines: dict[str, list[tuple[float, float]]], *, by_tens: bool = False
) -> str:
    """
    One line per name through its points, both axes from zero. Plain SVG.

    Args:
        title: What is shown, with its unit.
        across: What the horizontal axis counts.
        lines: Points by name, in order.
        by_tens: Whether each step to the right is ten times as many; zero and one lie at the left.
    """
    width, height, left, below = 760, 340, 70, 44
    points = [point for line in lines.values() for point in line]
    right = max((x for x, _ in points), default=1.0) or 1.0
    top = max((y for _, y in points), default=1.0) * 1.1 or 1.0
    ticks = [right * quarter / 4 for quarter in range(5)]
    if by_tens:
        ticks = [10.0**power for power in range(math.ceil(math.log10(max(right, 10))) + 1)]
        right = ticks[-1]

    def along(x: float) -> float:
        return math.log10(max(x, 1)) / math.log10(right) if by_tens else x / right

    def place(x: float, y: float) -> tuple[float, float]:
        return left + along(x) * (width - left - 150), height - below - y / top * (height - below - 34)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18">{escape(title)}</text>',
        f'<text x="{left}" y="{height - 8}">{escape(across)}</text>',
    ]
    for quarter in range(5):
        _, y = place(0, top * quarter / 4)
        parts += [
            f'<line x1="{left}" x2="{width - 150}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>',
            f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{top * quarter / 4:.4g}</text>',
        ]
    for tick in ticks:
        x, bottom = place(tick, 0)
        parts.append(f'<text x="{x:.0f}" y="{bottom + 16:.0f}" text-anchor="middle">{tick:,.10g}</text>')
    colours = ("#777777", "#2a7f62", "#4a6fa5", "#b5532a")
    for number, (name, line) in enumerate(lines.items()):
        colour = colours[number % len(colours)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        y = 40 + 18 * number
        parts += [
            f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{width - 140}" y="{y}" fill="{colour}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(line: Line) -> int:
    return 0 if line.ours >= 100 else 1 if line.ours >= 10 else 2
