"""Mattes to try operations on."""

import math

import torch

from mien.ops import hull


def disc(radius: float, x: float = 60.3, y: float = 55.8, size: tuple[int, int] = (110, 120)) -> torch.Tensor:
    angle = torch.arange(1440, dtype=torch.float64) / 1440 * 2 * math.pi
    points = torch.stack([x + radius * angle.cos(), y + radius * angle.sin()], 1)
    return hull.polygon_matte(points, (0, 0), size)


def from_center(x: float, y: float, size: tuple[int, int]) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    return torch.hypot(across - x, down - y)


def blobs(seed: int = 0, size: tuple[int, int] = (130, 170)) -> torch.Tensor:
    """Soft blobs whose outline bends, joins and leaves the picture."""
    noise = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(seed))
    return ((torch.nn.functional.avg_pool2d(noise, 9, 1, 4) - 0.5) * 3 + 0.5).clamp(0.12, 0.88)[0]
