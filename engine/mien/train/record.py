"""The record of a training: losses, held-out error, and what they say."""

import math
from dataclasses import dataclass, field
from html import escape
from typing import Any

INTERVAL = 25
"""Steps whose losses are averaged into one entry."""
FEWEST = 5
"""Measurements from which a trend is read."""
COLORS = ("#8fc1ff", "#ffb36b", "#9be28f", "#e58fd8", "#e6d96b", "#8fe0dc", "#d08f8f", "#bbbbbb")


@dataclass
class Record:
    """What was measured so far.

    Attributes:
        losses: (step, means since the entry before by name).
        held: (step, dB on held-out pictures).
    """

    losses: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    held: list[tuple[int, float]] = field(default_factory=list)

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"losses": [list(entry) for entry in self.losses], "held": [list(entry) for entry in self.held]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Record":
        """From JSON."""
        losses = [(int(step), {str(k): float(v) for k, v in terms.items()}) for step, terms in plain["losses"]]
        return cls(losses, [(int(step), float(value)) for step, value in plain["held"]])


def improving(held: list[tuple[int, float]]) -> str:
    """Whether the held-out error still falls: a line through the last third of the measurements, with its doubt."""
    recent = held[-max(FEWEST, math.ceil(len(held) / 3)) :]
    if len(recent) < FEWEST or recent[-1][0] == recent[0][0]:
        return "too early to say whether it improves"
    slope, doubt = _line([step / 1000 for step, _ in recent], [value for _, value in recent])
    figure = f"{slope:+.2f} ± {doubt:.2f} dB per 1000 steps"
    if slope > 2 * doubt and slope > 0.01:
        return f"still improving, {figure}"
    if slope < -2 * doubt and slope < -0.01:
        return f"getting worse on what it has not seen, {figure}: stop, or add pictures"
    return f"no longer improving, {figure}"


def _line(x: list[float], y: list[float]) -> tuple[float, float]:
    """Slope of the line of least squares, and its standard error."""
    count = len(x)
    mean_x, mean_y = sum(x) / count, sum(y) / count
    spread = sum((value - mean_x) ** 2 for value in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / spread
    rest = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y))
    return slope, math.sqrt(rest / max(count - 2, 1) / spread)


def page(record: Record, title: str, facts: dict[str, str]) -> str:
    """Curves as one HTML page that needs nothing else."""
    names = list(dict.fromkeys(name for _, terms in record.losses for name in terms))
    curves = {name: [(step, terms[name]) for step, terms in record.losses if name in terms] for name in names}
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>"
        "<style>body{font:14px/1.5 sans-serif;background:#1b1b1b;color:#ddd;margin:24px}svg{background:#242424}"
        "td{padding:0 12px 0 0}</style>",
        f"<h1>{escape(title)}</h1><table>",
        *(f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in facts.items()),
        "</table>",
        f"<h2>Held out, dB: {escape(improving(record.held))}</h2>",
        _plot({"held out": record.held}, logarithmic=False),
        "<h2>Losses</h2>",
        _plot(curves, logarithmic=True),
    ]
    return "\n".join(parts) + "\n"


def _plot(curves: dict[str, list[tuple[int, float]]], *, logarithmic: bool) -> str:
    width, height, left, bottom = 900, 320, 60, 24
    shown = {
        name: [(step, math.log10(value) if logarithmic else value) for step, value in _thinned(points) if fine(value)]
        for name, points in curves.items()
        if not logarithmic or any(value > 0 for _, value in points)
        for fine in [(lambda value: value > 0) if logarithmic else math.isfinite]
    }
    every = [point for points in shown.values() for point in points]
    if not every:
        return "<p>Nothing measured yet.</p>"
    last = max(step for step, _ in every) or 1
    low, high = min(value for _, value in every), max(value for _, value in every)
    span = (high - low) or 1.0
    parts = []
    for place in range(5):
        value = low + span * place / 4
        y = (height - bottom) * (1 - place / 4) + 2
        label = f"{10**value:.3g}" if logarithmic else f"{value:.2f}"
        parts.append(
            f'<line x1="{left}" x2="{width}" y1="{y:.0f}" y2="{y:.0f}" stroke="#3a3a3a"/>'
            f'<text x="4" y="{y + 4:.0f}" fill="#999" font-size="11">{label}</text>'
        )
    for place, (name, points) in enumerate(shown.items()):
        color = COLORS[place % len(COLORS)]
        line = " ".join(
            f"{left + (width - left) * step / last:.1f},{(height - bottom) * (1 - (value - low) / span) + 2:.1f}"
            for step, value in points
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{left + 8 + 120 * (place % 7)}" y="{16 + 14 * (place // 7)}" fill="{color}" '
            f'font-size="12">{escape(name)}</text>'
        )
    parts.append(
        f'<text x="{width - 4}" y="{height - 6}" text-anchor="end" fill="#999" font-size="11">{last} steps</text>'
    )
    return f'<svg width="{width}" height="{height}" font-family="sans-serif">{"".join(parts)}</svg>'


def _thinned(points: list[tuple[int, float]], most: int = 600) -> list[tuple[int, float]]:
    """At most so many points, each the mean of its neighbors."""
    length = max(1, len(points) // most)
    groups = [points[place : place + length] for place in range(0, len(points), length)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
