"""Laying a crop that a network drew back where it belongs on the plate."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import hardshrink, max_pool2d, pad

from mien.ops import enlarge
from mien.ops.choose import choose
from mien.ops.region import occupied
from mien.ops.warp import transform, warp
from mien.types import Image, Layer, Matrix, Matte, Plate, Points

RIM = 2
REACH = 3.0
"""Pixels of a crop beyond what it shows in which a resampled edge of it may be seen."""
BAND = 256
"""Rows of a region that a crop is laid on at once."""
WIDE = 640
"""Columns, at most."""
SQUARE = 8
"""Pixels of a crop along the sides of the squares by whose corners its outline is told."""
LEAST = 1 / 512
"""Matte below which nothing is drawn: networks never quite say none."""
Corner = tuple[int, int]


def laid_back(drawn: Image, matte: Matte, matrix: Matrix, plate: Plate, face_width: float) -> Layer:
    """A layer with a (3, H, W) crop and its (1, H, W) matte where they belong; around them it shows the plate.

    ``matrix`` (3, 3) carries positions in the plate's region to positions in the crop.
    """
    image = plate.image
    result, mask = image.clone(), torch.zeros_like(image[:1])
    height, width = image.shape[-2:]
    shown = torch.where(matte > LEAST, matte, 0.0)
    rows, columns = occupied(shown, 2)
    if rows.start < rows.stop:
        # A rim of nothing: the edge of the square is as soft as one of its pixels.
        part = torch.cat([pad(drawn, (RIM,) * 4, mode="replicate"), pad(shown, (RIM,) * 4)])
        part = part[:, rows.start : rows.stop + 2 * RIM, columns.start : columns.stop + 2 * RIM]
        there = _moved(RIM - columns.start, RIM - rows.start) @ matrix.double().cpu()
        onto = torch.linalg.inv(there)
        table = enlarge.prepared(part) if enlarge.enlarges(there) else None
        for (left, top), (high, wide) in _pieces(part[3] > 0, onto, (height, width), image.is_cuda):
            here = (..., slice(top, top + high), slice(left, left + wide))
            if table is None:
                laid = warp(part, _moved(-left, -top) @ onto, (high, wide))
            else:
                laid = enlarge.piece(table, there, (left, top), (high, wide))
            soft = hardshrink(laid[3:].clamp_(0, 1), LEAST)
            for span, whole in _spans(soft[0].amin(0) > 0):
                over, under = laid[:3, :, span], result[here][..., span]
                under.copy_(over if whole else choose(soft[..., span] > 0, over, under))
            mask[here] = soft
    return Layer(result, mask, plate.corner, face_width, {"identity": mask})


def _pieces(shown: Tensor, onto: Matrix, size: tuple[int, int], whole: bool) -> Iterator[tuple[Corner, Corner]]:
    """Corner (x, y) and size (height, width) of parts of a region of ``size`` that together hold what is shown.

    ``shown`` (H, W) is carried into the region by ``onto``. Parts are small, or the only one where ``whole``.
    """
    outline = transform(_rim(shown), onto)
    reach = REACH * float(onto[:2, :2].abs().sum(1).amax())
    step = size[0] if whole else BAND
    for top in range(0, size[0], step):
        bottom = min(size[0], top + step)
        near = outline[(outline[:, 1] > top - reach) & (outline[:, 1] < bottom + reach)]
        if not len(near):
            continue
        left = max(0, math.floor(float(near[:, 0].amin()) - reach))
        right = min(size[1], math.ceil(float(near[:, 0].amax()) + reach))
        low = max(top, math.floor(float(near[:, 1].amin()) - reach))
        high = min(bottom, math.ceil(float(near[:, 1].amax()) + reach))
        if right <= left or high <= low:
            continue
        across = right - left if whole else math.ceil((right - left) / math.ceil((right - left) / WIDE))
        for start in range(left, right, across):
            yield (start, low), (high - low, min(across, right - start))


def _spans(full: Tensor) -> Iterator[tuple[slice, bool]]:
    """Columns up to, from first to last of, and past those that are (W,) full, and whether all of them are."""
    width, found = len(full), full.nonzero()
    start, stop = (int(found[0]), int(found[-1]) + 1) if len(found) else (width, width)
    middle = slice(start, stop)
    for columns, whole in ((slice(0, start), False), (middle, len(found) == stop - start), (slice(stop, width), False)):
        if columns.start < columns.stop:
            yield columns, whole


def _rim(shown: Tensor) -> Points:
    """(P, 2) corners of the first and last square that shows anything, in every row and column of squares."""
    squares = max_pool2d(shown[None].float(), SQUARE, ceil_mode=True)[0] > 0
    found = []
    for there in (squares, squares.mT):
        lines = there.any(1).nonzero()[:, 0]
        marked = there[lines].to(torch.uint8)
        ends = marked.argmax(1), marked.shape[1] - marked.flip(1).argmax(1)
        found += [torch.stack([end, line], 1) for end in ends for line in (lines, lines + 1)]
    across, down = found[:4], found[4:]
    return torch.cat([*across, *(points.flip(1) for points in down)]).double().cpu() * SQUARE


def _moved(x: float, y: float) -> Tensor:
    return torch.tensor([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], dtype=torch.float64)
