"""Drawing grain: fields of noise that look as a plate's grain does.

Noise is drawn once, by hashing places on a square that repeats; each frame begins at a place of its own, told by its
number. All sums are of whole numbers below 2^24, which float32 holds exactly in any order. So a pixel of the plate has
the same grain whatever region is rendered, alone or in a batch, on any device.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.types import Grain

LAGS = 3
"""Pixels over which grain is taken to be alike."""
SIDE = 1024
"""Pixels after which grain repeats: a power of two, about as many as a large face has."""
UNIT = 64
"""What stands for 1 where channels are mixed."""
TAP = 256
"""What stands for 1 where neighbors are weighed."""
SPREAD = 73.9
"""Standard deviation of the noise."""
FINER = 4
"""How many times finer than noise is what its sums along columns are rounded to."""
FAINT = 1 / 256
"""Share of the largest weight of a row below which another tells nothing."""
Plan = tuple[list[list[tuple[int, int, int]]], list[list[int]], list[float]]
"""For each channel, rows of noise that are weighed (of which channel, how far down, how much), taps along x, and the
spread of their sums."""


def field(size: tuple[int, int], corner: tuple[int, int], frame: int, grain: Grain, device: torch.device) -> Tensor:
    """(3, H, W) grain of variance 1 for plate pixels from ``corner`` (x, y) on."""
    drawn, spread = sums(size, corner, frame, grain, device)
    return drawn / drawn.new_tensor(spread)[:, None, None]


def sums(
    size: tuple[int, int], corner: tuple[int, int], frame: int, grain: Grain, device: torch.device
) -> tuple[Tensor, list[float]]:
    """(3, H, W) grain as whole numbers for plate pixels from ``corner`` (x, y) on, and each channel's deviation."""
    height, width = size
    tall, wide = height + 2 * LAGS, width + 2 * LAGS
    x, y = (place + start - LAGS for place, start in zip(corner, _start(frame)))
    noise = _repeating(_noise(device), (x, y), (tall, wide))
    _, across, spread = _plan(grain)
    # Each row is a sum of those on either side of it in all three channels.
    taken, begins, weights = _rows(grain, height, device)
    down = F.embedding_bag(taken, noise.view(3 * tall, wide), begins, per_sample_weights=weights, mode="sum")
    # Laid out one after the other, all pixels are a single line; what runs over from row to row is left out.
    lines = _round(down, UNIT * TAP // FINER).view(3, -1)
    drawn = lines.new_empty(3, height * wide)
    length = height * wide - 2 * LAGS
    for line, taps, result in zip(lines, across, drawn):
        total = torch.mul(line[:length], taps[0], out=result[:length])
        for start, tap in enumerate(taps[1:], start=1):
            if tap:
                total.add_(line[start : start + length], alpha=tap)
    return drawn.view(3, height, wide)[..., :width], spread


def _repeating(square: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Part of a (C, SIDE, SIDE) picture that repeats down and across, from ``corner`` (x, y) on."""
    part = square.new_empty(len(square), *size)
    for top, start, rows in _pieces(corner[1], size[0]):
        for left, begin, columns in _pieces(corner[0], size[1]):
            there = square[:, start : start + rows, begin : begin + columns]
            part[:, top : top + rows, left : left + columns] = there
    return part


def _pieces(start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Where pieces of what repeats lie, where each is taken from, and how long it is."""
    place = 0
    while place < length:
        here = (start + place) % SIDE
        count = min(length - place, SIDE - here)
        yield place, here, count
        place += count


@lru_cache(maxsize=8)
def _rows(grain: Grain, height: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Which rows of three channels' noise, one below the other, are summed to each row of each channel: theirs one
    after the other, where each one's begin, and their weights."""
    taken, counts, weights = [], [], []
    place = torch.arange(height)[:, None]
    for rows in _plan(grain)[0]:
        first = torch.tensor([channel * (height + 2 * LAGS) + y for channel, y, _ in rows])
        taken.append((place + first).view(-1))
        counts.append(torch.full((height,), len(rows)))
        weights.append(torch.tensor([float(weight) for *_, weight in rows]).repeat(height))
    count = torch.cat(counts)
    return torch.cat(taken).to(device), (count.cumsum(0) - count).to(device), torch.cat(weights).to(device)


@lru_cache(maxsize=64)
def _start(frame: int) -> tuple[int, int]:
    """Where on the square (x, y) a frame begins."""
    word = int(_scramble(torch.tensor([frame], dtype=torch.int64).to(torch.int32) ^ 0x5EED))
    return word & 0xFFFF, word >> 16 & 0xFFFF


@lru_cache(maxsize=64)
def _plan(grain: Grain) -> Plan:
    across, down = ([kernel(line) for line in lines] for lines in (grain.across, grain.down))
    mixed = []
    for shares, taps in zip(_mixing(grain.colors), down):
        rows = [(c, y, share * tap) for c, share in enumerate(shares) for y, tap in enumerate(taps)]
        least = FAINT * max(abs(weight) for *_, weight in rows)
        mixed.append([row for row in rows if abs(row[2]) >= least])
    spread = [SPREAD * FINER * math.hypot(*x) * math.hypot(*y) / TAP for x, y in zip(across, down)]
    return mixed, across, spread


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
    """Half the sum of the four bytes of int32 words about its middle: nearly Gaussian, of a deviation of ``SPREAD``."""
    pairs = (word & 0x00FF00FF).add_((word >> 8).bitwise_and_(0x00FF00FF))
    return (pairs & 0xFFFF).add_(pairs >> 16).sub_(510).float().mul_(0.5).round_()


def _round(values: Tensor, scale: int) -> Tensor:
    return values.mul_(1 / scale).round_()


def _mixing(colors: Sequence[Sequence[float]]) -> list[list[int]]:
    """Whole-number rows, ``UNIT`` for 1, that make independent fields as alike as the channels are."""
    likeness = torch.tensor(colors, dtype=torch.float64)
    likeness = (likeness + likeness.mT) / 2
    likeness.fill_diagonal_(1.0)
    values, vectors = torch.linalg.eigh(likeness)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    root = root / root.square().sum(1, keepdim=True).sqrt()
    return [[int(v) for v in row] for row in (root * UNIT).round().tolist()]


def kernel(likeness: Sequence[float]) -> list[int]:
    """Whole-number taps that make white noise as alike over 1, 2, ... pixels as asked, ``TAP`` for 1."""
    angle = (torch.arange(64, dtype=torch.float64) + 0.5) * (torch.pi / 64)
    orders = torch.arange(1, len(likeness) + 1, dtype=torch.float64)
    power = 1 + 2 * (torch.tensor(likeness, dtype=torch.float64)[:, None] * (orders[:, None] * angle).cos()).sum(0)
    amplitude = power.clamp_min(0).sqrt()
    half = torch.stack([(amplitude * (lag * angle).cos()).mean() for lag in range(len(likeness) + 1)])
    taps = torch.cat([half[1:].flip(0), half])
    return [int(v) for v in (TAP * taps / taps.square().sum().sqrt()).round().tolist()]
