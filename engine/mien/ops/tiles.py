"""Running a function over a large picture in overlapping tiles, without seams."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

BORDER = 0.2
"""Share of an overlap, at the border of a tile, that is thrown away."""


def tiled(
    function: Callable[[Tensor], Tensor], image: Tensor, tile: int, overlap: int, step: int = 1, batch: int = 1
) -> Tensor:
    """Apply a picture-to-picture function to (..., C, H, W) tile by tile.

    Tiles are ``tile`` pixels square and share ``overlap`` with their neighbors, over which one fades into the
    next; their corners and the picture's padded size are multiples of ``step``. A picture of one tile is given
    whole. Edges are repeated outside. ``batch`` tiles are given at once, along the first axis.
    """
    if batch < 1:
        raise ValueError(f"{batch} tiles cannot be given at once")
    if not 0 <= overlap < tile or tile % step:
        raise ValueError(f"tiles of {tile} cannot overlap by {overlap} or come in steps of {step}")
    height, width = image.shape[-2:]
    lead, flat = image.shape[:-3], image.reshape(-1, *image.shape[-3:])
    tall, wide = (-(-max(side, step) // step) * step for side in (height, width))
    padded = functional.pad(flat, (0, wide - width, 0, tall - height), mode="replicate")
    rows, columns = (list(corners(side, tile, overlap, step)) for side in (tall, wide))
    if len(rows) == 1 and len(columns) == 1:
        result = function(padded)
        return result[..., :height, :width].reshape(*lead, result.shape[-3], height, width)
    total = weights = None
    places = [(top, left) for top in rows for left in columns]
    for first in range(0, len(places), batch):
        some = places[first : first + batch]
        parts = [padded[..., top : top + tile, left : left + tile] for top, left in some]
        for (top, left), made in zip(some, function(torch.cat(parts)).chunk(len(some))):
            share = fade(made.shape[-2], overlap, top > 0, top + tile < tall, made)[:, None]
            share = share * fade(made.shape[-1], overlap, left > 0, left + tile < wide, made)
            if total is None or weights is None:
                total = made.new_zeros(*made.shape[:-2], tall, wide)
                weights = made.new_zeros(tall, wide)
            total[..., top : top + tile, left : left + tile] += made * share
            weights[top : top + tile, left : left + tile] += share
    assert total is not None and weights is not None
    result = (total / weights)[..., :height, :width]
    return result.reshape(*lead, result.shape[-3], height, width)


def corners(side: int, tile: int, overlap: int, step: int) -> Iterator[int]:
    """Where tiles begin along one side; the last reaches its end."""
    stride = max(step, (tile - overlap) // step * step)
    place = 0
    while place + tile < side:
        yield place
        place += stride
    yield max(0, side - tile)


def fade(length: int, overlap: int, before: bool, after: bool, like: Tensor) -> Tensor:
    """(length,) weights of a tile along one side: smooth ramps where it has neighbors.

    The outermost fifth of what is shared counts for nothing: there networks see the tile's border.
    """
    weight = torch.ones(length, device=like.device, dtype=like.dtype)
    if overlap:
        place = (torch.arange(overlap, device=like.device, dtype=like.dtype) + 0.5) / overlap
        ramp = ((place - BORDER) / (1 - 2 * BORDER)).clamp(0, 1)
        ramp = ramp * ramp * (3 - 2 * ramp)
        reach = min(overlap, length)
        if before:
            weight[:reach] *= ramp[:reach]
        if after:
            weight[length - reach :] *= ramp.flip(0)[overlap - reach :]
    return weight
