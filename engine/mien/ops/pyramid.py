"""Looking a picture up through a smooth map, at the resolution that the map asks for.

Levels shrink by half an octave, so that a level is hardly sharper or softer than its use. Where a map
enlarges or keeps size, the picture itself is read with a cubic (a = -0.75, as OpenCV's), and a map that does
nothing gives the picture back.

Beside a catchlight a cubic rings: in scene-linear light a dark iris would fall below zero. Nothing is darker than half
of what straight lines between pixels give there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.types import Image

SMALLEST = 32
"""Pixels along the short side of the coarsest level."""
BIAS = 0.5
"""Levels by which a look-up errs on the sharp side; without it, a level may cost detail."""


def shrink(image: Image) -> Image | None:
    """The next level: a (3, H, W) picture at 0.71 of its size, or None where it would be too small."""
    size = tuple(round(n / 2**0.5) for n in image.shape[-2:])
    if min(size) < SMALLEST:
        return None
    small, straight = (
        F.interpolate(image[None], size, mode=mode, antialias=True, align_corners=False)[0]
        for mode in ("bicubic", "bilinear")
    )
    return _calmed(small, straight)


def level_of(stretch: Tensor) -> Tensor:
    """The (fractional) level at which ``stretch`` pixels of the picture make one of the result."""
    return (2 * stretch.clamp(min=1e-6).log2() - BIAS).clamp(min=0)


def look_up(levels: Sequence[Image], coordinates: Tensor, level: Tensor) -> Image:
    """Read a picture at (H, W, 2) positions in pixels of its first level; beyond its edge, its edge.

    Args:
        levels: The picture, each next one ``shrink``'s.
        coordinates: (x, y).
        level: (H, W), or (1, 1) for all, fractional level; between two, both are read and mixed.
    """
    width, height = levels[0].shape[-1], levels[0].shape[-2]
    lines, columns = coordinates.shape[:2]
    # As long rows of numbers: operations on pairs cost many times as much.
    scale = coordinates.new_tensor([2 / width, 2 / height]).repeat(columns)
    less = coordinates.new_full((), -1.0)
    places = torch.addcmul(less, coordinates.reshape(lines, -1), scale).view(1, lines, columns, 2)
    first, last = (int(v) for v in (level.amin().floor(), level.amax().ceil()))
    first, last = (min(v, len(levels) - 1) for v in (first, last))
    level = level.clamp(first, last)
    result = torch.zeros(())
    for n in range(first, last + 1):
        read, straight = (
            F.grid_sample(levels[n][None], places, mode, "border", align_corners=False)[0]
            for mode in ("bicubic", "bilinear")
        )
        read = _calmed(read, straight)
        if first == last:
            return read
        result = result.to(read) + read * (1 - (level - n).abs()).clamp(min=0)
    return result


def _calmed(cubic: Image, straight: Image) -> Image:
    """What a cubic gives, and where it rings into the dark, half of what straight lines do."""
    return torch.maximum(cubic, straight.sub_(straight.abs(), alpha=0.5), out=cubic)
