"""Grain: measured on a frame, and laid on a face that has less of it.

How strong it is follows the light (variance ``a + b v + c v²``, sensor noise being the first two and film the
last), how coarse it is follows from how alike neighboring pixels are, and how colorful from how alike channels
are. What is laid on is drawn in ``grain_field``.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from mien.ops.bands import bands, shown
from mien.ops.grain_field import LAGS, sums
from mien.types import Grain, Image, Matte

SIDE = 12
"""Side in pixels of the squares on which the look of grain is measured; 3 must divide it."""
SMALL = SIDE // 2
"""Side of those on which its strength is."""
MOST = 4000
"""Squares that are looked at."""
FEWEST = 8
"""Squares that must look like grain and nothing else."""
LOW = 0.15
"""Share of squares that are smoother than those which tell of a face's own grain: one standard deviation."""
FINE = (0.05, 0.1)
"""Of the energy of white noise in second differences: grain with less is not told by them, with more it is."""
BAND = 0.25
"""Share of a band's pixels in which grain is drawn at once."""
SMALLEST = 1e-30
"""Variance that is none."""
EDGE_GAIN = 3.0
"""Most by which grain is raised where a thin matte would halve it."""
NONE = Grain(0.0, ((0.0,) * 3,) * 3, ((0.0, 0.0),) * 3, ((0.0,) * LAGS,) * 3, ((0.0,) * LAGS,) * 3, ((0.0,) * 3,) * 3)
"""The measurement of a picture without grain, or with nothing smooth to see it on."""


def measure(image: Image) -> Grain:
    """The grain of a (3, H, W) scene-linear picture, seen where the picture is smooth.

    How it looks is read off squares whose shading is a quadratic and whose rest has no more coarse than fine
    structure, as grain does. How strong it is at every level is read off smaller ones, which hold less of
    anything else: the variance that LOW of them stay below, and from which the rest follows as grain scatters.
    What subtracting the shading takes from grain is worked out and given back.
    """
    _check(image)
    tiles, small = (_sound(squares(image, side)) for side in (SIDE, SMALL))
    likely = tiles[:, _grainy(_rest(tiles))] if tiles.shape[1] >= FEWEST else tiles
    if likely.shape[1] < FEWEST:
        return NONE
    levels, spread = small.mean(-1), _rest(small).square().sum(-1)
    fits = [_fit(level, variance) for level, variance in zip(levels, spread)]
    if any(fit is None for fit in fits):
        return NONE
    rows, ends = zip(*(fit for fit in fits if fit is not None))
    middles = likely.mean(-1)
    expected = torch.stack([_at(level.clamp(*end), row) for level, row, end in zip(middles, rows, ends)])
    unit = _rest(likely) / expected.clamp_min(1e-30).sqrt()[..., None]
    weight = _calm(unit)
    unit = unit * weight.sqrt()[:, None]
    lines = [_unbiased(_products(channel, 1), _products(channel, 0)) for channel in unit]
    total = unit.square().sum((1, 2)).clamp_min(1e-30).sqrt()
    colors = unit.flatten(1) @ unit.flatten(1).mT / (total[:, None] * total)
    kept = [_low_end(across, down, _keeping(SMALL)) for across, down in lines]
    return Grain(
        float(weight.sum()),
        tuple(tuple(float(v) / share for v in row) for row, share in zip(rows, kept)),
        tuple(ends),
        tuple(across for across, _ in lines),
        tuple(down for _, down in lines),
        tuple(tuple(row) for row in colors.tolist()),
    )


def share(image: Image, matte: Matte, grain: Grain) -> tuple[float, ...]:
    """How much of a plate's grain a (3, H, W) face already has under a (1, H, W) matte, per channel, 0 to 1.

    The smoothest squares tell, so that pores and stubble are not mistaken for grain, and of all that is left in
    them and of the finest of it the lesser: what an enlarged or soft face has in place of grain is coarser.
    """
    tiles = squares(torch.cat([image, matte.to(image)]), SMALL)
    tiles = _sound(tiles[:3, tiles[3].amin(-1) > 0.9])
    if grain.weight <= 0 or tiles.shape[1] < FEWEST:
        return (0.0, 0.0, 0.0)
    found = []
    for channel, row in enumerate(grain.variance):
        level = tiles[channel].mean(-1).clamp(*grain.levels[channel])
        expected = _at(level, torch.tensor(row, dtype=torch.float64)).clamp_min(1e-30)
        lines = grain.across[channel], grain.down[channel]
        whole, finest = (_part(tiles[channel], expected, lines, rest) for rest in (_keeping(SMALL), _finest(SMALL)))
        sure = _finely(*lines)
        found.append(min(whole, 1 - sure * (1 - finest)))
    return tuple(found)


def _part(tiles: Tensor, expected: Tensor, lines: tuple[Sequence[float], Sequence[float]], rest: Tensor) -> float:
    """How much of the grain that is expected in (n, side²) squares there is in their ``rest``, at most 1."""
    lowest = float(torch.quantile((tiles @ rest.mT).square().sum(-1) / expected, LOW))
    return min(1.0, lowest / max(1e-6, _low_end(*lines, rest)))


def _finely(across: Sequence[float], down: Sequence[float]) -> float:
    """How surely grain is told by its finest: 1 where it changes from pixel to pixel, 0 where it is coarser."""
    fine = [max(0.0, (6 - 8 * line[0] + 2 * line[1]) / 6) for line in (across, down)]
    low, high = FINE
    root = math.sqrt(fine[0] * fine[1])
    return min(1.0, max(0.0, (root - low) / (high - low)))


def _low_end(across: Sequence[float], down: Sequence[float], rest: Tensor) -> float:
    """What LOW of all small squares hold less than, of the ``rest`` of grain of variance 1: a standard deviation
    below the mean."""
    left = _left(across, down, rest)
    return float(left.trace() - 1.04 * (2 * left.square().sum()).sqrt().clamp_max(0.67 * left.trace()))


def _sound(tiles: Tensor) -> Tensor:
    """Squares that hold finite light and are not clipped or flat."""
    tiles = tiles[:, torch.isfinite(tiles).all(-1).all(0)]
    return tiles[:, (tiles.amax(-1) > tiles.amin(-1)).all(0)]


def squares(image: Tensor, side: int) -> Tensor:
    """(C, n, side²) squares of a (C, H, W) picture, evenly left out beyond ``MOST``."""
    if min(image.shape[-2:]) < side:
        return image.new_zeros(image.shape[0], 0, side * side, dtype=torch.float64).cpu()
    tiled = image.detach().unfold(1, side, side).unfold(2, side, side)
    every = math.ceil(math.sqrt(tiled.shape[1] * tiled.shape[2] / MOST))
    return tiled[:, ::every, ::every].flatten(1, 2).flatten(2).double().cpu()


@cache
def _keeping(side: int) -> Tensor:
    """(side², side²) matrix that subtracts the best quadratic from a square."""
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = (part.flatten() for part in torch.meshgrid(line, line, indexing="ij"))
    shading = torch.linalg.qr(torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], 1)).Q
    keeping: Tensor = torch.eye(side * side, dtype=torch.float64) - shading @ shading.mT
    return keeping


@cache
def _finest(side: int) -> Tensor:
    """((side - 2)², side²) matrix of the second differences along both axes, where grain is all that there is."""
    line = torch.zeros(side - 2, side, dtype=torch.float64)
    for row in range(side - 2):
        line[row, row : row + 3] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    return torch.kron(line, line)


def _rest(tiles: Tensor) -> Tensor:
    """What is left of (..., side²) squares without their shading."""
    return tiles @ _keeping(math.isqrt(tiles.shape[-1]))


def _grainy(rest: Tensor) -> Tensor:
    """(n,) squares that hold anything, and as little coarse structure, beside fine, as the least structured tenth."""
    count = SIDE // 3
    coarse = rest.view(*rest.shape[:2], count, 3, count, 3).mean((-3, -1)).square().mean((-2, -1)).sum(0)
    spread = rest.square().mean(-1)
    ratio = coarse / spread.sum(0).clamp_min(1e-300)
    return (ratio <= 3 * torch.quantile(ratio, 0.1)) & (spread > 0).all(0)


def _calm(unit: Tensor) -> Tensor:
    """(n,) weights of squares, less where more is left of one than of the calmer third."""
    spread = unit.square().sum((0, 2))
    above = (spread / torch.quantile(spread, 0.3)).clamp_min(1).log()
    return 1 / (1 + (above / 0.3) ** 4)


def _at(level: Tensor, row: Tensor) -> Tensor:
    return row[0] + level * (row[1] + level * row[2])


def _fit(level: Tensor, variance: Tensor) -> tuple[Tensor, tuple[float, float]] | None:
    """``a + b v + c v²`` that LOW of (n,) variances lie below, and the levels that it holds for.

    Quantile regression by weighing anew (Schlossmacher 1973), in units of the variance itself.
    """
    if len(level) < 4 * FEWEST:
        return None
    low, high = (max(0.0, float(torch.quantile(level, share))) for share in (0.02, 0.98))
    held = level.clamp(low, max(high, 1e-6))
    middle = max(float(held.median()), 1e-6)
    x = held / middle
    rows = torch.stack([torch.ones_like(x), x, x * x], 1)
    guess = 0.2 + 0.8 * x
    guess = guess * torch.quantile(variance / guess, LOW)
    fitted = torch.zeros(3, dtype=torch.float64)
    for _ in range(20):
        guess = guess.clamp_min(1e-30)
        apart = variance / guess - 1
        weight = torch.where(apart > 0, LOW, 1 - LOW) / apart.abs().clamp_min(0.02)
        fitted = _nonnegative(rows, variance, weight / guess.square())
        guess = rows @ fitted
    if not float(guess.amin()) > 0:
        return None
    return fitted / torch.tensor([1.0, middle, middle**2], dtype=torch.float64), (low, max(high, 1e-6))


def _nonnegative(rows: Tensor, values: Tensor, weight: Tensor) -> Tensor:
    """Weighted least squares with no negative coefficient: the best of every choice of columns."""
    square = rows.mT @ (rows * weight[:, None])
    square = square + 1e-12 * square.trace() * torch.eye(3, dtype=torch.float64)
    goal = rows.mT @ (values * weight)
    best, least = torch.zeros(3, dtype=torch.float64), torch.inf
    for choice in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        found = torch.zeros(3, dtype=torch.float64)
        found[choice] = torch.linalg.solve(square[choice][:, choice], goal[choice])
        error = float(found @ square @ found - 2 * goal @ found)
        if bool((found >= 0).all()) and error < least:
            best, least = found, error
    return best


def _products(unit: Tensor, axis: int) -> Tensor:
    """(LAGS + 1,) mean products of (n, SIDE²) pixels 0, 1, ... apart along columns (0) or rows (1)."""
    pixels = unit.view(-1, SIDE, SIDE).movedim(1 + axis, -1)
    return torch.stack([(pixels[..., : SIDE - lag] * pixels[..., lag:]).mean() for lag in range(LAGS + 1)])


def _unbiased(across: Tensor, down: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Likeness of neighbors along x and y before shading was subtracted.

    Found by trial: what would be measured of grain as likely, until it is what was measured.
    """
    goal = [line[1:] / line[0].clamp_min(1e-30) for line in (across, down)]
    guess = [line.clone() for line in goal]
    for _ in range(6):
        seen = _left(guess[0].tolist(), guess[1].tolist(), _keeping(SIDE)).view(SIDE, SIDE, SIDE, SIDE)
        spread = seen.flatten(2).flatten(0, 1).diagonal().mean()
        for axis, line in enumerate(guess):
            both = torch.einsum("yayb->ab" if axis == 0 else "axbx->ab", seen) / SIDE
            met = torch.stack([both.diagonal(lag).mean() for lag in range(1, LAGS + 1)]) / spread
            guess[axis] = (line + goal[axis] - met).clamp(-0.95, 0.95)
    return tuple(guess[0].tolist()), tuple(guess[1].tolist())


def _left(across: Sequence[float], down: Sequence[float], rest: Tensor) -> Tensor:
    """Covariance of the ``rest`` of grain of variance 1 in a square, a matrix of as many columns as it has pixels."""
    side = math.isqrt(rest.shape[-1])
    likely = torch.kron(_toeplitz(down, side), _toeplitz(across, side))
    return rest @ likely @ rest.mT


def _toeplitz(line: Sequence[float], side: int) -> Tensor:
    full = torch.zeros(side, dtype=torch.float64)
    full[0], full[1 : LAGS + 1] = 1.0, torch.tensor(line, dtype=torch.float64)
    place = torch.arange(side)
    return full[(place[:, None] - place).abs()]


def lay(
    image: Image,
    matte: Matte,
    grain: Grain,
    missing: Tensor,
    corner: tuple[int, int],
    frame: int,
    out: Image | None = None,
) -> Image:
    """Lay a plate's grain on a (3, H, W) face whose corner sits on plate pixel ``corner``.

    Under a soft (1, H, W) matte, where face and plate would average out each other's grain, it is raised so
    that their mix has the plate's variance (at most ``EDGE_GAIN`` times as strong). ``missing``, (3, 1, 1) or
    (3, H, W), is the share of the plate's variance that the face lacks; nothing missing gives the picture itself,
    and where the matte is 0 the picture stays. What comes
    back is written to ``out`` if that is given.
    """
    _check(image)
    if grain.weight <= 0 or not bool((missing > 0).any()):
        return image if out is None else out.copy_(image)
    result = torch.empty_like(image, memory_format=torch.contiguous_format) if out is None else out
    variance, pixels = _lacking(grain, missing)
    # Rows beside a band are drawn for its blur alone: broad bands waste little.
    parts = list(bands(image, BAND))
    for rows, (columns, solid) in zip(parts, shown(matte[0], parts)):
        for past in (slice(0, columns.start), slice(columns.stop, image.shape[-1])):
            result[:, rows, past] = image[:, rows, past]
        if columns.start == columns.stop:
            continue
        here, there = image[:, rows, columns], result[:, rows, columns]
        place = (corner[0] + columns.start, corner[1] + rows.start)
        drawn, deviations = sums((here.shape[-2], here.shape[-1]), place, frame, grain, image.device)
        beside = slice(0, solid.start - columns.start), slice(solid.stop - columns.start, here.shape[-1])
        raised = [_raised(matte[0, rows, columns][:, side]) for side in beside]
        for channel, (row, ends, deviation) in enumerate(zip(variance, grain.levels, deviations)):
            spread = _spread(here[channel], [part / deviation**2 for part in row], ends).sqrt_()
            for side, more in zip(beside, raised):
                spread[:, side].mul_(more)
            if pixels is not None:
                spread.mul_(pixels[channel, rows, columns])
            torch.addcmul(here[channel], spread, drawn[channel], out=there[channel])
    return result


def _lacking(grain: Grain, missing: Tensor) -> tuple[list[list[float]], Tensor | None]:
    """Variance by channel that a face lacks, and by how much more or less its deviation is from pixel to pixel."""
    missing = missing.clamp_min(0)
    alike = missing.shape[-2:] == (1, 1)
    shares = missing.flatten().tolist() if alike else [1.0] * 3
    rows = [[max(0.0, part) * share for part in row] for row, share in zip(grain.variance, shares)]
    return rows, None if alike else missing.sqrt()


def _spread(level: Tensor, row: Sequence[float], ends: tuple[float, float]) -> Tensor:
    """Variance ``a + b v + c v²`` of grain at every pixel of a picture."""
    # The root of 0 itself takes a processor many times as long as others.
    a, b, c = max(row[0], SMALLEST), row[1], row[2]
    level = level.clamp(max(0.0, ends[0]), max(0.0, ends[1]))
    slope = torch.add(level.new_tensor(b), level, alpha=c).mul_(level) if c else level.mul_(b)
    return slope.add_(a)


def _raised(matte: Tensor) -> Tensor:
    """By how much grain is raised under a matte; where nothing is shown nothing is laid."""
    raised = (2 / matte.clamp(1e-3, 1)).sub_(1).clamp_max_(EDGE_GAIN**2).sqrt_()
    return raised.mul_(matte.sign().clamp_min_(0))


def _check(image: Image) -> None:
    if image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(f"grain needs a (3, H, W) picture, not {tuple(image.shape)}")
