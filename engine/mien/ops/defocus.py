"""Defocus: light spread over the image of a lens's iris, a disc or the polygon of its blades.

Of a disc of radius r the variance along either axis is r² / 4, which is how it stands for a Gaussian blur: both soften
fine detail alike, but a disc has an edge, and its highlights keep the iris's shape.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops.bands import bands
from mien.types import Image

SAMPLES = 16
"""Samples along each side of a pixel that tell how much of it an iris covers."""
PIXEL = 1 / 12
"""Variance in square pixels that a pixel has of itself."""
SEEN = 0.95
"""Radius of a disc over that of one with the variance that its softness is measured as: discs take more fine detail."""
Row = tuple[int, int, int, tuple[tuple[int, float], ...]]
"""A line of an iris: its place down, start and length of what it covers wholly, and places and shares of the rest."""


def radius_like(variance: float) -> float:
    """Radius in pixels of the disc that is measured as a Gaussian blur of a variance in square pixels."""
    return SEEN * 2 * math.sqrt(max(variance - PIXEL, 0.0))


def defocus(image: Image, radius: float, blades: int = 0) -> Image:
    """Blur (..., C, H, W) as a lens out of focus does; edges repeat, inf and NaN stay and do not spread.

    Args:
        image: Scene-linear picture.
        radius: Of the disc, in pixels; 0 gives the picture itself.
        blades: Corners of the iris, from 3 on; it spreads light as far as the disc does. Below 3 it is round.
    """
    if radius <= 0:
        return image
    rows = iris(radius, blades if blades >= 3 else 0)
    # A sum is not finite as soon as one of its parts is not.
    if bool(torch.isfinite(image.sum())):
        return _spread(image, rows)
    sound = torch.isfinite(image)
    share = _spread(sound.to(image.dtype), rows)
    return torch.where(sound, _spread(torch.where(sound, image, 0.0), rows) / share.clamp_min(1e-6), image)


@lru_cache(maxsize=64)
def iris(radius: float, blades: int) -> tuple[Row, ...]:
    """An iris of a radius in pixels, as the share of each pixel that it covers, line by line."""
    corner = radius
    if blades:
        # As wide as the disc: of the same variance.
        corner *= math.sqrt(3 / (2 + math.cos(2 * math.pi / blades)))
    reach = max(0, math.ceil(corner - 0.5))
    side = (2 * reach + 1) * SAMPLES
    place = (torch.arange(side, dtype=torch.float64) + 0.5) / SAMPLES - reach - 0.5
    down, across = place[:, None], place
    inside = torch.hypot(down, across) <= corner
    for blade in range(blades):
        angle = 2 * math.pi * (blade + 0.5) / blades + math.pi / 2
        inside &= across * math.cos(angle) + down * math.sin(angle) <= corner * math.cos(math.pi / blades)
    covered = F.avg_pool2d(inside.double()[None], SAMPLES)[0]
    rows = []
    for row, line in enumerate(covered):
        whole, part = ((line >= 1).nonzero(), ((line > 0) & (line < 1)).nonzero())
        start = int(whole[0]) - reach if len(whole) else 0
        rest = tuple((int(at) - reach, float(line[at])) for at in part)
        if len(whole) or rest:
            rows.append((row - reach, start, len(whole), rest))
    return tuple(rows)


def _spread(image: Tensor, rows: tuple[Row, ...]) -> Tensor:
    """Weigh (..., H, W) by an iris, in pieces that stay in a processor's cache."""
    height, width = image.shape[-2:]
    reach = max(abs(row[0]) for row in rows)
    reach = max(reach, *(abs(at) for row in rows for at in (row[1], row[1] + row[2], *(x for x, _ in row[3]))))
    planes = image.reshape(-1, height, width)
    result = torch.empty_like(planes)
    parts = [slice(n, n + 1) for n in range(len(planes))] if image.device.type == "cpu" else [slice(None)]
    for part in parts:
        padded = F.pad(planes[part], (reach,) * 4, mode="replicate")
        for band in bands(planes):
            result[part, band] = _weigh(padded[:, band.start : band.stop + 2 * reach], rows, reach)
    return result.view(image.shape)


def _weigh(padded: Tensor, rows: tuple[Row, ...], reach: int) -> Tensor:
    """Weighted sums around the pixels of (P, h, w), which comes back smaller by ``reach`` all around."""
    height, width = padded.shape[-2] - 2 * reach, padded.shape[-1] - 2 * reach
    # Sums of 1, 2, 4, 8 neighbors: a line of any length is made of few of them.
    sums = [padded]
    for power in range(max(row[2] for row in rows).bit_length() - 1):
        length = sums[-1].shape[-1] - (1 << power)
        sums.append(sums[-1].narrow(-1, 0, length) + sums[-1].narrow(-1, 1 << power, length))
    total = padded.new_zeros(len(padded), height, width)
    weight = 0.0
    for down, start, count, rest in rows:
        top, left = reach + down, reach + start
        for power in range(count.bit_length()):
            if count >> power & 1:
                total += sums[power][:, top : top + height, left : left + width]
                left += 1 << power
        for at, share in rest:
            total.add_(padded[:, top : top + height, reach + at : reach + at + width], alpha=share)
        weight += count + sum(share for _, share in rest)
    return total.mul_(1 / weight)
