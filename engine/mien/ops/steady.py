"""Curves over a shot: robust local regression, so that they follow what lasts and not what flickers."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ROUNDS = 4
"""How often outliers are weighed anew."""
SURE = 1e-9
PIECE = 64
"""Frames that are fitted at a time, so that memory does not grow with the shot."""


def smooth(values: Tensor, weight: Tensor, frames: float) -> Tensor:
    """Straight lines fitted to (F, C) values around every frame, outliers left out; (F, C).

    ``weight`` (F,) is the trust in each frame; those with 0 neither count nor, alone, have a value of their own:
    they take the nearest line. ``frames`` is the standard deviation of the window; 0 gives back what came.
    LOWESS with Gaussian nearness (Cleveland 1979).
    """
    if frames <= 0 or len(values) < 2 or not bool((weight > 0).any()):
        return values
    reach = max(1, math.ceil(3 * frames))
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    near = torch.exp(-0.5 * (offset / frames).square())
    around = windows(values.double().T, reach).movedim(0, -1)
    base = windows(weight.double()[None], reach)[0] * near
    pieces = zip(around.split(PIECE), base.split(PIECE))
    result = torch.cat([_settled(offset, rows, trust) for rows, trust in pieces])
    empty = base.sum(1) <= SURE
    if bool(empty.any()):
        known = (~empty).nonzero().flatten()
        nearest = known[(torch.arange(len(values))[:, None] - known).abs().argmin(1)]
        result = result[nearest]
    return result.to(values.dtype)


def _settled(offset: Tensor, rows: Tensor, base: Tensor) -> Tensor:
    """(F, C) values of lines through (F, W, C) rows, outliers weighed anew until they no longer count."""
    trust, result = base, rows[:, rows.shape[1] // 2]
    for _ in range(ROUNDS):
        lines = _line(offset, rows, trust)
        result = lines[0]
        apart = (rows - lines[0][:, None] - lines[1][:, None] * offset[:, None]).abs()
        usual = median(apart, base).clamp_min(1e-12)
        # A frame that is out in one channel is out in all.
        strange = (apart / (6 * usual[:, None])).amax(-1).clamp_max(1)
        trust = base * (1 - strange.square()).square()
    return result


def windows(lines: Tensor, reach: int) -> Tensor:
    """(C, F, 2 reach + 1) what lies around every frame of (C, F); 0 past the ends."""
    return F.pad(lines, (reach, reach)).unfold(-1, 2 * reach + 1, 1)


def _line(offset: Tensor, rows: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
    """(F, C) values and slopes at the middle of (F, W, C) rows under (F, W) trust."""
    total = trust.sum(1, keepdim=True).clamp_min(1e-30)
    middle = (trust * offset).sum(1, keepdim=True) / total
    mean = (trust[..., None] * rows).sum(1) / total
    away = offset - middle
    spread = (trust * away.square()).sum(1, keepdim=True)
    slope = ((trust * away)[..., None] * rows).sum(1) / (spread + 0.5 * total)
    return mean - slope * middle, slope


def median(apart: Tensor, base: Tensor) -> Tensor:
    """(F, C) weighted medians of (F, W, C)."""
    order = apart.argsort(1)
    weights = base[..., None].expand_as(apart).gather(1, order).cumsum(1)
    half = weights[:, -1:] / 2
    place = (weights < half).sum(1, keepdim=True).clamp_max(apart.shape[1] - 1)
    return apart.gather(1, order).gather(1, place)[:, 0]
