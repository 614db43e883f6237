"""Made-up backgrounds, and the noise that they and skin are made of."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def uniform(batch: int, low: float, high: float, generator: Generator) -> Tensor:
    """Numbers (B,) between two bounds."""
    return low + (high - low) * torch.rand(batch, generator=generator)


def chance(batch: int, probability: float, generator: Generator) -> Tensor:
    """Yes or no (B,)."""
    return torch.rand(batch, generator=generator) < probability


def noise(batch: int, channels: int, size: tuple[int, int], cells: int, generator: Generator) -> Tensor:
    """Smooth noise (B, C, *size) of about unit strength, ``cells`` across."""
    rows = max(2, round(cells * size[0] / max(size)))
    columns = max(2, round(cells * size[1] / max(size)))
    grid = torch.randn(batch, channels, rows, columns, generator=generator)
    return functional.interpolate(grid, size, mode="bilinear", align_corners=False)


def backdrops(batch: int, size: int, generator: Generator) -> Tensor:
    """Made-up backgrounds (B, 3, S, S) in 0..1: washes of color, blotches, bars and grain."""
    small = max(size // 2, 32)
    base = torch.rand(batch, 3, 1, 1, generator=generator)
    picture = base + 0.25 * torch.rand(batch, 1, 1, 1, generator=generator) * noise(
        batch, 3, (small, small), 3, generator
    )
    for cells in (6, 14, 40):
        gain = 0.3 * torch.rand(batch, 1, 1, 1, generator=generator).square()
        picture = picture + gain * noise(batch, 3, (small, small), cells, generator)
    axis = torch.arange(small) / small - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for _ in range(4):
        turn = torch.rand(batch, 1, 1, generator=generator) * 2 * math.pi
        along = x * turn.cos() + y * turn.sin() - torch.randn(batch, 1, 1, generator=generator) * 0.3
        across = -x * turn.sin() + y * turn.cos() - torch.randn(batch, 1, 1, generator=generator) * 0.3
        wide, high = (torch.exp(uniform(batch, -3.0, 0.0, generator))[:, None, None] for _ in range(2))
        round_shape = chance(batch, 0.4, generator)[:, None, None]
        distance = torch.where(
            round_shape,
            (along / wide).square() + (across / high).square(),
            (along / wide).abs().maximum((across / high).abs()),
        )
        edge = torch.exp(uniform(batch, 0.0, 4.0, generator))[:, None, None]
        shape = torch.sigmoid((1 - distance) * edge)[:, None]
        picture = picture + shape * (torch.rand(batch, 3, 1, 1, generator=generator) - picture)
    gray = picture.mean(1, keepdim=True)
    picture = torch.lerp(gray, picture, torch.rand(batch, 1, 1, 1, generator=generator))
    return functional.interpolate(picture.clamp(0, 1), (size, size), mode="bilinear", align_corners=False)
