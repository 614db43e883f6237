"""Regions of the plate: a corner (x, y) in whole plate pixels, and a picture's shape."""

from collections.abc import Sequence

import torch
from torch import Tensor

Slices = tuple[slice, slice]
Placed = tuple[tuple[int, int], Sequence[int]]


def shared(first: Placed, second: Placed) -> tuple[Slices, Slices]:
    """Rows and columns of each of two placed pictures that both cover; empty slices where they do not meet."""
    (x, y), (height, width) = first[0], first[1][-2:]
    (other_x, other_y), (other_height, other_width) = second[0], second[1][-2:]
    rows = _overlap(y, height, other_y, other_height)
    columns = _overlap(x, width, other_x, other_width)
    return (rows[0], columns[0]), (rows[1], columns[1])


def occupied(matte: Tensor, margin: int = 0) -> Slices:
    """Rows and columns outside of which a (..., H, W) matte is 0, and as far as ``margin`` beyond; empty for none."""
    there = (matte > 0).reshape(-1, *matte.shape[-2:])
    if not there.numel():
        return slice(0, 0), slice(0, 0)
    # Bytes are looked through faster than truth values.
    found = there.view(torch.uint8).amax(0)
    return _extent(found.amax(1), margin), _extent(found.amax(0), margin)


def occupied_columns(matte: Tensor, margin: int = 0) -> slice:
    """Columns outside of which a (..., H, W) matte is 0, and as far as ``margin`` beyond; empty for none."""
    there = (matte > 0).reshape(-1, matte.shape[-1])
    return _extent(there.view(torch.uint8).amax(0), margin) if there.numel() else slice(0, 0)


def _extent(line: Tensor, margin: int) -> slice:
    found = line.nonzero()
    if not len(found):
        return slice(0, 0)
    return slice(max(0, int(found[0]) - margin), min(len(line), int(found[-1]) + 1 + margin))


def _overlap(start: int, length: int, other: int, other_length: int) -> tuple[slice, slice]:
    low = max(start, other)
    high = max(low, min(start + length, other + other_length))
    if high == low:
        return slice(0, 0), slice(0, 0)
    return slice(low - start, high - start), slice(low - other, high - other)
