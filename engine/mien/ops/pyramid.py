"""Looking a picture up through a smooth map, at the resolution that the map asks for.

Levels shrink by half an octave, so that a level is hardly sharper or softer than its use. Where a map
enlarges or keeps size, the picture itself is read with a cubic (a = -0.75, as OpenCV's), and a map that does
nothing gives the picture back.

Beside a catchlight a cubic rings: in scene-linear light a dark iris would fall below zero. What is read is never darker
than half of the darkest pixel that the cubic looks at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.types import Image

SMALLEST = 32
"""Pixels along the short side of the coarsest level."""
BIAS = 0.5
"""Levels by which a look-up errs on the sharp side; without it, a level may cost detail."""


@dataclass(frozen=True)
class Level:
    """A picture at one size.

    Attributes:
        image: (3, H, W) scene-linear.
    """

    image: Image

    @cached_property
    def floor(self) -> Image:
        """(3, H, W) how dark a place nearest to each pixel may be drawn: half as bright as what lies around."""
        least = self.least()
        return least.sub_(least.abs(), alpha=0.5)

    def least(self) -> Image:
        """(3, H, W) the least of what a cubic looks at from places nearest to each pixel."""
        # Two pixels to either side of the nearest one hold all that a cubic looks at.
        around = F.pad(self.image[None], (2, 2, 2, 2), mode="replicate")[0]
        for axis in (-1, -2):
            for step in (1, 2, 1):
                count = around.shape[axis] - step
                around = torch.minimum(around.narrow(axis, 0, count), around.narrow(axis, step, count))
        return around


def shrink(level: Level) -> Level | None:
    """The next level: a picture at 0.71 of its size, or None where it would be too small."""
    size = tuple(round(n / 2**0.5) for n in level.image.shape[-2:])
    if min(size) < SMALLEST:
        return None
    small = F.interpolate(level.image[None], size, mode="bicubic", antialias=True, align_corners=False)
    return Level(torch.maximum(small, F.interpolate(level.least()[None], size, mode="nearest-exact"))[0])


def level_of(stretch: Tensor) -> Tensor:
    """The (fractional) level at which ``stretch`` pixels of the picture make one of the result."""
    return (2 * stretch.clamp(min=1e-6).log2() - BIAS).clamp(min=0)


def look_up(levels: Sequence[Level], coordinates: Tensor, level: Tensor) -> Image:
    """Read a picture at (H, W, 2) positions in pixels of its first level; beyond its edge, its edge.

    Args:
        levels: The picture, each next one ``shrink``'s.
        coordinates: (x, y).
        level: (H, W), or (1, 1) for all, fractional level; between two, both are read and mixed.
    """
    width, height = levels[0].image.shape[-1], levels[0].image.shape[-2]
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
        read = _read(levels[n].image, places, "bicubic")
        torch.maximum(read, _read(levels[n].floor, places, "nearest"), out=read)
        if first == last:
            return read
        result = result.to(read) + read * (1 - (level - n).abs()).clamp(min=0)
    return result


def _read(image: Image, places: Tensor, mode: str) -> Image:
    return F.grid_sample(image[None], places, mode, "border", align_corners=False)[0]
