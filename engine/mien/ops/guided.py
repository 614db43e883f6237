"""A matte pulled to the edges of a picture: the guided filter, at a cost that does not depend on its radius.

In every window the matte is taken for a linear function of the picture's color; a pixel's value is the mean
of what all windows around it say (He, Sun, Tang: Guided Image Filtering, 2010; with fewer windows: Fast
Guided Filter, 2015).
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mien.types import Image, Matte

MIDDLE = 0.18
"""Scene-linear level that a guide shows at one half."""


def guided(guide: Tensor, matte: Matte, radius: int, epsilon: float) -> Matte:
    """The guided filter of (..., 1, H, W) mattes with windows of ``2 radius + 1`` pixels, cut at the border.

    ``guide`` is (..., 1 or 3, H, W). ``epsilon`` is the variance, in its units squared, below which the guide
    counts as flat. Sums run in double precision; the cost is that of a few passes whatever the radius.
    """
    if radius < 1:
        return matte
    slope, offset = coefficients(guide, matte, radius, epsilon)
    means = box_mean(torch.cat([slope, offset], -3), radius)
    return _line(means, guide, matte)


def guided_fast(guide: Tensor, matte: Matte, radius: int, epsilon: float, stride: int) -> Matte:
    """The guided filter with windows found on pictures ``stride`` times smaller, then applied to every pixel."""
    if stride <= 1 or min(guide.shape[-2:]) < 2 * stride:
        return guided(guide, matte, radius, epsilon)
    height, width = guide.shape[-2:]
    padding = (0, -width % stride, 0, -height % stride)
    small, cover = (_shrunk(picture, padding, stride) for picture in (guide, matte))
    slope, offset = coefficients(small, cover, max(1, round(radius / stride)), epsilon)
    means = box_mean(torch.cat([slope, offset], -3), max(1, round(radius / stride))).to(guide.dtype)
    flat = means.reshape(-1, *means.shape[-3:])
    whole = (height + padding[3], width + padding[1])
    grown = interpolate(flat, size=whole, mode="bilinear", align_corners=False)[..., :height, :width]
    return _line(grown.view(*means.shape[:-2], height, width), guide, matte)


def coefficients(guide: Tensor, matte: Matte, radius: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Slopes (..., 1 or 3, H, W) and offsets (..., 1, H, W) of the line that fits the matte in every window."""
    if guide.shape[-3] not in (1, 3) or matte.shape[-3] != 1 or guide.shape[-2:] != matte.shape[-2:]:
        raise ValueError(f"a guide {tuple(guide.shape)} and a matte {tuple(matte.shape)} do not fit")
    guide, matte = guide.double(), matte.double()
    mean, level = box_mean(guide, radius), box_mean(matte, radius)
    shared = box_mean(guide * matte, radius) - mean * level
    if guide.shape[-3] == 1:
        slope = shared / (box_mean(guide * guide, radius) - mean * mean + epsilon)
    else:
        slope = solve3(covariance(guide, mean, radius, epsilon), shared)
    return slope, level - (slope * mean).sum(-3, keepdim=True)


def covariance(guide: Tensor, mean: Tensor, radius: int, epsilon: float) -> Tensor:
    """(..., 6, H, W) covariances rr, rg, rb, gg, gb, bb of windows, with ``epsilon`` added to the variances."""
    r, g, b = guide.split(1, -3)
    first, second = torch.cat([r, r, r, g, g, b], -3), torch.cat([r, g, b, g, b, b], -3)
    mr, mg, mb = mean.split(1, -3)
    means = torch.cat([mr * mr, mr * mg, mr * mb, mg * mg, mg * mb, mb * mb], -3)
    variance = guide.new_tensor([epsilon, 0, 0, epsilon, 0, epsilon])[:, None, None]
    return box_mean(first * second, radius) - means + variance


def solve3(symmetric: Tensor, right: Tensor) -> Tensor:
    """(..., 3, H, W) solutions of symmetric systems of three given as by ``covariance``, by cofactors."""
    rr, rg, rb, gg, gb, bb = symmetric.unbind(-3)
    x, y, z = right.unbind(-3)
    a, b, c = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    d, e, f = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * a + rg * b + rb * c
    solved = torch.stack([a * x + b * y + c * z, b * x + d * y + e * z, c * x + e * y + f * z], -3)
    return solved / determinant.unsqueeze(-3)


def box_mean(values: Tensor, radius: int) -> Tensor:
    """Mean over windows of ``2 radius + 1`` pixels in both directions, cut at the border."""
    height, width = values.shape[-2:]
    # Single precision would lose what cancels between sums of a whole row.
    sums = _windows(_windows(values.double(), radius, -1), radius, -2)
    share = 1 / _windows(values.new_ones(height, dtype=torch.float64), radius, -1)
    other = 1 / _windows(values.new_ones(width, dtype=torch.float64), radius, -1)
    return (sums * (share[:, None] * other)).to(values.dtype)


def _windows(values: Tensor, radius: int, axis: int) -> Tensor:
    """Sums over ``2 radius + 1`` places along an axis, cut at its ends: differences of running sums."""
    length = values.shape[axis]
    reach = min(radius, length - 1)
    sums = values.cumsum(axis)
    shape = list(values.shape)
    shape[axis] = reach
    ahead = [sums.narrow(axis, reach, length - reach), sums.narrow(axis, length - 1, 1).expand(shape)]
    windows = torch.cat(ahead, axis)
    beyond = length - reach - 1
    windows.narrow(axis, reach + 1, beyond).sub_(sums.narrow(axis, 0, beyond))
    return windows


def surrounded(there: Tensor, radius: int) -> Tensor:
    """Where a (..., 1, H, W) condition holds in the whole window of ``2 radius + 1`` pixels, or a little more."""
    stride = max(1, radius // 4)
    height, width = there.shape[-2:]
    cells = _shrunk(there.float(), (0, -width % stride, 0, -height % stride), stride) == 1
    whole = box_mean(cells.float(), -(-radius // stride)) > 1 - 1e-6
    grown = whole.repeat_interleave(stride, -2).repeat_interleave(stride, -1)
    return grown[..., :height, :width]


def picture_guide(image: Image) -> Image:
    """A scene-linear picture as a guide: highlights folded below 1, shadows lifted, NaN and negatives black."""
    light = image.nan_to_num(0.0, 1e6, 0.0).clamp(0, 1e6)
    return light / (light + MIDDLE)


def _shrunk(picture: Tensor, padding: tuple[int, int, int, int], stride: int) -> Tensor:
    flat = picture.reshape(-1, *picture.shape[-3:])
    padded = torch.nn.functional.pad(flat, padding, mode="replicate")
    small = avg_pool2d(padded, stride)
    return small.view(*picture.shape[:-2], *small.shape[-2:])


def _line(means: Tensor, guide: Tensor, matte: Matte) -> Matte:
    slope, offset = means[..., :-1, :, :], means[..., -1:, :, :]
    return ((slope * guide).sum(-3, keepdim=True) + offset).to(matte.dtype)
