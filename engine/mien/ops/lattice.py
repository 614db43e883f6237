"""Slow fields over a picture: kept on a coarse lattice, with sums over pixels on the way in and cubics on the way out.

A lattice's knots lie a number of pixels apart that need not be whole, so that a field is as fine over a proxy
as over the final picture. Each pixel belongs to the knots around it by the weights of cubic B-splines, which add
up to 1: what is gathered is not lost, and what is spread runs smoothly from knot to knot.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mien.ops.bands import PIXELS


@dataclass(frozen=True)
class Lattice:
    """Knots over a picture.

    Attributes:
        rows, columns: (n, H) and (m, W) weights of each pixel's row and column for each knot's.
        anchor: Row and column of the knot that the lattice holds on to; it may lie outside.
    """

    rows: Tensor
    columns: Tensor
    anchor: tuple[int, int]


def lattice(size: tuple[int, int], step: float, like: Tensor, through: tuple[float, float] = (0.0, 0.0)) -> Lattice:
    """Knots every ``step`` pixels (at least one) over a picture of a height and width, on the device of ``like``.

    One of them lies on the position ``through`` (x, y), or would: knots that hold on to a face move with it.
    """
    step = max(step, 1.0)
    rows, row = _weights(size[0], step, through[1], like)
    columns, column = _weights(size[1], step, through[0], like)
    return Lattice(rows, columns, (row, column))


def gather(values: Tensor, over: Lattice) -> Tensor:
    """Sums of (..., C, H, W) pixels at the knots: (..., C, n, m)."""
    return over.rows @ (values @ over.columns.mT)


def spread(field: Tensor, over: Lattice) -> Tensor:
    """A (..., C, n, m) field of knots at every pixel: (..., C, H, W). A level field stays level."""
    return (over.rows.mT @ field) @ over.columns


def bands(over: Lattice, width: int, share: float = 1.0) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows of a picture ``width`` pixels wide, so many at a time as stay in a processor's cache: which rows, which rows
    of knots they belong to, and the (k, h) weights between them. Half a ``share`` is twice as many rows."""
    height = over.rows.shape[1]
    if over.rows.device.type != "cpu":
        yield slice(0, height), slice(0, len(over.rows)), over.rows
        return
    # As many whatever the number of threads: sums are the same on any processor.
    step = max(16, int(PIXELS / (share * max(width, 1))))
    for top in range(0, height, step):
        weights = over.rows[:, top : top + step]
        near = (weights > 0).any(1).nonzero()
        knots = slice(int(near[0]), int(near[-1]) + 1)
        yield slice(top, min(height, top + step)), knots, weights[knots]


def moved(field: Tensor, there: Lattice, here: Lattice) -> Tensor:
    """A field over one lattice, over another of the same step: knot for knot from those that they hold on to.

    Beyond the field's edge it goes on as it ends there.
    """
    for axis, row in ((-2, 0), (-1, 1)):
        count = (here.rows, here.columns)[row].shape[0]
        knots = torch.arange(count, device=field.device) + (there.anchor[row] - here.anchor[row])
        field = field.index_select(axis, knots.clamp(0, field.shape[axis] - 1))
    return field


def blur(field: Tensor, radius: float) -> Tensor:
    """Sums of (..., n, m) knots weighted by a Gaussian of a radius in knots; divide by those of 1 for averages."""
    if radius <= 0:
        return field
    return _gaussian(field.shape[-2], radius, field) @ field @ _gaussian(field.shape[-1], radius, field)


def _weights(length: int, step: float, through: float, like: Tensor) -> tuple[Tensor, int]:
    first = 1 - math.floor((0.5 - through) / step)
    knots = first + math.floor((max(length, 1) - 0.5 - through) / step) + 3
    place = (torch.arange(length, device=like.device, dtype=torch.float32) + (0.5 - through)) / step + first
    away = (place - torch.arange(knots, device=like.device, dtype=torch.float32)[:, None]).abs()
    near = 2 / 3 - away.square() * (1 - away / 2)
    far = (2 - away).clamp(min=0) ** 3 / 6
    return torch.where(away < 1, near, far), first


def _gaussian(length: int, radius: float, like: Tensor) -> Tensor:
    place = torch.arange(length, device=like.device, dtype=torch.float32)
    return torch.exp(-0.5 * ((place - place[:, None]) / radius).square())
