"""How much memory a training takes, told before it is begun: shapes are run through without computing anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from mien.models.swap import SwapNetwork, SwapShape

SIZES = (512, 448, 384, 320, 256, 224, 192, 160, 128, 96, 64)
BATCHES = (32, 24, 16, 12, 8, 6, 4, 3, 2)
COMFORTABLE = 4
"""Pictures of each person in a step below which a smaller face is the better choice."""
SLACK = 1.25
"""What allocators and work spaces take beyond tensors."""


@contextmanager
def counting(found: dict[int, int]) -> Iterator[None]:
    """Note the bytes of everything that is kept for the way back."""

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        found[storage._cdata] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        yield


@lru_cache(maxsize=64)
def measured(shape: SwapShape, frugal: bool) -> tuple[int, int, int]:
    """Weights of a network; bytes kept for the way back and bytes drawn, for one picture of each person."""
    with torch.device("meta"):
        network = SwapNetwork(shape)
        network.frugal = frugal
        found: dict[int, int] = {}
        with counting(found):
            first, second = network.encode(torch.zeros(2, 3, shape.size, shape.size)).split(1)
            drawn = [*network.draw(first, "a"), *network.draw(second, "b")]
        own = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept = sum(size for key, size in found.items() if key not in own)
    return sum(weight.numel() for weight in network.parameters()), kept, sum(4 * one.numel() for one in drawn)


def swap_bytes(shape: SwapShape, batch: int, *, frugal: bool, half: bool) -> int:
    """Bytes that training a swap network takes with ``batch`` pictures of each person in a step."""
    weights, kept, drawn = measured(shape, frugal)
    # Weights, gradients, two moments and the average; the losses look at the pictures about ten times over.
    fixed = weights * (5 * 4 + (2 if half else 0))
    return int(SLACK * (fixed + batch * (kept * (0.55 if half else 1.0) + 10 * drawn)))


def largest_batch(shape: SwapShape, memory: float, *, frugal: bool, half: bool) -> int | None:
    """The largest batch that fits ``memory`` gigabytes; None if none does."""
    for batch in BATCHES:
        if swap_bytes(shape, batch, frugal=frugal, half=half) <= memory * 1e9:
            return batch
    return None
