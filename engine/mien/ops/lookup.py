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
    last = values.shape[1] - 1
    table = values.to(colors).flatten()
    start, scale = _box(colors, low, high)
    place = ((colors - start) * (scale * last)).clamp(0, last)
    # Clamped once more as whole numbers: NaN has become one of them.
    first = place.int().clamp(0, max(last - 1, 0))
    rows = torch.arange(3, dtype=torch.int32, device=colors.device)[:, None] * (last + 1)
    index = (first + rows).flatten()
    near, far = (table.index_select(0, one).view(colors.shape) for one in (index, index + min(last, 1)))
    return torch.lerp(near, far, place - first)


def lattice(colors: Tensor, values: Tensor, low: Sequence[float], high: Sequence[float]) -> Tensor:
    """Values of an (A, B, C, 3) lattice, trilinear between even steps, at (3, n) colors; (3, n)."""
    start, scale = _box(colors, low, high)
    place = (colors - start) * (2 * scale) - 1
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


def _box(colors: Tensor, low: Sequence[float], high: Sequence[float]) -> tuple[Tensor, Tensor]:
    """(3, 1) start of the box, and what carries it to 0 .. 1."""
    scale = [1 / max(end - begin, 1e-12) for begin, end in zip(low, high)]
    return colors.new_tensor(tuple(low))[:, None], colors.new_tensor(scale)[:, None]
