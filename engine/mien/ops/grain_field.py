"""Drawing grain: fields of noise that look as a plate's grain does.

Noise is drawn once, by hashing places on a square that repeats; each frame begins at a place of its own, told by its
number. All sums are of whole numbers below 2^24, which float32 holds exactly in any order. So a pixel of the plate has
the same grain whatever region is rendered, alone or in a batch, on any device.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from mien.types import Grain

LAGS = 3
"""Pixels over which grain is taken to be alike."""
SIDE = 1024
"""Pixels after which grain repeats: a power of two, about as many as a large face has."""
Plan = tuple[list[list[int]], list[tuple[list[int], list[int]]]]
"""How channels are mixed, and for each of them taps along x and y."""


def field(size: tuple[int, int], corner: tuple[int, int], frame: int, grain: Grain, device: torch.device) -> Tensor:
    """(3, H, W) grain of variance 1 for plate pixels from ``corner`` (x, y) on."""
    height, width = size
    word = int(_scramble(torch.tensor([frame], dtype=torch.int64).to(torch.int32) ^ 0x5EED))
    x, y = corner[0] + (word & 0xFFFF) - LAGS, corner[1] + (word >> 16 & 0xFFFF) - LAGS
    noise = _repeating(_repeating(_noise(device), 1, y, height + 2 * LAGS), 2, x, width + 2 * LAGS)
    mixing, taps = _plan(grain)
    drawn = torch.empty(3, height, width, device=device)
    for row, (across, down), result in zip(mixing, taps, drawn):
        one = _round(_sum_of(noise, row), 64)
        one = _round(_sum_of([one[:, k : k + width] for k in range(len(across))], across), 256)
        one = _round(_sum_of([one[k : k + height] for k in range(len(down))], down), 256)
        strength = 147.8 * (sum(v * v for v in across) * sum(v * v for v in down)) ** 0.5 / 256**2
        torch.mul(one, 1 / strength, out=result)
    return drawn


def _repeating(square: Tensor, axis: int, start: int, length: int) -> Tensor:
    """Part of what repeats along an axis."""
    parts = []
    while length > 0:
        here = start % SIDE
        parts.append(square.narrow(axis, here, min(length, SIDE - here)))
        start, length = start + SIDE - here, length - (SIDE - here)
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


@lru_cache(maxsize=64)
def _plan(grain: Grain) -> Plan:
    return _mixing(grain.colors), [(kernel(x), kernel(y)) for x, y in zip(grain.across, grain.down)]


@lru_cache(maxsize=2)
def _noise(device: torch.device) -> Tensor:
    """(3, SIDE, SIDE) whole numbers, nearly Gaussian and each of its own."""
    place = torch.arange(SIDE, device=device, dtype=torch.int32)
    line, columns = _scramble(place * 0x01000193 + 0x5EED)[:, None], (place * 0x2545F491)[None]
    return torch.stack([_bytes(_scramble(_scramble(line + channel) ^ columns)) for channel in range(3)])


def _scramble(word: Tensor) -> Tensor:
    """Mix the bits of int32 words; products wrap. Ellis, lowbias32, 2018."""
    word = word ^ (word >> 16).bitwise_and_(0xFFFF)
    word.mul_(0x7FEB352D)
    word.bitwise_xor_((word >> 15).bitwise_and_(0x1FFFF))
    word.mul_(0x846CA68B - (1 << 32))
    return word.bitwise_xor_((word >> 16).bitwise_and_(0xFFFF))


def _bytes(word: Tensor) -> Tensor:
    """Sum of the four bytes of int32 words about its middle: nearly Gaussian, standard deviation 147.8."""
    pairs = (word & 0x00FF00FF).add_((word >> 8).bitwise_and_(0x00FF00FF))
    return (pairs & 0xFFFF).add_(pairs >> 16).sub_(510).float()


def _sum_of(parts: Tensor | Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Weighted sum of pictures."""
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:]):
        if weight:
            total.add_(part, alpha=weight)
    return total


def _round(values: Tensor, scale: int) -> Tensor:
    return values.mul_(1 / scale).round_()


def _mixing(colors: Sequence[Sequence[float]]) -> list[list[int]]:
    """Whole-number rows, 64 for 1, that make independent fields as alike as the channels are."""
    likeness = torch.tensor(colors, dtype=torch.float64)
    likeness = (likeness + likeness.mT) / 2
    likeness.fill_diagonal_(1.0)
    values, vectors = torch.linalg.eigh(likeness)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    root = root / root.square().sum(1, keepdim=True).sqrt()
    return [[int(v) for v in row] for row in (root * 64).round().tolist()]


def kernel(likeness: Sequence[float]) -> list[int]:
    """Whole-number taps that make white noise as alike over 1, 2, ... pixels as asked, 256 for 1."""
    angle = (torch.arange(64, dtype=torch.float64) + 0.5) * (torch.pi / 64)
    orders = torch.arange(1, len(likeness) + 1, dtype=torch.float64)
    power = 1 + 2 * (torch.tensor(likeness, dtype=torch.float64)[:, None] * (orders[:, None] * angle).cos()).sum(0)
    amplitude = power.clamp_min(0).sqrt()
    half = torch.stack([(amplitude * (lag * angle).cos()).mean() for lag in range(len(likeness) + 1)])
    taps = torch.cat([half[1:].flip(0), half])
    return [int(v) for v in (256 * taps / taps.square().sum().sqrt()).round().tolist()]
