"""Regions of the plate: a corner (x, y) in whole plate pixels, and a picture's shape."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mien.types import Face, Plate

Slices = tuple[slice, slice]
Placed = tuple[tuple[int, int], Sequence[int]]
Box = tuple[int, int, int, int]


def shared(first: Placed, second: Placed) -> tuple[Slices, Slices]:
    """Rows and columns of each of two placed pictures that both cover; empty slices where they do not meet."""
    (x, y), (height, width) = first[0], first[1][-2:]
    (other_x, other_y), (other_height, other_width) = second[0], second[1][-2:]
    rows = _overlap(y, height, other_y, other_height)
    columns = _overlap(x, width, other_x, other_width)
    return (rows[0], columns[0]), (rows[1], columns[1])


def around(face: Face, margin: float) -> Box:
    """Pixels x0, y0, x1, y1 within a margin, in face widths, of a face's points."""
    points = face.points[:, :2]
    points = points[torch.isfinite(points).all(-1)]
    low = (points.amin(0) - margin * face.width).floor().int().tolist()
    high = (points.amax(0) + margin * face.width).ceil().int().tolist()
    return low[0], low[1], high[0], high[1]


def cropped(plate: Plate, box: Box) -> Plate:
    """The part of a plate inside a box; the plate itself where it holds no more."""
    height, width = plate.image.shape[-2:]
    x, y = max(box[0], plate.corner[0]), max(box[1], plate.corner[1])
    right, bottom = min(box[2], plate.corner[0] + width), min(box[3], plate.corner[1] + height)
    rows = slice(y - plate.corner[1], max(y, bottom) - plate.corner[1])
    columns = slice(x - plate.corner[0], max(x, right) - plate.corner[0])
    image = plate.image[..., rows, columns]
    return plate if image.shape == plate.image.shape else replace(plate, image=image, corner=(x, y))


def occupied(matte: Tensor, margin: int = 0) -> Slices:
    """Rows and columns outside of which a (..., H, W) matte is 0, and as far as ``margin`` beyond; empty for none."""
    if not matte.numel():
        return slice(0, 0), slice(0, 0)
    planes = matte.reshape(-1, *matte.shape[-2:])
    rows = _extent(_highest(planes, (0, 2)), 0)
    if rows.start == rows.stop:
        return slice(0, 0), slice(0, 0)
    columns = _extent(_highest(planes[:, rows], (0, 1)), margin)
    return slice(max(0, rows.start - margin), min(matte.shape[-2], rows.stop + margin)), columns


def occupied_columns(matte: Tensor, margin: int = 0) -> slice:
    """Columns outside of which a (..., H, W) matte is 0, and as far as ``margin`` beyond; empty for none."""
    if not matte.numel():
        return slice(0, 0)
    return _extent(_highest(matte.reshape(-1, matte.shape[-1]), (0,)), margin)


def surrounded(part: Tensor, whole: Tensor, rows: slice, columns: slice) -> Tensor:
    """A picture with another part in some rows and columns; all else is read and written once."""
    if part.shape == whole.shape:
        return part
    result, there = opened(whole, rows, columns)
    there.copy_(part)
    return result


def opened(whole: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
    """A copy of a picture but for some rows and columns, and the part of it that is still to be written there."""
    result = torch.empty_like(whole)
    result[..., : rows.start, :], result[..., rows.stop :, :] = whole[..., : rows.start, :], whole[..., rows.stop :, :]
    result[..., rows, : columns.start] = whole[..., rows, : columns.start]
    result[..., rows, columns.stop :] = whole[..., rows, columns.stop :]
    return result, result[..., rows, columns]


def _highest(matte: Tensor, axes: tuple[int, ...]) -> Tensor:
    """What each line shows most of, NaN counting as nothing."""
    # Bytes are looked through faster than truth values.
    found = matte.view(torch.uint8).amax(axes) if matte.dtype == torch.bool else matte.amax(axes)
    return matte.nan_to_num(0.0).amax(axes) if bool(found.isnan().any()) else found


def _extent(line: Tensor, margin: int) -> slice:
    found = (line > 0).nonzero()
    if not len(found):
        return slice(0, 0)
    return slice(max(0, int(found[0]) - margin), min(len(line), int(found[-1]) + 1 + margin))


def _overlap(start: int, length: int, other: int, other_length: int) -> tuple[slice, slice]:
    low = max(start, other)
    high = max(low, min(start + length, other + other_length))
    if high == low:
        return slice(0, 0), slice(0, 0)
    return slice(low - start, high - start), slice(low - other, high - other)
