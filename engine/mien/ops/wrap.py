"""Light that spills from behind over the edges of what stands before it."""

import torch
from torch import Tensor

from mien.ops import lattice as knots
from mien.ops.lattice import Lattice
from mien.types import Image, Matte

NOTHING = 1e-20


def light_wrap(front: Image, back: Image, matte: Matte, over: Lattice, radius: float) -> Tensor:
    """Light to add to ``front`` where ``back``, seen past the matte, is brighter: (..., 3, H, W), never below 0.

    As much of it as a defocus of ``radius`` knots would carry over the edge: half at the edge, nothing two radii
    inside. Only the excess over the front's own light there spills, so a background like the face adds nothing.
    Infinite and undefined light spills nowhere.
    """
    spilled = _blurred(back, 1 - matte, over, radius)
    own = _blurred(front, matte, over, radius)
    area = knots.blur((over.rows.sum(-1)[:, None] * over.columns.sum(-1)), radius)
    share = spilled[..., 3:, :, :] / area
    excess = (_mean(spilled) - _mean(own)).clamp(min=0)
    return knots.spread(torch.where(own[..., 3:, :, :] > NOTHING, share * excess, 0.0), over)


def _blurred(image: Image, weight: Matte, over: Lattice, radius: float) -> Tensor:
    """(..., 4, n, m) sums of weighted light and of weights around each knot."""
    sound = torch.isfinite(image.sum(-3, keepdim=True))
    weight = torch.where(sound, weight, 0.0).expand_as(image[..., :1, :, :])
    light = image.nan_to_num(0.0, 0.0, 0.0) * weight
    return knots.blur(knots.gather(torch.cat([light, weight], -3), over), radius)


def _mean(sums: Tensor) -> Tensor:
    return sums[..., :3, :, :] / sums[..., 3:, :, :].clamp(min=NOTHING)
