"""Moving and softening the edge of a matte by its distance.

The edge is where a matte crosses one half. It is found to a fraction of a pixel on every line between
neighboring pixel centers; distances to those crossings are taken along rows (or columns) first, then
across them, as the lower envelope of parabolas. Far from the edge, where distance hardly bends, every
fourth pixel is enough. The cost hardly grows with the distance asked for.
"""

import math

import torch
from torch import Tensor

from mien.types import Matte

FAR = 1e6
"""Distance, in pixels, where a matte has no edge at all."""
NEAR = 24
"""Distance in pixels up to which every pixel is exact."""
STRIDE = 4
"""Pixels between exact distances beyond that; cubics run between them."""


def edge(matte: Matte, grow: float, soften: float) -> Matte:
    """Move the edge outward by ``grow`` pixels and make it ``soften`` pixels wide, centered where it moved to.

    Widths below a pixel give an anti-aliased edge. Without either the matte comes back as it is. NaN counts
    as 0.
    """
    if grow == 0 and soften == 0:
        return matte
    width = max(soften, 1.0)
    reach = abs(grow) + width / 2 + 1
    rows, columns = _within_reach(matte, reach)
    shaped = torch.zeros_like(matte)
    shaped[..., rows, columns] = _ramp(signed_distance(matte[..., rows, columns], reach) + grow, width, soften)
    return shaped


def _within_reach(matte: Matte, reach: float) -> tuple[slice, slice]:
    """Rows and columns outside of which no pixel is within ``reach`` of one where the matte is above 0."""
    there = (matte > 0).reshape(-1, *matte.shape[-2:]).any(0)
    return _around(there.any(1), reach), _around(there.any(0), reach)


def _around(line: Tensor, reach: float) -> slice:
    """From the first place that is set to the last, and as far as ``reach`` beyond; one place where none is."""
    found, margin = line.nonzero(), math.ceil(reach) + 2
    return slice(max(0, int(found[0]) - margin), int(found[-1]) + 1 + margin) if len(found) else slice(0, 1)


def _ramp(away: Tensor, width: float, soften: float) -> Matte:
    """A matte that rises over ``width`` pixels where the distance from its edge is 0."""
    ramp = (away / width + 0.5).clamp(0, 1)
    # A wide ramp eases in and out, so that its ends do not show as lines; a hard edge is straight coverage.
    ease = min(max((soften - 1) / 4, 0.0), 1.0)
    return torch.lerp(ramp, ramp * ramp * (3 - 2 * ramp), ease) if ease else ramp


def signed_distance(matte: Matte, reach: float = math.inf) -> Tensor:
    """Distance in pixels of (..., H, W) pixel centers from the matte's edge, positive inside.

    Exact to the edge's crossings near the edge. Far from it exact on every fourth pixel and interpolated
    between, which rounds off ridges midway between edges. Beyond ``reach``, and where there is no edge, only
    the sign and that it is further away are certain.
    """
    if matte.dim() < 2:
        raise ValueError(f"a matte must be (..., H, W), not {tuple(matte.shape)}")
    flat = matte.float().nan_to_num(0.0).reshape(-1, *matte.shape[-2:])
    along, down = _nearest_crossing(flat), _nearest_crossing(flat.mT).mT
    rows, columns = along.square().mT.contiguous(), down.square().contiguous()
    steps = math.ceil(min(reach, NEAR))
    away = torch.minimum(_step_outward(rows, steps).mT, _step_outward(columns, steps)).sqrt()
    # Close to the edge it is the straight line through its crossings in this row and in this column, unless
    # its foot lies further from the nearest crossing than crossings lie apart, as at corners.
    line = along * down / torch.hypot(along, down).clamp_min(1e-12)
    line = torch.minimum(torch.maximum(line, (away.square() - 0.5).clamp_min(0).sqrt()), away)
    near = (2 - torch.minimum(along, down) / 2).clamp(0, 1)
    away = torch.lerp(away, line, near)
    if reach > NEAR:
        sparse_rows, sparse_columns = rows[..., ::STRIDE, :], columns[..., ::STRIDE, :]
        coarse = torch.minimum(_strided(sparse_rows, reach).mT, _strided(sparse_columns, reach)).sqrt()
        height, width = flat.shape[-2:]
        far = _between(height, coarse) @ coarse @ _between(width, coarse.mT).mT
        away = torch.lerp(away, far, ((far - NEAR) / 4 + 1).clamp(0, 1))
    away = away.clamp(0, FAR)
    return torch.where(flat >= 0.5, away, -away).view(matte.shape)


def _nearest_crossing(matte: Tensor) -> Tensor:
    """Distance of each pixel center to the nearest crossing of one half in its row; FAR where there is none."""
    length = matte.shape[-1]
    if length < 2:
        return torch.full_like(matte, FAR)
    place = torch.arange(length, device=matte.device, dtype=matte.dtype)
    here, there = matte[..., :-1], matte[..., 1:]
    crosses = (here >= 0.5) != (there >= 0.5)
    straight = place[:-1] + (here - 0.5) / torch.where(crosses, here - there, 1.0)
    # A hard anti-aliased edge stands where the coverage of three pixels says; between two of them a straight
    # line from a full one would miss it by up to a tenth of a pixel.
    ends = torch.cat([matte[..., :1], matte, matte[..., -1:]], -1)
    before, after = ends[..., :-2], ends[..., 2:]
    cover = before + matte + after
    area = torch.where(before > after, place - 1.5 + cover, place + 1.5 - cover)
    hard = (((before - after).abs() - 0.8) / 0.2).clamp(0, 1)
    first = (here - 0.5).abs() < (there - 0.5).abs()
    area = torch.where(first, area[..., :-1], area[..., 1:])
    hard = torch.where(first, hard[..., :-1], hard[..., 1:])
    crossing = torch.lerp(straight, area, hard).clamp(place[:-1], place[1:])
    left, right = torch.full_like(matte, -FAR), torch.full_like(matte, FAR)
    left[..., 1:] = torch.where(crosses, crossing, -FAR)
    right[..., :-1] = torch.where(crosses, crossing, FAR)
    nearest_left = left.cummax(-1).values
    nearest_right = right.flip(-1).cummin(-1).values.flip(-1)
    return torch.minimum(place - nearest_left, nearest_right - place).clamp_max(FAR)


def _step_outward(squares: Tensor, steps: int) -> Tensor:
    """Smallest ``squares[j] + (i - j)²`` over the last axis, for ``j`` at most ``steps`` away."""
    # 1 + 3 + 5 + ... are the squares: each pass may carry a value one pixel further (Huang, Mitchell 1994).
    best = squares.clone()
    for step in range(1, min(steps, squares.shape[-1]) + 1):
        moved = best + (2 * step - 1)
        torch.minimum(best[..., 1:], moved[..., :-1], out=best[..., 1:])
        torch.minimum(best[..., :-1], moved[..., 1:], out=best[..., :-1])
    return best


def _strided(squares: Tensor, reach: float) -> Tensor:
    """The same at every fourth ``i`` of the last axis: one pass a stride, apart for each remainder of ``j``."""
    length = squares.shape[-1]
    count = -(-length // STRIDE)
    filled = squares.new_full((*squares.shape[:-1], count * STRIDE), FAR * FAR)
    filled[..., :length] = squares
    remainder = torch.arange(STRIDE, device=squares.device, dtype=squares.dtype)[:, None]
    best = filled.view(*squares.shape[:-1], count, STRIDE).mT + remainder.square()
    for step in range(1, min(math.ceil(min(reach, length) / STRIDE) + 1, count) + 1):
        outward = STRIDE * STRIDE * (2 * step - 1)
        moved = best + (outward - 2 * STRIDE * remainder)
        ahead = best + (outward + 2 * STRIDE * remainder)
        torch.minimum(best[..., 1:], moved[..., :-1], out=best[..., 1:])
        torch.minimum(best[..., :-1], ahead[..., 1:], out=best[..., :-1])
    return torch.amin(best, -2)


def _between(length: int, coarse: Tensor) -> Tensor:
    """(length, n) weights of Keys' cubic that spread every fourth value over all; straight at the ends."""
    count = coarse.shape[-2]
    if count == 1:
        return coarse.new_ones(length, 1)
    place = torch.arange(length, device=coarse.device, dtype=coarse.dtype) / STRIDE
    base = place.floor().clamp_max(count - 2)
    t = place - base
    taps = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    straight = (torch.zeros_like(t), 1 - t, t, torch.zeros_like(t))
    ending = (base < 1) | (base > count - 3)
    weights = coarse.new_zeros(length, count)
    rows = torch.arange(length, device=coarse.device)
    for offset, (cubic, line) in enumerate(zip(taps, straight), -1):
        column = (base.long() + offset).clamp(0, count - 1)
        weights[rows, column] += torch.where(ending, line, cubic)
    return weights
