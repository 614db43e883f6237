"""Tables of values that a color move adds: curves along channels, and a lattice over opponent colors.

Both are held at their ends, so that beyond the box only the affine part of a move goes on: a highlight of any
height moves as its brightest measured neighbors do, and where tables are 0 the picture is itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def curves(colors: Tensor, values: Tensor, low: Sequence[float], high: Sequence[float]) -> Tensor:
    """Values of (3, K) curves, linear between even steps from ``low`` to ``high``, at (3, n) colors."""
    place = _placed(colors, low, high)
    grid = torch.stack([place, torch.zeros_like(place)], -1)[:, None]
    found = grid_sample(values.to(colors)[:, None, None], grid, "bilinear", "border", align_corners=True)
    return found[:, 0, 0]


def lattice(colors: Tensor, values: Tensor, low: Sequence[float], high: Sequence[float]) -> Tensor:
    """Values of an (A, B, C, 3) lattice, trilinear between even steps, at (3, n) colors; (3, n)."""
    place = _placed(colors, low, high)
    # grid_sample wants the fastest axis first.
    grid = place.flip(0).T[None, None, None]
    table = values.to(colors).movedim(-1, 0)[None]
    return grid_sample(table, grid, "bilinear", "border", align_corners=True)[0, :, 0, 0]


def nodes(low: Sequence[float], high: Sequence[float], sizes: Sequence[int], like: Tensor) -> Tensor:
    """The (3, A·B·C) colors at which a lattice of ``sizes`` holds values."""
    axes = [
        torch.linspace(start, end, count, dtype=like.dtype, device=like.device)
        for start, end, count in zip(low, high, sizes)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


def _placed(colors: Tensor, low: Sequence[float], high: Sequence[float]) -> Tensor:
    """Colors with the box carried to -1 .. 1."""
    start = colors.new_tensor(tuple(low))[:, None]
    span = colors.new_tensor([max(end - begin, 1e-12) for begin, end in zip(low, high)])[:, None]
    return (colors - start) * (2 / span) - 1
