"""Enlarging a picture through an affine map, piece by piece, in half the time of a cubic at every pixel.

Keys' cubic (a = -0.5; Keys 1981) is worked out at ``FINER`` places from pixel to pixel, and a straight line drawn from
each to the next. The places are moved off the cubic by what lines fall short of it on average, so that the result of a
sharp picture is the cubic's to 60 dB, and of what networks draw to more. Pieces stay in a processor's cache.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops.bands import PIXELS
from mien.types import Image, Matrix

FINER = 3
"""Places from one pixel to the next."""
RIM = 4
"""Edge pixels that are repeated around a picture: beyond them a cubic sees nothing else."""
REACH = 2
"""Pixels to either side of a place that tell what it holds."""
LARGEST = 0.8
"""Pixels of the picture from one pixel of the result to the next, at most, for all of this to pay."""
SHORT = 1 / 12
"""Share of a curve's second differences by which lines between its points fall short of it, on average."""


def enlarges(back: Matrix) -> bool:
    """Whether an affine map, given as in ``piece``, enlarges so much that this is the quicker way."""
    return back[2].tolist() == [0.0, 0.0, 1.0] and float(torch.linalg.matrix_norm(back[:2, :2], 2)) < LARGEST


def prepared(image: Image) -> Tensor:
    """A (C, H, W) picture ready for ``piece``: its edges repeated, and finer along x."""
    around = F.pad(image[None], (RIM,) * 4, mode="replicate")[0]
    channels, height, width = around.shape
    count = width - 2 * REACH
    places = around.new_empty(FINER, channels, height, count)
    beside = [around[..., column : column + count] for column in range(2 * REACH + 1)]
    for place, taps in zip(places, TAPS):
        _weigh(beside, taps, place)
    return places.permute(1, 2, 3, 0).reshape(channels, height, count * FINER)


def piece(table: Tensor, back: Matrix, corner: tuple[int, int], size: tuple[int, int]) -> Image:
    """The (C, height, width) pixels from ``corner`` (x, y) on of an enlarged picture, from what is ``prepared`` of it.

    ``back`` (3, 3), affine, carries positions of the result to positions of the picture; edges repeat outside.
    """
    (a, b, x), (c, d, y), _ = back.tolist()
    height, width = size
    columns = torch.arange(width, dtype=torch.float64) + (corner[0] + 0.5)
    lines = torch.arange(height, dtype=torch.float64) + (corner[1] + 0.5)
    # Counted in pixels from the first place: pixel centers are half a pixel in.
    first = RIM - REACH - 0.5
    along_x, along_y = (a * columns + (x + first), b * lines), (c * columns + (y + first), d * lines)
    left, right = _ends(*along_x)
    top, bottom = _ends(*along_y)
    across = _span(FINER * left, FINER * right, 0, table.shape[2])
    down = _span(top, bottom, 2 * REACH, table.shape[1])
    part = _finer(table[:, down, across])
    starts, lengths = (across.start, FINER * down.start), (part.shape[2], part.shape[1])
    flats, talls = [], []
    for (flat, tall), start, length in zip((along_x, along_y), starts, lengths):
        # As grid_sample counts: -1 to 1 from edge to edge.
        flats.append((2 * FINER / length) * flat + ((1 - 2 * start) / length - 1))
        talls.append((2 * FINER / length) * tall)
    # Pairs are added in one go as complex numbers.
    flat, tall = (torch.view_as_complex(torch.stack(pair, -1).to(part)) for pair in (flats, talls))
    grid = torch.view_as_real(flat + tall[:, None])
    return F.grid_sample(part[None], grid[None], "bilinear", "border", align_corners=False)[0]


def _ends(flat: Tensor, tall: Tensor) -> tuple[float, float]:
    """Least and greatest sum of a value of each."""
    (low, high), (least, most) = (one[[0, -1]].aminmax() for one in (flat, tall))
    return float(low + least), float(high + most)


def _span(low: float, high: float, more: int, length: int) -> slice:
    """Lines from ``low`` to ``high`` and one more to either side, with ``more`` after them, that there are."""
    first = min(max(0, math.floor(min(max(low, 0.0), length)) - 1), length - more - 2)
    last = math.ceil(min(max(high, 0.0), length)) + 2 + more
    return slice(first, min(max(last, first + more + 2), length))


def _finer(image: Tensor) -> Tensor:
    """(C, n, w) lines as ``FINER`` times as many, without the outermost ``REACH`` at either end."""
    channels, count, width = image.shape
    count -= 2 * REACH
    step = max(1, 2 * PIXELS // (channels * width)) if image.device.type == "cpu" else count
    lines = image.new_empty(channels, count, FINER, width)
    for top in range(0, count, step):
        found = lines[:, top : top + step]
        beside = [image[:, top + line : top + line + found.shape[1]] for line in range(2 * REACH + 1)]
        for place, taps in enumerate(TAPS):
            _weigh(beside, taps, found[:, :, place])
    return lines.view(channels, count * FINER, width)


def _weigh(beside: Sequence[Tensor], taps: Sequence[tuple[int, float]], out: Tensor) -> None:
    (first, weight), *others = taps
    torch.mul(beside[first], weight, out=out)
    for line, weight in others:
        out.add_(beside[line], alpha=weight)


def _taps() -> tuple[tuple[tuple[int, float], ...], ...]:
    """For each place from a pixel to the next, which lines count how much; line ``REACH`` is the pixel's own."""

    def keys(place: int) -> dict[int, float]:
        pixel, part = divmod(place, FINER)
        t = part / FINER
        weights = [((-0.5 * t + 1) * t - 0.5) * t, (1.5 * t - 2.5) * t * t + 1, ((-1.5 * t + 2) * t + 0.5) * t]
        weights.append(1 - sum(weights))
        return {REACH + pixel - 1 + n: weight for n, weight in enumerate(weights)}

    found = []
    for place in range(FINER):
        total: dict[int, float] = {}
        for beside, share in ((place, 1 + 2 * SHORT), (place - 1, -SHORT), (place + 1, -SHORT)):
            for line, weight in keys(beside).items():
                total[line] = total.get(line, 0.0) + share * weight
        found.append(tuple((line, weight) for line, weight in sorted(total.items()) if weight))
    return tuple(found)


TAPS = _taps()
