"""Matching color: measure both pictures under the matte, solve one affine move, apply it.

Statistics are weighted by the matte and divided by its sum, so that they do not depend on how large it
is. All of it happens in scene-linear light and clips nothing; what comes out is a ``Grade``, a few
numbers that are smoothed over the shot and that a host replays with its own nodes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mien.types import ColorSample, Grade, Image, Matte, Series

IDENTITY = Grade(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
NOTHING = ColorSample(0.0, (0.0,) * 3, (0.0,) * 3, ((0.0,) * 3,) * 3, ((0.0,) * 3,) * 3)
"""The measurement of an empty matte; every match answers it with ``IDENTITY``."""
STRONGEST = 64.0
"""Largest gain, and reciprocal of the smallest, that any match may ask for."""
FLAT = 0.02
"""Spread, as a share of the mean, granted to every picture: hue is not
turned by what is no more than grain, and flat pictures do not divide by zero."""
STILL = 0.15
"""Change of brightness, as the logarithm of a ratio, across which smoothing stops averaging."""
CONTRAST = (0.4, 1.6)
"""Least and greatest contrast that ``tone`` gives a face."""
_LUMINANCE = (0.2722, 0.6741, 0.0537)
_BINS = 512
_STOPS = (-16.0, 16.0)


def measure(face: Image, plate: Image, matte: Matte, trim: float = 0.0) -> ColorSample:
    """Weighted means and covariances of (3, H, W) pictures under a (1, H, W) matte.

    ``trim`` is the share of each picture's brightest pixels that does not count: highlights of the light,
    not color of the skin. A pixel that counts in one picture counts in the other. Pixels that hold inf or
    NaN never count. Where less than one pixel counts the sample is ``NOTHING``, whose weight is 0.
    """
    if face.shape[-3:] != plate.shape[-3:] or matte.shape[-2:] != face.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (face, plate, matte))
        raise ValueError(f"face, plate and matte must cover the same region, not {shapes}")
    weight = matte.flatten().double().clamp(0, 1).nan_to_num(0.0)
    chosen = (weight > 0).nonzero().squeeze(1)
    pictures = [picture.flatten(-2)[:, chosen].double() for picture in (face, plate)]
    weight = weight[chosen]
    sound = torch.stack([torch.isfinite(picture).all(0) for picture in pictures]).all(0)
    weight = weight * sound
    pictures = [torch.where(sound, picture, 0.0) for picture in pictures]
    if trim > 0 and float(weight.sum()) > 0:
        kept = torch.stack([_below(picture, weight, 1 - trim) for picture in pictures]).all(0)
        weight = weight * kept
    total = float(weight.sum())
    if total < 1.0:
        return NOTHING
    means, covariances = zip(*(_moments(picture, weight / total) for picture in pictures))
    face_mean, plate_mean = (_triple(middle) for middle in means)
    face_covariance, plate_covariance = (_rows(spread) for spread in covariances)
    return ColorSample(total, face_mean, plate_mean, face_covariance, plate_covariance)


def mean(sample: ColorSample) -> Grade:
    """One gain per channel that brings the face's mean to the plate's: exposure and white balance."""
    if sample.weight <= 0:
        return IDENTITY
    gains = [
        _held(there / here) if here > 0 and there > 0 else 1.0
        for here, there in zip(sample.face_mean, sample.plate_mean)
    ]
    return _diagonal(gains, (0.0, 0.0, 0.0))


def tone(sample: ColorSample) -> Grade:
    """Exposure and white balance as ``mean`` does, then one contrast for all channels about the plate's mean.

    Contrast is the ratio of the spreads of luminance (Reinhard et al. 2001, on luminance alone). What is dark on
    the face is lifted toward the plate's own skin, whose color the offset has, so that it takes on no odd hue.
    """
    balance = mean(sample)
    if balance == IDENTITY and sample.weight <= 0:
        return IDENTITY
    gains = torch.tensor([balance.matrix[i][i] for i in range(3)], dtype=torch.float64)
    weights = torch.tensor(_LUMINANCE, dtype=torch.float64)
    face, plate = (
        torch.tensor(rows, dtype=torch.float64) for rows in (sample.face_covariance, sample.plate_covariance)
    )
    level = _floor(sample.plate_mean)
    narrow = float((weights * gains) @ face @ (weights * gains)) + level
    wide = float(weights @ plate @ weights) + level
    low, high = CONTRAST
    contrast = min(max(math.sqrt(max(wide, 0.0) / narrow), low), high)
    x, y, z = ((1 - contrast) * value for value in sample.plate_mean)
    return _diagonal([float(gain) * contrast for gain in gains], (x, y, z))


def reinhard(sample: ColorSample) -> Grade:
    """Gain and offset per channel that bring mean and spread to the plate's. Reinhard et al. 2001."""
    if sample.weight <= 0:
        return IDENTITY
    gains, offsets = [], []
    for channel in range(3):
        here, there = sample.face_mean[channel], sample.plate_mean[channel]
        wide = sample.plate_covariance[channel][channel] + _floor([there])
        narrow = sample.face_covariance[channel][channel] + _floor([here])
        gain = _held(math.sqrt(max(wide / narrow, 0.0)))
        gains.append(gain)
        offsets.append(there - gain * here)
    return _diagonal(gains, offsets)


def mkl(sample: ColorSample) -> Grade:
    """The linear map that brings mean and covariance to the plate's and moves colors least.

    Monge-Kantorovich, closed form: A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2. Pitié and Kokaram 2007.
    """
    if sample.weight <= 0:
        return IDENTITY
    here, there = (torch.tensor(m, dtype=torch.float64) for m in (sample.face_mean, sample.plate_mean))
    face, plate = (
        torch.tensor(rows, dtype=torch.float64) for rows in (sample.face_covariance, sample.plate_covariance)
    )
    one = torch.eye(3, dtype=torch.float64)
    face, plate = face + _floor(sample.face_mean) * one, plate + _floor(sample.plate_mean) * one
    root, inverse = _power(face, 0.5), _power(face, -0.5)
    move = inverse @ _power(root @ plate @ root, 0.5) @ inverse
    values, vectors = torch.linalg.eigh(move)
    move = vectors * values.clamp(1 / STRONGEST, STRONGEST) @ vectors.T
    offset = there - move @ here
    return Grade(_rows(move), _triple(offset))


def apply(image: Image, grade: Grade) -> Image:
    """``matrix · rgb + offset`` on (..., 3, H, W); the identity gives the picture itself."""
    if grade == IDENTITY:
        return image
    rows = image.new_tensor(grade.matrix)
    graded = torch.matmul(rows, image.flatten(-2)).view(image.shape)
    return graded + image.new_tensor(grade.offset).view(3, 1, 1) if any(grade.offset) else graded


def mix(grade: Grade, amount: float) -> Grade:
    """Part of a grade: 0 is no change, 1 the whole of it, more goes beyond."""
    if amount == 1:
        return grade
    if amount == 0:
        return IDENTITY
    rows = [
        [one + amount * (value - one) for value, one in zip(row, ones)]
        for row, ones in zip(grade.matrix, IDENTITY.matrix)
    ]
    return Grade(_rows(torch.tensor(rows, dtype=torch.float64)), _scaled(grade.offset, amount))


def smooth(samples: Series[ColorSample], frames: float) -> Series[ColorSample]:
    """Smooth measurements over time, and fill the frames that have none from their neighbors.

    A straight line is fitted around every frame under a bell of ``frames`` standard deviation, so that a
    steady change of light is followed without lag. Neighbors whose brightness differs by more than the
    matte's wobble explains (a flash, a cut) count little. Frames before the first and after the last
    measurement repeat it.
    """
    known = [row for row, sample in enumerate(samples.values) if sample is not None and sample.weight > 0]
    if not known:
        return samples
    vectors = torch.stack([_vector(samples.values[row]) for row in known])
    weights = vectors.new_tensor([_given(samples.values[row]).weight for row in known])
    usual = float(weights.median())
    weights = (weights / usual).clamp(0.05, 1.0)
    light = vectors[:, :6].clamp_min(1e-6).log()
    times = vectors.new_tensor([float(row) for row in known])
    filled: list[ColorSample | None] = []
    for row in range(len(samples.values)):
        exact = samples.values[row] if row in known else None
        if exact is not None and frames <= 0:
            filled.append(exact)
            continue
        fitted = _fit(row, known, times, vectors, weights, light, frames)
        filled.append(_sample(fitted, usual if exact is None else exact.weight))
    return replace(samples, values=tuple(filled))


def _fit(
    row: int,
    known: Sequence[int],
    times: Tensor,
    vectors: Tensor,
    weights: Tensor,
    light: Tensor,
    frames: float,
) -> Tensor:
    after = next((n for n, frame in enumerate(known) if frame >= row), len(known) - 1)
    before = max(n for n in range(len(known)) if n == 0 or known[n] <= row)
    if known[after] != row or frames <= 0:
        gap = known[after] - known[before]
        if gap <= 0:
            return vectors[after]
        share = (row - known[before]) / gap
        return torch.lerp(vectors[before], vectors[after], min(max(share, 0.0), 1.0))
    away = times - row
    same = (-0.5 * ((light - light[after]) / STILL).square().sum(-1) / light.shape[-1]).exp()
    bell = weights * (-0.5 * (away / frames).square()).exp() * same
    total = bell.sum()
    center = (bell * away).sum() / total
    middle = (bell[:, None] * vectors).sum(0) / total
    lean = away - center
    spread = (bell * lean.square()).sum()
    if float(spread) < 1e-6 * float(total):
        return middle
    slope = (bell * lean) @ (vectors - middle) / spread
    return middle - slope * center


def _below(picture: Tensor, weight: Tensor, share: float) -> Tensor:
    """Which pixels are not among the brightest; the limit is read off a histogram in stops."""
    luminance = (picture * picture.new_tensor(_LUMINANCE)[:, None]).sum(0)
    low, high = _STOPS
    stops = luminance.clamp_min(2.0**low).log2()
    place = ((stops - low) / (high - low) * _BINS).clamp(0, _BINS - 1).long()
    histogram = torch.zeros(_BINS, dtype=weight.dtype, device=weight.device).index_add(0, place, weight)
    heap = histogram.cumsum(0)
    target = share * heap[-1]
    found = int(torch.searchsorted(heap, target).clamp(0, _BINS - 1))
    under = float(heap[found] - histogram[found])
    part = (float(target) - under) / max(float(histogram[found]), 1e-12)
    limit = low + (found + min(max(part, 0.0), 1.0)) * (high - low) / _BINS
    return stops <= limit


def _moments(picture: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    middle = (picture * share).sum(-1)
    away = picture - middle[:, None]
    return middle, (away * share) @ away.T


def _power(symmetric: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    held = values.clamp_min(max(1e-12 * float(values.max()), 1e-60))
    return torch.matmul(vectors * held.pow(exponent), vectors.T)


def _floor(means: Sequence[float]) -> float:
    return (FLAT * max(1e-6, *(abs(value) for value in means))) ** 2


def _diagonal(gains: Sequence[float], offsets: Sequence[float]) -> Grade:
    r, g, b = gains
    x, y, z = offsets
    return Grade(((r, 0.0, 0.0), (0.0, g, 0.0), (0.0, 0.0, b)), (x, y, z))


def _held(gain: float) -> float:
    return min(max(gain, 1 / STRONGEST), STRONGEST)


def _scaled(offset: tuple[float, float, float], amount: float) -> tuple[float, float, float]:
    x, y, z = offset
    return x * amount, y * amount, z * amount


def _triple(values: Tensor) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def _rows(
    values: Tensor,
) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]:
    x, y, z = (_triple(row) for row in values)
    return x, y, z


def _given(sample: ColorSample | None) -> ColorSample:
    if sample is None:
        raise ValueError("a frame without a measurement")
    return sample


def _vector(sample: ColorSample | None) -> Tensor:
    """Both means, then both covariances."""
    known = _given(sample)
    rows = (*known.face_covariance, *known.plate_covariance)
    values = [*known.face_mean, *known.plate_mean, *(value for row in rows for value in row)]
    return torch.tensor(values, dtype=torch.float64)


def _sample(vector: Tensor, weight: float) -> ColorSample:
    face, plate = vector[6:].view(2, 3, 3)
    return ColorSample(weight, _triple(vector[:3]), _triple(vector[3:6]), _rows(face), _rows(plate))
