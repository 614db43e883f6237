"""Measuring the colors of a face and of the plate under a matte.

Statistics are weighted by the matte and divided by its sum, so that they do not depend on how large it is; what
lies outside it does not enter them at all, whatever it holds.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mien.ops import spaces
from mien.types import ColorSample, Image, Matte

NOTHING = ColorSample(0.0, (0.0,) * 3, (0.0,) * 3, ((0.0,) * 3,) * 3, ((0.0,) * 3,) * 3)
"""The measurement of an empty matte; every match answers it with no move."""
CHUNK = 1 << 16
"""Pixels that are summed at once, so that they stay in a processor's cache."""
BINS = 1 << 14
"""Steps in which ranks of colors are told apart."""
REACH = 8.0
"""Standard deviations from the mean that ranks are told apart in."""
QUANTILES = 33
SPLITS = (0, 1, 0, 2, 0, 1, 0)
"""Opponent axes along which colors are halved, again and again, until a palette remains."""
POOL = 4096
"""Colors from which a palette is made."""
USUAL = 4.0
"""Spreads from the usual color at which a pixel stops counting, where outliers are ignored altogether."""
_STOPS = (-16.0, 16.0)
_STEPS = 512
_LEAST_SPREAD = 0.05


def measure(
    face: Image, plate: Image, matte: Matte, trim: float = 0.0, outliers: float = 0.0, space: str = "linear"
) -> ColorSample:
    """Weighted means and covariances of (3, H, W) pictures under a (1, H, W) matte, in a space.

    Args:
        face: Scene-linear face.
        plate: The plate behind it.
        matte: What counts, and how much.
        trim: Share of each picture's brightest pixels that does not count: highlights of the light, not color of
            the skin. A pixel that counts in one picture counts in the other.
        outliers: 0 counts every pixel; up to 1, those unlike the usual color of either picture count less: beards,
            spectacles, hands, shine.
        space: ``linear``, ``log`` or ``perceptual``.

    Pixels that hold inf or NaN never count. Where less than one pixel counts, the sample is ``NOTHING``.
    """
    return moments(*counted(*flat(face, plate, matte), trim, outliers), space)


def flat(face: Image, plate: Image, matte: Matte) -> tuple[Tensor, Tensor, Tensor]:
    """(3, n) colors of both pictures, and how much each pixel counts, (n,); unsound pixels are 0 and do not.

    Raises:
        ValueError: The pictures do not cover the same region.
    """
    if face.shape[-3:] != plate.shape[-3:] or matte.shape[-2:] != face.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (face, plate, matte))
        raise ValueError(f"face, plate and matte must cover the same region, not {shapes}")
    rows, columns = _extent(matte)
    colors = [picture[..., rows, columns].reshape(3, -1) for picture in (face, plate)]
    weight = matte[..., rows, columns].flatten().clamp(0, 1).nan_to_num(0.0)
    # A sum is finite only where all it sums is.
    sums = torch.stack([one.sum(0) for one in colors]).sum(0)
    sound = torch.isfinite(sums)
    if not bool(sound.all()):
        weight = weight * sound
        colors = [torch.where(sound, one, 0.0) for one in colors]
    return colors[0], colors[1], weight


def pool(face: Image, plate: Image, matte: Matte, cell: int) -> tuple[Image, Image, Matte]:
    """Average pictures and matte over squares of ``cell`` pixels, weighted by the matte.

    Grain and pores, which are no color, are gone from the result, and faces of any size give as much to measure.
    """
    if cell <= 1 or not matte.numel():
        return face, plate, matte
    sound = torch.isfinite(torch.stack([face.sum(-3), plate.sum(-3)]).sum(0, keepdim=True))
    weight = torch.where(sound, matte.clamp(0, 1).nan_to_num(0.0), 0.0)
    sums = avg_pool2d(weight, cell, ceil_mode=True, count_include_pad=False)
    pictures = [
        avg_pool2d(torch.where(weight > 0, picture * weight, 0.0), cell, ceil_mode=True, count_include_pad=False)
        / sums.clamp_min(1e-12)
        for picture in (face, plate)
    ]
    return pictures[0], pictures[1], sums


def counted(
    face: Tensor, plate: Tensor, weight: Tensor, trim: float, outliers: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Colors and weights with highlights and outliers counting less."""
    if trim > 0 and float(weight.sum()) > 0:
        kept = torch.stack([_below(colors, weight, 1 - trim) for colors in (face, plate)]).all(0)
        weight = weight * kept
    if outliers > 0 and float(weight.sum()) >= 1:
        usual = torch.stack([_usual(colors, weight, outliers) for colors in (face, plate)])
        weight = weight * usual.prod(0)
    return face, plate, weight


def moments(face: Tensor, plate: Tensor, weight: Tensor, space: str = "linear") -> ColorSample:
    """Weighted means and covariances of (3, n) colors."""
    total = float(weight.sum(dtype=torch.float64))
    if total < 1.0:
        return replace(NOTHING, space=space)
    means, covariances = zip(*(_moments(spaces.encode(colors, space), weight, total) for colors in (face, plate)))
    return ColorSample(
        total, _row(means[0]), _row(means[1]), _rows(covariances[0]), _rows(covariances[1]), space
    )


def distributions(
    sample: ColorSample, face: Tensor, plate: Tensor, weight: Tensor, steps: int = QUANTILES
) -> ColorSample:
    """The sample of the same (3, n) colors, with their quantiles and palettes."""
    if sample.weight <= 0:
        return sample
    ranks, palettes = [], []
    for colors, mean, covariance in (
        (face, sample.face_mean, sample.face_covariance),
        (plate, sample.plate_mean, sample.plate_covariance),
    ):
        encoded = spaces.encode(colors, sample.space)
        ranks.append(_rounded(quantiles(encoded, weight, steps, sample.space)))
        found = palette(encoded, weight, sample.space)
        palettes.append(_rounded(_with_moments(found, mean, covariance).T))
    return replace(
        sample,
        face_quantiles=ranks[0],
        plate_quantiles=ranks[1],
        face_palette=palettes[0],
        plate_palette=palettes[1],
    )


def quantiles(colors: Tensor, weight: Tensor, steps: int, space: str) -> Tensor:
    """(4, steps) values below which even shares of the weight lie: of each channel of (3, n), then of brightness."""
    rows = torch.cat([colors, spaces.opponent(colors, space)[:1]])
    return torch.stack([_quantiles(row, weight, steps) for row in rows])


def palette(colors: Tensor, weight: Tensor, space: str) -> Tensor:
    """(3, N) colors of equal weight that stand for (3, n).

    Colors are halved by weight along opponent axes in a fixed order, so that the same place of two palettes
    means the same share of each and palettes of neighboring frames can be averaged.
    """
    axes = spaces.opponent(_even(colors, weight), space)
    groups = axes[:, None]
    for axis in SPLITS:
        order = groups[axis].argsort(dim=-1, stable=True)
        groups = groups.gather(-1, order.expand_as(groups)).reshape(3, 2 * groups.shape[1], -1)
    return spaces.from_opponent(groups.double().mean(-1), space)


def _extent(matte: Matte) -> tuple[slice, slice]:
    """Rows and columns outside which the matte is empty."""
    inside = matte[0] > 0
    rows, columns = (inside.any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _moments(colors: Tensor, weight: Tensor, total: float) -> tuple[Tensor, Tensor]:
    """Sums in double precision about a first guess of the mean, piece by piece."""
    guess = torch.mv(colors[:, ::64], weight[::64]) / weight[::64].sum().clamp_min(1e-12)
    guess = guess.double()
    squares = torch.zeros(3, 3, dtype=torch.float64, device=colors.device)
    sums = torch.zeros(3, dtype=torch.float64, device=colors.device)
    size = CHUNK if colors.device.type == "cpu" else colors.shape[1]
    for piece, share in zip(colors.split(size, 1), weight.split(size)):
        away = piece.double() - guess[:, None]
        weighed = away * share
        squares += torch.matmul(weighed, away.T)
        sums += weighed.sum(1)
    middle = sums / total
    return guess + middle, squares / total - torch.outer(middle, middle)


def _below(colors: Tensor, weight: Tensor, share: float) -> Tensor:
    """Which pixels are not among the brightest; the limit is read off a histogram in stops."""
    luminance = torch.matmul(colors.new_tensor(spaces.LUMINANCE), colors)
    low, high = _STOPS
    stops = luminance.clamp_min(2.0**low).log2()
    heap = _heap((stops - low) / (high - low) * _STEPS, weight, _STEPS)
    target = share * heap[-1]
    found = torch.searchsorted(heap, target).clamp(max=_STEPS - 1)
    under = torch.where(found > 0, heap[found - 1], 0.0)
    part = ((target - under) / (heap[found] - under).clamp_min(1e-12)).clamp(0, 1)
    return stops <= low + (found + part) * ((high - low) / _STEPS)


def _usual(colors: Tensor, weight: Tensor, strength: float) -> Tensor:
    """1 for the usual color, falling to 0: Tukey's biweight about the median, in median deviations."""
    encoded = spaces.encode(colors, "perceptual")
    middle = torch.stack([_quantiles(row, weight, 3)[1] for row in encoded])
    away = (encoded - middle[:, None].to(encoded)).abs()
    spread = 1.4826 * torch.stack([_quantiles(row, weight, 3)[1] for row in away])
    distance = (away / spread.clamp_min(_LEAST_SPREAD)[:, None].to(away)).square().sum(0)
    return (1 - distance * (strength / USUAL) ** 2).clamp_min(0).square()


def _quantiles(values: Tensor, weight: Tensor, steps: int) -> Tensor:
    """(steps,) values of (n,), each in the middle of an even share of the weight."""
    total = weight.sum()
    mean = torch.dot(values, weight) / total
    spread = (torch.dot((values - mean).square(), weight) / total).sqrt()
    counts = weight > 0
    low = torch.where(counts, values, torch.inf).amin().clamp_min(mean - REACH * spread)
    high = torch.where(counts, values, -torch.inf).amax().clamp_max(mean + REACH * spread)
    width = ((high - low) / BINS).clamp_min(1e-12)
    heap = _heap((values - low) / width, weight, BINS)
    targets = (torch.arange(steps, dtype=heap.dtype, device=heap.device) + 0.5) / steps * heap[-1]
    found = torch.searchsorted(heap, targets).clamp(max=BINS - 1)
    under = torch.where(found > 0, heap[found - 1], 0.0)
    part = ((targets - under) / (heap[found] - under).clamp_min(1e-12)).clamp(0, 1)
    return low.double() + (found + part) * width.double()


def _heap(places: Tensor, weight: Tensor, count: int) -> Tensor:
    """Running weight of (n,) places over ``count`` bins; what lies beyond falls into the last."""
    bins = places.clamp(0, count - 1).int()
    return torch.zeros(count, dtype=weight.dtype, device=weight.device).index_add_(0, bins, weight).double().cumsum(0)


def _even(colors: Tensor, weight: Tensor) -> Tensor:
    """(3, POOL) of the (3, n) colors, as often as their weight says, evenly over the picture."""
    heap = weight.double().cumsum(0)
    targets = (torch.arange(POOL, dtype=heap.dtype, device=heap.device) + 0.5) / POOL * heap[-1]
    return colors[:, torch.searchsorted(heap, targets).clamp(max=colors.shape[1] - 1)]


def _with_moments(found: Tensor, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> Tensor:
    """A palette stretched to the mean and covariance of all that it stands for; averages have less."""
    wanted = found.new_tensor(covariance)
    middle = found.mean(1, keepdim=True)
    away = found - middle
    tiny = 1e-12 * wanted.trace().clamp_min(1e-12) * torch.eye(3, dtype=found.dtype, device=found.device)
    has = torch.linalg.cholesky_ex((away @ away.T) / found.shape[1] + tiny)[0]
    should = torch.linalg.cholesky_ex(wanted + tiny)[0]
    stretched = torch.matmul(should, torch.linalg.solve_triangular(has, away, upper=False))
    # Where a palette is flat along some axis, there is nothing to stretch.
    sound = bool(torch.isfinite(stretched).all()) and bool(stretched.abs().amax() <= 3 * away.abs().amax())
    return (stretched if sound else away) + found.new_tensor(mean)[:, None]


def _row(values: Tensor) -> tuple[float, ...]:
    return tuple(values.tolist())


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def _rounded(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.7g}") for value in row) for row in values.tolist())
