"""Pictures in bands of rows: what several operations in a row read and write then stays in a processor's cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

PIXELS = 1 << 15
"""Pixels of one channel that a processor's core works on at once."""


def bands(picture: Tensor, share: float = 1) -> Iterator[slice]:
    """Rows of a (..., H, W) picture, so many at a time as the caches of all cores hold; all of them on a GPU.

    ``share`` divides that: 2 takes half as many rows, for work on many channels at once.
    """
    height, width = picture.shape[-2:]
    step = height
    if picture.device.type == "cpu":
        step = max(16, int(PIXELS * torch.get_num_threads() / (share * max(width, 1))))
    for top in range(0, height, max(step, 1)):
        yield slice(top, min(height, top + step))
