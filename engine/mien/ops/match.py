"""Solving a color move from a measurement: affine in closed form, or with tables where ranks are matched.

Every solver takes a ``ColorSample`` and works in the space that it was measured in. A measurement of nothing asks for
no move.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from mien.ops import lookup, spaces
from mien.ops.grade import IDENTITY, brightness, diagonal, gray, move, rounded, triple, triples
from mien.ops.transport import between, sliced
from mien.types import ColorSample, Grade, Table

STRONGEST = 64.0
"""Largest gain, and reciprocal of the smallest, that any match may ask for."""
FLAT = 0.02
"""Least spread, as a share of the mean, that any picture has along any axis: hue is not
turned by what is no more than grain, and flat pictures do not divide by zero."""
FLAT_LOG = {"log": 0.02, "perceptual": 0.005}
"""The same where spreads are logarithms; cones tell hues apart by little."""
DIMMEST = 0.05
"""Least level of a channel over that of the brightest, where spreads are taken as shares of levels."""
CONTRAST = (0.85, 1.2)
"""Least and greatest contrast that ``tone`` gives a face: what differs more is wrinkles and spectacles, not light."""
STEEPEST = 8.0
"""Largest slope of a curve, and reciprocal of the smallest: grain is not blown up into bands."""
LATTICE = (17, 7, 7)
"""Steps of the table of ``transport`` along brightness and the two opponent colors."""
MARGIN = 0.5
"""How far tables reach beyond the colors they were solved from, as a share of their range."""


def mean(sample: ColorSample) -> Grade:
    """Bring the face's mean to the plate's: in linear light by a gain per channel, which is exposure and white
    balance; elsewhere by an offset, which means the same there."""
    if sample.weight <= 0:
        return IDENTITY
    pairs = list(zip(sample.face_mean, sample.plate_mean))
    if sample.space != "linear":
        return diagonal((1.0, 1.0, 1.0), [there - here for here, there in pairs], sample.space)
    return diagonal([_held(there / here) if here > 0 and there > 0 else 1.0 for here, there in pairs], (0.0,) * 3)


def tone(sample: ColorSample) -> Grade:
    """Exposure and white balance as ``mean`` does, then one contrast for all channels about the plate's mean.

    Contrast is the ratio of the spreads of luminance (Reinhard et al. 2001, on luminance alone). What is dark on
    the face is lifted toward the plate's own skin, whose color the offset has, so that it takes on no odd hue.
    """
    if sample.weight <= 0:
        return IDENTITY
    balance = torch.tensor(mean(sample).matrix, dtype=torch.float64)
    weights = brightness(sample.space)
    face, plate = _floored(sample)
    narrow = float(weights @ balance @ face @ balance.T @ weights)
    low, high = CONTRAST
    contrast = min(max(math.sqrt(max(float(weights @ plate @ weights), 0.0) / narrow), low), high)
    here, there = _means(sample)
    if sample.space == "linear":
        return Grade(triples(contrast * balance), triple((1 - contrast) * there))
    scaled = torch.eye(3, dtype=torch.float64) + (contrast - 1) * torch.outer(gray(sample.space), weights)
    return Grade(triples(scaled), triple(there - scaled @ here), sample.space)


def reinhard(sample: ColorSample) -> Grade:
    """Gain and offset per channel that bring mean and spread to the plate's. Reinhard et al. 2001."""
    if sample.weight <= 0:
        return IDENTITY
    here, there = _means(sample)
    face = _spreads(here, sample.face_covariance, sample.space)
    plate = _spreads(there, sample.plate_covariance, sample.space)
    gains = (plate / face).clamp(1 / STRONGEST, STRONGEST)
    return diagonal(gains.tolist(), (there - gains * here).tolist(), sample.space)


def lct(sample: ColorSample) -> Grade:
    """Linear color transfer: mean and covariance by Cholesky factors, brightness first and color after it.

    ``L_plate · L_face^-1`` in opponent axes, in linear light those of the balanced pictures, so that the color of the
    light alone gives nothing but gains. A Cholesky factor is one alone, where axes of a PCA may flip between frames
    and make hues pop.
    """
    if sample.weight <= 0:
        return IDENTITY
    turn = _opponent_axes(sample.space)
    before, after = (torch.diag(size) for size in _sizes(sample))
    undo = torch.linalg.inv(before), torch.linalg.inv(after)
    face, plate = (
        torch.linalg.cholesky(turn @ one @ spread @ one @ turn.T) for one, spread in zip(undo, _floored(sample))
    )
    turned = torch.linalg.solve_triangular(face, plate, upper=False, left=False)
    left, sizes, right = torch.linalg.svd(after @ turn.T @ turned @ turn @ undo[0])
    return _about_means(sample, left * sizes.clamp(1 / STRONGEST, STRONGEST) @ right)


def mkl(sample: ColorSample) -> Grade:
    """The linear map that brings mean and covariance to the plate's and moves colors least.

    Monge-Kantorovich, closed form: A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2. Pitié and Kokaram 2007.
    """
    if sample.weight <= 0:
        return IDENTITY
    face, plate = _floored(sample)
    root, inverse = _power(face, 0.5), _power(face, -0.5)
    values, vectors = torch.linalg.eigh(inverse @ _power(root @ plate @ root, 0.5) @ inverse)
    return _about_means(sample, vectors * values.clamp(1 / STRONGEST, STRONGEST) @ vectors.T)


def luminance(sample: ColorSample) -> Grade:
    """Optimal transport in one dimension: ``mean``, then one curve on brightness alone, color going along with it."""
    if sample.weight <= 0 or not sample.face_quantiles:
        return mean(sample)
    balance = mean(sample)
    to, axis = _opponent_axes(sample.space), torch.zeros(3, dtype=torch.float64)
    axis[0] = 1.0
    here, there = (rows.tensor()[3] for rows in _ranks(sample))
    # Brightness of the balanced face: its own quantiles, carried by the gain or step that its mean takes.
    before, after = _means(sample)
    level, reached = float((to @ before)[0]), float((to @ after)[0])
    gain = reached / level if sample.space == "linear" and level > 0 and reached > 0 else 1.0
    shift = reached - gain * level
    low, high, knots = _knots(here, 2 * len(here) - 1)
    residual = _beyond(here, there, gain, shift, knots)
    along = to @ (after / reached) if sample.space == "linear" and reached > 0 else axis
    values = residual[:, None] * (to.T @ along)
    box = [(low, high), (0.0, 1.0), (0.0, 1.0)]
    return replace(
        balance,
        low=tuple(one[0] for one in box),
        high=tuple(one[1] for one in box),
        sizes=(len(knots), 1, 1),
        cube=rounded(values.flatten()),
    )


def histogram(sample: ColorSample) -> Grade:
    """Match ranks channel by channel: the plate's quantile function of the face's distribution function.

    One-dimensional optimal transport of each channel. Beyond the measured colors the move goes on as ``reinhard``.
    """
    if sample.weight <= 0 or not sample.face_quantiles:
        return reinhard(sample)
    base = reinhard(sample)
    rows, lows, highs = [], [], []
    for channel in range(3):
        here, there = (rows.tensor()[channel] for rows in _ranks(sample))
        low, high, knots = _knots(here, 2 * len(here) - 1)
        rest = _beyond(here, there, base.matrix[channel][channel], base.offset[channel], knots)
        rows.append(rounded(rest))
        lows.append(low)
        highs.append(high)
    return replace(base, low=tuple(lows), high=tuple(highs), curves=tuple(rows))


def transport(sample: ColorSample) -> Grade:
    """``mkl``, then what it leaves of the difference by sliced optimal transport, as a small lattice.

    Bonneel et al. 2015. Directions are seeded, and the lattice is carried through the same flow as the colors.
    """
    if sample.weight <= 0 or not sample.face_palette:
        return mkl(sample)
    base = mkl(sample)
    matrix, offset = (torch.tensor(values, dtype=torch.float64) for values in (base.matrix, base.offset))
    face, plate = (colors.tensor().T for colors in (sample.face_palette, sample.plate_palette))
    turned = spaces.opponent(face, sample.space)
    low, high = turned.amin(1), turned.amax(1)
    reach = MARGIN * (high - low) + 1e-6
    low, high = low - reach, high + reach
    lattice = spaces.from_opponent(lookup.nodes(low.tolist(), high.tolist(), LATTICE, face), sample.space)
    start = matrix @ lattice + offset[:, None]
    arrived = sliced(matrix @ face + offset[:, None], plate, start)
    found = replace(
        base,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        sizes=LATTICE,
        cube=rounded((arrived - start).T.flatten()),
    )
    # What the lattice is too coarse for must not cost the mean.
    missed = plate.mean(1) - move(face, found).mean(1)
    return replace(found, offset=triple(offset + missed))


def _knots(here: Tensor, count: int) -> tuple[float, float, Tensor]:
    """Even steps from a little below the lowest rank to a little above the highest."""
    reach = MARGIN * float(here[-1] - here[0]) / 4 + 1e-6
    low, high = float(here[0]) - reach, float(here[-1]) + reach
    return low, high, torch.linspace(low, high, count, dtype=torch.float64)


def _beyond(here: Tensor, there: Tensor, gain: float, shift: float, at: Tensor) -> Tensor:
    """What carrying ranks to ranks adds to a gain and a shift; past the outermost ranks as much as there.

    The function that carries them rises, its slope bounded, about the median.
    """
    steps, rises = here.diff(), there.diff()
    # Where neither rises there is nothing to stretch.
    level = 1e-4 * float(torch.maximum(here[-1] - here[0], there[-1] - there[0])) / len(here) + 1e-12
    slopes = ((rises + level) / (steps + level)).clamp(1 / STEEPEST, STEEPEST)
    middle = len(here) // 2
    path = torch.cat([torch.zeros(1, dtype=torch.float64), (slopes * steps).cumsum(0)])
    return between(at, here, path - path[middle] + there[middle] - (gain * here + shift))


def _means(sample: ColorSample) -> tuple[Tensor, Tensor]:
    face, plate = (torch.tensor(m, dtype=torch.float64) for m in (sample.face_mean, sample.plate_mean))
    return face, plate


def _ranks(sample: ColorSample) -> tuple[Table, Table]:
    return sample.face_quantiles, sample.plate_quantiles


def _floored(sample: ColorSample) -> tuple[Tensor, Tensor]:
    """Both covariances, at least as wide along every axis as flatness allows.

    In linear light that is a share of each channel's mean, so that a colored light changes nothing about it.
    """
    found = []
    for size, rows in zip(_sizes(sample), (sample.face_covariance, sample.plate_covariance)):
        scale = torch.outer(size, size)
        values, vectors = torch.linalg.eigh(torch.tensor(rows, dtype=torch.float64) / scale)
        least = FLAT_LOG.get(sample.space, FLAT)
        found.append((vectors * values.clamp_min(least**2) @ vectors.T) * scale)
    return found[0], found[1]


def _sizes(sample: ColorSample) -> tuple[Tensor, Tensor]:
    """(3,) level of each channel of face and plate, in linear light; elsewhere 1."""
    if sample.space != "linear":
        one = torch.ones(3, dtype=torch.float64)
        return one, one
    face, plate = (middle.abs().clamp_min(1e-6) for middle in _means(sample))
    return face.clamp_min(DIMMEST * float(face.amax())), plate.clamp_min(DIMMEST * float(plate.amax()))


def _spreads(middle: Tensor, rows: tuple[tuple[float, ...], ...], space: str) -> Tensor:
    """(3,) standard deviations of the channels, none less than flatness allows."""
    found = torch.tensor(rows, dtype=torch.float64).diagonal().clamp_min(0).sqrt()
    least = FLAT * middle.abs().clamp_min(1e-6)
    return torch.maximum(found, torch.full_like(found, FLAT_LOG[space]) if space in FLAT_LOG else least)


def _about_means(sample: ColorSample, matrix: Tensor) -> Grade:
    here, there = _means(sample)
    return Grade(triples(matrix), triple(there - matrix @ here), sample.space)


def _opponent_axes(space: str) -> Tensor:
    return spaces.opponent(torch.eye(3, dtype=torch.float64), space)


def _power(symmetric: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    held = values.clamp_min(max(1e-12 * float(values.max()), 1e-60))
    return torch.matmul(vectors * held.pow(exponent), vectors.T)


def _held(gain: float) -> float:
    return min(max(gain, 1 / STRONGEST), STRONGEST)


SOLVERS = {solver.__name__: solver for solver in (tone, mean, reinhard, lct, mkl, luminance, histogram, transport)}
