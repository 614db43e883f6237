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
STEPS = 64
"""Steps of likeness that are told apart: through most of a shot grain looks alike, and is drawn once."""
KEPT = 2
"""Squares that are kept."""
Plan = tuple[tuple[tuple[int, ...], ...], tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]]


def field(size: tuple[int, int], corner: tuple[int, int], frame: int, grain: Grain, device: torch.device) -> Tensor:
    """(3, H, W) grain of variance 1 for plate pixels from ``corner`` (x, y) on."""
    square = _square(_plan(grain), device)
    word = int(_scramble(torch.tensor([frame], dtype=torch.int64).to(torch.int32) ^ 0x5EED))
    starts = corner[0] + (word & 0xFFFF), corner[1] + (word >> 16 & 0xFFFF)
    part = _repeating(_repeating(square, 1, starts[1], size[0]), 2, starts[0], size[1])
    return part.clone(memory_format=torch.contiguous_format)


def _repeating(square: Tensor, axis: int, start: int, length: int) -> Tensor:
    """Part of what repeats along an axis."""
    parts = []
    while length > 0:
        here = start % SIDE
        parts.append(square.narrow(axis, here, min(length, SIDE - here)))
        start, length = start + SIDE - here, length - (SIDE - here)
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _plan(grain: Grain) -> Plan:
    """How grain is drawn: the mix of channels, and for each of them taps along x and y."""
    across, down, colors = (
        tuple(tuple(round(value * STEPS) / STEPS for value in row) for row in rows)
        for rows in (grain.across, grain.down, grain.colors)
    )
    return _mix_of(colors), tuple((kernel(x), kernel(y)) for x, y in zip(across, down))


@lru_cache(maxsize=KEPT)
def _square(plan: Plan, device: torch.device) -> Tensor:
    """(3, SIDE, SIDE) grain of variance 1 that goes on at the other side where it ends."""
    mixing, taps = plan
    place = torch.arange(-LAGS, SIDE + LAGS, device=device, dtype=torch.int32) % SIDE
    line, columns = _scramble(place * 0x01000193 + 0x5EED)[:, None], (place * 0x2545F491)[None]
    fields = [_bytes(_scramble(_scramble(line + channel) ^ columns)) for channel in range(3)]
    drawn = torch.empty(3, SIDE, SIDE, device=device)
    for row, (x, y), result in zip(mixing, taps, drawn):
        one = _round(_sum_of(fields, row), 64)
        one = _round(_sum_of([one[:, k : k + SIDE] for k in range(len(x))], x), 256)
        one = _round(_sum_of([one[k : k + SIDE] for k in range(len(y))], y), 256)
        strength = 147.8 * (sum(v * v for v in x) * sum(v * v for v in y)) ** 0.5 / 256**2
        torch.mul(one, 1 / strength, out=result)
    return drawn


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


def _sum_of(parts: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    """Weighted sum of pictures."""
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:]):
        if weight:
            total.add_(part, alpha=weight)
    return total


def _round(values: Tensor, scale: int) -> Tensor:
    return values.mul_(1 / scale).round_()


@lru_cache(maxsize=64)
def _mix_of(colors: Sequence[Sequence[float]]) -> tuple[tuple[int, ...], ...]:
    """Whole-number rows, 64 for 1, that make independent fields as alike as the channels are."""
    likeness = torch.tensor(colors, dtype=torch.float64)
    likeness = (likeness + likeness.mT) / 2
    likeness.fill_diagonal_(1.0)
    values, vectors = torch.linalg.eigh(likeness)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    root = root / root.square().sum(1, keepdim=True).sqrt()
    return tuple(tuple(int(v) for v in row) for row in (root * 64).round().tolist())


@lru_cache(maxsize=64)
def kernel(likeness: Sequence[float]) -> tuple[int, ...]:
    """Whole-number taps that make white noise as alike over 1, 2, ... pixels as asked, 256 for 1."""
    angle = (torch.arange(64, dtype=torch.float64) + 0.5) * (torch.pi / 64)
    orders = torch.arange(1, len(likeness) + 1, dtype=torch.float64)
    power = 1 + 2 * (torch.tensor(likeness, dtype=torch.float64)[:, None] * (orders[:, None] * angle).cos()).sum(0)
    amplitude = power.clamp_min(0).sqrt()
    half = torch.stack([(amplitude * (lag * angle).cos()).mean() for lag in range(len(likeness) + 1)])
    taps = torch.cat([half[1:].flip(0), half])
    return tuple(int(v) for v in (256 * taps / taps.square().sum().sqrt()).round().tolist())
