"""Weighing neighbors along both axes as products with banded matrices: on a processor, in a third of the time that
shifted sums take."""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 16
"""Fewest pixels along a side that are weighed in one product."""


def weigh(planes: Tensor, down: Sequence[float], across: Sequence[float]) -> Tensor:
    """Sums of the neighbors of (P, H, W) finite values, weighted by a line of taps along either axis.

    What comes back is smaller by all taps but one: (P, H - len(down) + 1, W - len(across) + 1). Sums of whole numbers
    below 2^24 are exact. No gradients flow through.
    """
    if planes.dim() != 3 or planes.shape[1] < len(down) or planes.shape[2] < len(across):
        raise ValueError(f"{len(down)} and {len(across)} taps do not fit into {tuple(planes.shape)}")
    height, width = planes.shape[1] - len(down) + 1, planes.shape[2] - len(across) + 1
    rows, columns = (max(BLOCK, len(line) // 16 * 16) for line in (down, across))
    below, beside = _matrix(down, rows, planes), _matrix(across, columns, planes).mT
    count = -(-width // columns)
    weighed = planes.new_empty(len(planes), height, width)
    # Blocks overlap; the last one reads past the picture, where nothing is.
    band = planes.new_zeros(rows, count * columns + len(across) - 1)
    blocks = band.unfold(1, columns + len(across) - 1, columns)
    for plane, result in zip(planes, weighed):
        for top in range(0, height, rows):
            here = min(rows, height - top)
            near = here + len(down) - 1
            torch.mm(below[:here, :near], plane[top : top + near], out=band[:here, : planes.shape[2]])
            # Laid out one after the other, they are a single product.
            found = blocks[:here].flatten(0, 1) @ beside
            result[top : top + here] = found.view(here, -1)[:, :width]
    return weighed


def _matrix(line: Sequence[float], count: int, like: Tensor) -> Tensor:
    """(count, count + taps - 1) matrix with a line of taps along its diagonal."""
    matrix = like.new_zeros(count, count + len(line))
    matrix[:, : len(line)] = like.new_tensor(line)
    # A row that is one longer than its step moves the taps on by one.
    return matrix.flatten()[: count * (count + len(line) - 1)].view(count, -1)
