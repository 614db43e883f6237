"""Optimal transport of colors: along a line by ranks, in space by many lines."""

from functools import cache

import torch
from torch import Tensor

STEPS = 10
FRAMES = 10
"""Sets of three directions, at right angles to each other, that are tried in one step."""
SEED = 20151


def sliced(colors: Tensor, targets: Tensor, carried: Tensor) -> Tensor:
    """Carry (3, m) points along with the (3, n) colors as these are moved onto as many ``targets``.

    Each step moves colors along many directions at once by what ranks along them ask for, averaged (Rabin et al.
    2011, Bonneel et al. 2015). Points between colors move as their neighbors along each direction do, points beyond as
    the outermost. Deterministic: directions are drawn once from a seed.
    """
    for frames in directions(STEPS).to(colors):
        axes = frames.reshape(-1, 3)
        order = (axes @ colors).sort(-1).values
        rise = (axes @ targets).sort(-1).values - order
        colors, carried = (points + _pushed(points, axes, order, rise) for points in (colors, carried))
    return carried


@cache
def directions(steps: int) -> Tensor:
    """(steps, FRAMES, 3, 3) orthonormal directions, each row one."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(steps, FRAMES, 3, 3, generator=generator, dtype=torch.float64)
    drawn: Tensor = torch.linalg.qr(noise)[0]
    return drawn


def between(at: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Values given at rising places, linear between them and held beyond; (..., m) from (..., n)."""
    above = torch.searchsorted(places, at.contiguous()).clamp(1, places.shape[-1] - 1)
    low, high = places.gather(-1, above - 1), places.gather(-1, above)
    share = ((at - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(values.gather(-1, above - 1), values.gather(-1, above), share)


def _pushed(points: Tensor, axes: Tensor, order: Tensor, rise: Tensor) -> Tensor:
    """What each point is moved by: the sum over a set of directions, averaged over sets."""
    along = axes @ points
    return axes.T @ between(along, order, rise) * (3 / len(axes))
