"""Smoothing measurements of color over a shot, so that a match does not pump."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from mien.ops import spaces
from mien.types import ColorSample, Series, Table

STILL = 0.15
"""Change of brightness, as the logarithm of a ratio, across which smoothing stops averaging."""
WINDOW = 4.0
"""Standard deviations beyond which a neighbor does not count."""
LEAST_WEIGHT = 0.05


def smooth(samples: Series[ColorSample], frames: float) -> Series[ColorSample]:
    """Smooth measurements over time, and fill the frames that have none from their neighbors.

    A straight line is fitted around every frame under a bell of ``frames`` standard deviation, so that a
    steady change of light is followed without lag. Neighbors whose brightness differs by more than the
    matte's wobble explains (a flash, a cut) count little. Frames before the first and after the last
    measurement repeat it. Quantiles and palettes are averaged place by place, which moves colors rather than mixing
    pictures of them.
    """
    known = [(row, sample) for row, sample in enumerate(samples.values) if sample is not None and sample.weight > 0]
    if not known:
        return samples
    rows = [row for row, _ in known]
    values = [sample for _, sample in known]
    if any(_shape(sample) != _shape(values[0]) for sample in values):
        raise ValueError("measurements of one shot must be of one space and one size")
    vectors = torch.stack([_vector(sample) for sample in values])
    sizes = vectors.new_tensor([sample.weight for sample in values])
    usual = float(sizes.median())
    weights = (sizes / usual).clamp(LEAST_WEIGHT, 1.0)
    means = vectors[:, :6].reshape(-1, 2, 3).transpose(1, 2)
    light = spaces.decode(means, values[0].space).flatten(1).clamp_min(1e-6).log()
    if frames > 0:
        vectors = torch.stack([_fit(n, rows, vectors, weights, light, frames) for n in range(len(rows))])
        values = [_sample(vector, sample.weight, sample) for vector, sample in zip(vectors, values)]
    steady = dict(zip(rows, values))
    filled = [
        steady[row] if row in steady else _sample(_between(row, rows, vectors), usual, values[0])
        for row in range(len(samples.values))
    ]
    return replace(samples, values=tuple(filled))


def _between(row: int, rows: Sequence[int], vectors: Tensor) -> Tensor:
    """A straight line over a gap; beyond the ends, the end."""
    after = min(bisect_left(rows, row), len(rows) - 1)
    if row <= rows[0] or row >= rows[-1]:
        return vectors[after]
    share = (row - rows[after - 1]) / (rows[after] - rows[after - 1])
    return torch.lerp(vectors[after - 1], vectors[after], share)


def _fit(row: int, rows: Sequence[int], vectors: Tensor, weights: Tensor, light: Tensor, frames: float) -> Tensor:
    reach = WINDOW * frames
    near = slice(bisect_left(rows, rows[row] - reach), bisect_right(rows, rows[row] + reach))
    away = vectors.new_tensor(rows[near]) - rows[row]
    same = (-0.5 * ((light[near] - light[row]) / STILL).square().sum(-1) / light.shape[-1]).exp()
    bell = weights[near] * (-0.5 * (away / frames).square()).exp() * same
    total = bell.sum()
    center = (bell * away).sum() / total
    lean = away - center
    spread = (bell * lean.square()).sum()
    share = bell / total
    if float(spread) >= 1e-6 * float(total):
        share = share - bell * lean * center / spread
    return share @ vectors[near]


def _tables(sample: ColorSample) -> list[Any]:
    return [getattr(sample, field.name) for field in fields(sample) if field.name not in ("weight", "space")]


def _tensor(table: Any) -> Tensor:
    return table.tensor() if isinstance(table, Table) else torch.tensor(table, dtype=torch.float64)


def _shape(sample: ColorSample) -> tuple[Any, ...]:
    return sample.space, *(_tensor(table).shape for table in _tables(sample))


def _vector(sample: ColorSample) -> Tensor:
    """Both means, then everything else, as one row."""
    return torch.cat([_tensor(table).flatten() for table in _tables(sample)])


def _sample(vector: Tensor, weight: float, like: ColorSample) -> ColorSample:
    """The row as a measurement shaped like another."""
    names = [field.name for field in fields(like) if field.name not in ("weight", "space")]
    tables = _tables(like)
    shapes = [_tensor(table).shape for table in tables]
    parts = vector.split([shape.numel() for shape in shapes])
    values = (_like(table, part.view(shape).tolist()) for table, part, shape in zip(tables, parts, shapes))
    return replace(like, weight=weight, **dict(zip(names, values)))


def _like(table: Any, values: Any) -> Any:
    return Table(values) if isinstance(table, Table) else _nested(values)


def _nested(values: Any) -> Any:
    return tuple(_nested(value) for value in values) if isinstance(values, list) else values
