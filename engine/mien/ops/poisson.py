"""Smooth fields that take given values in some places and obey Poisson's equation everywhere else.

Solved by full multigrid (Brandt 1977; Briggs, Henson and McCormick 2000): first on the coarsest grid, each
answer the start for the next finer one, with cycles down and back on the way. Smoothing is by Jacobi sweeps
whose weights are the roots of a Chebyshev polynomial: as good as twice as many plain ones, all pixels at once.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mien.ops.choose import choose
from mien.types import Image, Matte

SWEEPS = (0.5622, 1.3909)
"""Weights of the sweeps before and after each coarser grid: the reciprocal roots of the second Chebyshev polynomial
over 0.5 to 2, where the eigenvalues lie that a coarser grid cannot show."""
HOLD = 0.5
"""How hard given pixels away from free ones draw on coarser grids."""
COARSEST = 8
"""Pixels along the long side of a grid that is not made coarser."""
PATIENCE = 12
"""Cycles at most; each leaves a quarter or less of what was wrong, down to what float32 can tell."""
TWICE = (1, 2)
"""Grids below which the next coarser one is visited twice: what is wrong broadly then goes as fast as what is fine, for
a tenth of the time."""
SETTLING = 4
"""Rounds of sweeps on the coarsest grid, where there are finer ones."""
ALONE = 24
"""Rounds where there are none."""


STEPS = 60
"""Steps of conjugate gradients, at most."""
CHECKED = 4
"""Steps from one look at what is wrong to the next."""
LOOSE = 1e-3
"""A pull that holds a field and hardly draws."""
NOTHING = 1e-30
SMALL = 96
"""Pixels along the long side up to which neighbors are summed by products with a matrix: there calls cost, not sums."""


@dataclass(frozen=True)
class _Grid:
    """One grid: 1 where the field is sought, the weight of a pixel in its own equation, for each sweep what it keeps of
    the field and what it takes of the neighbors, and on small grids matrices that sum neighbors along both axes and
    that carry the next coarser field here."""

    free: Tensor
    weight: Tensor
    keeps: tuple[Tensor, ...]
    takes: tuple[Tensor, ...]
    beside: tuple[Tensor, Tensor] | None
    finer: tuple[Tensor, Tensor] | None


@torch.no_grad()
def solve(values: Tensor, free: Matte, source: Tensor | None = None, pull: Tensor | None = None,
          tolerance: float = 9e-5) -> Tensor:  # fmt: skip
    """The field that equals ``values`` where ``free`` is 0 and whose Laplacian is ``source`` where it is 1.

    The Laplacian is the sum of the four neighbors less four times the pixel; past the edge of the picture the
    field goes on as it ends there. A picture in which nothing is given comes back as it is. No gradients flow through.

    Args:
        values: (..., C, H, W), finite.
        free: (..., 1, H, W), 0 or 1.
        source: (..., C, H, W); none is 0 everywhere.
        pull: (..., 1, H, W), not below 0: how hard free pixels are drawn to ``values``; each neighbor draws with 1.
        tolerance: Largest error of the equation that is left anywhere, where the largest of values and source is 1.
    """
    if values.shape[-2:] != free.shape[-2:]:
        raise ValueError(f"values and free must cover the same region, not {values.shape} and {free.shape}")
    drive = None if source is None else -source * free
    if pull is None:
        pull = torch.zeros_like(free)
    else:
        pull = pull * free
        drive = pull * values if drive is None else drive + pull * values
    given = ((1 - free) + pull).flatten(-3).amax(-1) > 0
    field = values * (1 - free)
    # On coarser grids the outline between given and free is no longer to be seen. There each given pixel draws with as
    # much as it has free neighbors, so that an outline is felt alike wherever it runs, and a lone pixel too.
    hold = _around(free).clamp_(min=HOLD).mul_(1 - free)
    grids = _grids(free, pull, pull + hold)
    held = hold * field
    start = _first(grids, held if drive is None else drive + held)
    field = start.mul_(free).add_(field)
    allowed = tolerance * (_largest(values) if drive is None else torch.maximum(_largest(values), _largest(drive)))
    for cycle in range(PATIENCE):
        # One never is enough.
        if cycle > 1 and bool((_largest(_wrong(grids[0], field, drive)) <= allowed).all()):
            break
        field = _cycle(grids, 0, field, drive)
    return field if bool(given.all()) else torch.where(given[..., None, None, None], field, values)


@torch.no_grad()
def settle(values: Tensor, pull: Tensor, start: Tensor, tolerance: float = 3e-5) -> Tensor:
    """The field that ``solve`` gives where all is free and some of it is drawn: on small grids, in a third of the time.

    By conjugate gradients (Hestenes and Stiefel 1952), made fast by the exact answer for a pull that is the same
    everywhere, which cosines give. No gradients flow through.

    Args:
        values: (..., C, H, W), finite.
        pull: (..., 1, H, W), not below 0: how hard each pixel is drawn to ``values``; each neighbor draws with 1.
        start: (..., C, H, W) a guess; where nothing draws it becomes level.
        tolerance: Largest error of the equation that is left anywhere, where the largest value is 1.
    """
    (down, stiff_down), (across, stiff_across) = (_waves(length, values) for length in values.shape[-2:])
    yielding = 1 / (stiff_down[:, None] + stiff_across + LOOSE)
    allowed = tolerance * _largest(values)[..., None, None, None]
    field = start
    wrong = torch.addcmul(_around(field).addcmul_(pull, values), field, 4 + pull, value=-1)
    step = bent = size = torch.zeros_like(wrong[..., :1, :1])
    for number in range(STEPS):
        if number % CHECKED == 0 and bool((wrong.abs() <= allowed).all()):
            break
        change = down.mT @ ((down @ wrong @ across.mT) * yielding) @ across
        before, size = size, (wrong * change).sum((-2, -1), keepdim=True)
        share = size / before.clamp_min(NOTHING) if number else size * 0
        step = torch.addcmul(change, step, share)
        # What neighbors draw follows from what the change was found by.
        bent = torch.addcmul(wrong.sub(change, alpha=LOOSE), bent, share)
        drawn = torch.addcmul(bent, step, pull)
        length = size / (step * drawn).sum((-2, -1), keepdim=True).clamp_min(NOTHING)
        field, wrong = torch.addcmul(field, step, length), torch.addcmul(wrong, drawn, length, value=-1)
    return field


@lru_cache(maxsize=32)
def _cosines(length: int) -> tuple[Tensor, Tensor]:
    """The waves that a line of pixels whose ends repeat can hold, row by row, and how stiff each is."""
    order, place = torch.arange(length, dtype=torch.float64), torch.arange(length, dtype=torch.float64) + 0.5
    waves = torch.cos(order[:, None] * place * (torch.pi / length))
    return waves / waves.norm(dim=1, keepdim=True), 2 - 2 * torch.cos(order * (torch.pi / length))


def _waves(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    waves, stiffness = _cosines(length)
    return waves.to(like), stiffness.to(like)


@torch.no_grad()
def residual(field: Tensor, free: Matte, source: Tensor | None = None) -> Tensor:
    """How far the Laplacian of a (..., C, H, W) field is from ``source`` where ``free`` is 1; 0 elsewhere."""
    wrong = _around(field) - 4 * field
    return free * (wrong if source is None else wrong - source)


def clone(front: Image, back: Image, inside: Matte, source: Tensor | None = None) -> Image:
    """``back`` with the detail of ``front`` where ``inside`` is 1 (Pérez, Gangnet and Blake 2003).

    The Laplacian there is that of ``front``, plus ``source``; all around, the result meets ``back``. Elsewhere it is
    ``back`` bit for bit. Pictures must be finite; nothing is clipped.
    """
    field = solve(back - front, inside, source)
    return choose(inside > 0, front + field, back)


def _largest(field: Tensor) -> Tensor:
    return field.abs().flatten(-3).amax(-1)


def _grids(free: Tensor, pull: Tensor, coarser: Tensor) -> list[_Grid]:
    grids = [_grid(free, pull)]
    pull = coarser
    while max(pull.shape[-2:]) > COARSEST:
        pull = _halved(pull)
        grids.append(_grid(torch.ones_like(pull), pull))
    return grids


def _grid(free: Tensor, pull: Tensor) -> _Grid:
    share = free / (4 + pull)
    keeps, takes = (tuple(parts) for parts in zip(*((1 - w * free, w * share) for w in SWEEPS)))
    beside = finer = None
    if max(free.shape[-2:]) <= SMALL:
        down, across = (torch.eye(length, device=free.device, dtype=free.dtype) for length in free.shape[-2:])
        beside = _beside(down), _beside(across).mT
        finer = _spread_matrix(down), _spread_matrix(across).mT
    return _Grid(free, free * (4 + pull), keeps, takes, beside, finer)


def _beside(one: Tensor) -> Tensor:
    """The matrix that sums the neighbors along an axis; past the edge, the edge."""
    total = one.roll(1, 0) + one.roll(-1, 0)
    total[0], total[-1] = one[0] + one[min(1, len(one) - 1)], one[-1] + one[max(0, len(one) - 2)]
    return total


def _spread_matrix(one: Tensor) -> Tensor:
    """The matrix of ``_spread`` along an axis that is as long as ``one`` is high."""
    coarse = torch.eye((len(one) + 1) // 2, device=one.device, dtype=one.dtype)
    return _spread_down(coarse, len(one))


def _first(grids: list[_Grid], drive: Tensor) -> Tensor:
    """A first field for the finest grid, from all coarser ones, the coarsest first."""
    drives = [drive]
    for grid in grids[:-1]:
        drives.append(_coarser(grid, drives[-1]))
    field = torch.zeros_like(drives[-1])
    for depth in range(len(grids) - 1, 0, -1):
        field = _finer(grids[depth - 1], _cycle(grids, depth, field, drives[depth]))
    return field


def _cycle(grids: list[_Grid], depth: int, field: Tensor, drive: Tensor | None) -> Tensor:
    """One cycle from the grid at ``depth`` down and back."""
    grid = grids[depth]
    if depth == len(grids) - 1:
        for _ in range(SETTLING if depth else ALONE):
            field = _sweeps(grid, field, drive)
        return field
    field = _sweeps(grid, field, drive)
    below = _coarser(grid, _wrong(grid, field, drive))
    change = torch.zeros_like(below)
    for _ in range(2 if depth in TWICE else 1):
        change = _cycle(grids, depth + 1, change, below)
    change = _finer(grid, change)
    return _sweeps(grid, change.mul_(grid.free).add_(field), drive)


def _wrong(grid: _Grid, field: Tensor, drive: Tensor | None) -> Tensor:
    return _drawn(grid, field, drive).mul_(grid.free).addcmul_(field, grid.weight, value=-1)


def _sweeps(grid: _Grid, field: Tensor, drive: Tensor | None) -> Tensor:
    for keep, take in zip(grid.keeps, grid.takes):
        field = _drawn(grid, field, drive).mul_(take).addcmul_(field, keep)
    return field


def _drawn(grid: _Grid, field: Tensor, drive: Tensor | None) -> Tensor:
    if grid.beside is None:
        total = _around(field)
    else:
        total = torch.matmul(field, grid.beside[1]).add_(torch.matmul(grid.beside[0], field))
    return total if drive is None else total.add_(drive)


def _coarser(grid: _Grid, field: Tensor) -> Tensor:
    return _halved(field) if grid.finer is None else grid.finer[0].mT @ (field @ grid.finer[1].mT)


def _finer(grid: _Grid, field: Tensor) -> Tensor:
    return _spread(field, grid.free) if grid.finer is None else grid.finer[0] @ (field @ grid.finer[1])


def _around(field: Tensor) -> Tensor:
    """Sum of the four neighbors; past the edge, the edge."""
    total = torch.empty_like(field)
    torch.add(field[..., :-2, :], field[..., 2:, :], out=total[..., 1:-1, :])
    last = field.shape[-2] - 1
    torch.add(field[..., 0, :], field[..., min(1, last), :], out=total[..., 0, :])
    torch.add(field[..., last, :], field[..., max(0, last - 1), :], out=total[..., last, :])
    total[..., 1:] += field[..., :-1]
    total[..., :-1] += field[..., 1:]
    total[..., 0] += field[..., 0]
    total[..., -1] += field[..., -1]
    return total


def _halved(field: Tensor) -> Tensor:
    """Sums of what lies on and beside every second pixel, in rows and columns: the transpose of ``_spread``."""
    return _halved_down(_halved_down(field).mT).mT


def _halved_down(field: Tensor) -> Tensor:
    if field.shape[-2] == 1:
        # A single row stands for many alike.
        return 2 * field
    between = field[..., 1::2, :]
    rows = field[..., ::2, :].clone()
    rows[..., : between.shape[-2], :].add_(between, alpha=0.5)
    rows[..., 1:, :].add_(between[..., : rows.shape[-2] - 1, :], alpha=0.5)
    if field.shape[-2] % 2 == 0:
        rows[..., -1, :].add_(field[..., -1, :], alpha=0.5)
    return rows


def _spread(field: Tensor, like: Tensor) -> Tensor:
    """The field on a grid of twice as many pixels, that of ``like``, straight between its own."""
    height, width = like.shape[-2:]
    return _spread_down(_spread_down(field.mT, width).mT, height)


def _spread_down(field: Tensor, height: int) -> Tensor:
    tall = field.new_empty((*field.shape[:-2], height, field.shape[-1]))
    tall[..., ::2, :] = field
    tall[..., 1:-1:2, :] = torch.lerp(field[..., :-1, :], field[..., 1:, :], 0.5)[..., : (height - 1) // 2, :]
    if height % 2 == 0:
        tall[..., -1, :] = field[..., -1, :]
    return tall
