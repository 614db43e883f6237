# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses as a picture, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SIZE = (640, 240)
COLORS = ((0.95, 0.6, 0.2), (0.3, 0.7, 0.95), (0.5, 0.85, 0.4), (0.85, 0.45, 0.8), (0.9, 0.85, 0.3), (0.6, 0.6, 0.6))
GROUND, GRID = (0.05, 0.05, 0.06), (0.13, 0.13, 0.14)


def curves(series: Mapping[str, Sequence[tuple[int, float]]], size: tuple[int, int] = SIZE) -> Any:
    """(height, width, 4) float32 with the lowest row first, as Blender's images hold it; a line for each loss."""
    width, height = size
    picture = np.ones((height, width, 4), np.float32)
    picture[..., :3] = GROUND
    points = [(step, value) for line in series.values() for step, value in line if value > 0 and math.isfinite(value)]
    if len(points) < 2:
        return picture
    steps, values = [step for step, _ in points], [math.log10(value) for _, value in points]
    first, span = min(steps), max(1, max(steps) - min(steps))
    low, high = math.floor(min(values)), max(math.ceil(max(values)), math.floor(min(values)) + 1)
    for decade in range(low, high + 1):
        picture[_row(decade, low, high, height), :, :3] = GRID
    columns = np.arange(width)
    for number, line in enumerate(series.values()):
        sound = [(step, math.log10(value)) for step, value in line if value > 0 and math.isfinite(value)]
        if len(sound) < 2:
            continue
        places = [(step - first) / span * (width - 1) for step, _ in sound]
        heights = np.interp(columns, places, [value for _, value in sound])
        drawn = columns[(columns >= places[0]) & (columns <= places[-1])]
        rows = np.array([_row(heights[column], low, high, height) for column in drawn])
        for place, (column, row) in enumerate(zip(drawn, rows)):
            before = rows[max(place - 1, 0)]
            picture[max(min(row, before) - 1, 0) : max(row, before) + 2, column, :3] = COLORS[number % len(COLORS)]
    return picture


def _row(value: float, low: float, high: float, height: int) -> int:
    return int(min(max((value - low) / (high - low), 0), 1) * (height - 1))
