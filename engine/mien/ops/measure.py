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
from mien.ops.region import occupied
from mien.types import ColorSample, Image, Matte, Table

NOTHING = ColorSample(0.0, (0.0,) * 3, (0.0,) * 3, ((0.0,) * 3,) * 3, ((0.0,) * 3,) * 3)
"""The measurement of an empty matte; every match answers it with no move."""
BINS = 1 << 14
"""Steps in which ranks of colors are told apart."""
REACH = 8.0
"""Standard deviations from the mean that ranks are told apart in."""
QUANTILES = 25
SPLITS = (0, 1, 0, 2, 0, 1)
"""Opponent axes along which colors are halved, again and again, until a palette remains."""
DIGITS = 7
"""Digits after the point that ranks and palettes hold."""
POOL = 1 << 16
"""Colors from which a palette is made at most."""
SOME = 4096
"""Values that tell how far ranks are told apart."""
USUAL = 2.5
"""Spreads from the usual color at which a pixel stops counting, where outliers are ignored altogether."""
ROUNDS = 3
"""How often the usual color is found anew without those that are not."""
_STOPS = (-16.0, 16.0)
_STEPS = 512
_WHOLE = 1 << 16
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
        outliers: 0 counts every pixel alike; up to 1, means leave out those unlike the usual color of either picture:
            beards, spectacles, hands.
        space: ``linear``, ``log`` or ``perceptual``.

    Pixels that hold inf or NaN never count. Where less than one pixel counts, the sample is ``NOTHING``.
    """
    colors = trimmed(*flat(face, plate, matte), trim)
    return centered(moments(*colors, space), *colors, outliers)


def flat(face: Image, plate: Image, matte: Matte) -> tuple[Tensor, Tensor, Tensor]:
    """(3, n) colors of both pictures, and how much each pixel counts, (n,); unsound pixels are 0 and do not.

    Raises:
        ValueError: The pictures do not cover the same region.
    """
    if face.shape[-3:] != plate.shape[-3:] or matte.shape[-2:] != face.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (face, plate, matte))
        raise ValueError(f"face, plate and matte must cover the same region, not {shapes}")
    rows, columns = occupied(matte)
    colors = [picture[..., rows, columns].reshape(3, -1) for picture in (face, plate)]
    weight = matte[..., rows, columns].flatten().nan_to_num(0.0).clamp_(0, 1)
    # A sum is finite only if all it sums is.
    if not bool(torch.isfinite(colors[0].sum() + colors[1].sum())):
        sound = torch.isfinite(colors[0].sum(0) + colors[1].sum(0))
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


def trimmed(face: Tensor, plate: Tensor, weight: Tensor, trim: float) -> tuple[Tensor, Tensor, Tensor]:
    """Colors and weights without the brightest share of either picture."""
    if trim > 0 and float(weight.sum()) > 0:
        kept = torch.stack([_below(colors, weight, 1 - trim) for colors in (face, plate)]).all(0)
        weight = weight * kept
    return face, plate, weight


def centered(sample: ColorSample, face: Tensor, plate: Tensor, weight: Tensor, outliers: float) -> ColorSample:
    """The sample moved to the means of usual colors alone; how colors spread about their means stays.

    Few pixels that are no skin pull a mean, but what remains without all that is unusual says little of contrast.
    """
    if outliers <= 0 or sample.weight <= 0:
        return sample
    usual = torch.stack([_usual(colors, weight, outliers) for colors in (face, plate)]).prod(0)
    core = moments(face, plate, weight * usual, sample.space)
    if core.weight <= 0:
        return sample
    moved = {}
    for who in ("face", "plate"):
        here, there = (torch.tensor(getattr(one, f"{who}_mean"), dtype=torch.float64) for one in (sample, core))
        moved[f"{who}_mean"] = getattr(core, f"{who}_mean")
        if ranks := getattr(sample, f"{who}_quantiles"):
            bright = spaces.opponent((there - here)[:, None], sample.space)[:1]
            step = torch.cat([(there - here)[:, None], bright])
            moved[f"{who}_quantiles"] = _rounded(ranks.tensor() + step)
        if colors := getattr(sample, f"{who}_palette"):
            moved[f"{who}_palette"] = _rounded(colors.tensor() + (there - here))
    return replace(sample, **moved)


def moments(face: Tensor, plate: Tensor, weight: Tensor, space: str = "linear") -> ColorSample:
    """Weighted means and covariances of (3, n) colors."""
    total = float(weight.sum(dtype=torch.float64))
    if total < 1.0:
        return replace(NOTHING, space=space)
    means, covariances = zip(*(_moments(colors, weight, total, space) for colors in (face, plate)))
    return ColorSample(total, _row(means[0]), _row(means[1]), _rows(covariances[0]), _rows(covariances[1]), space)


def ranked(sample: ColorSample, face: Tensor, plate: Tensor, weight: Tensor, steps: int = QUANTILES) -> ColorSample:
    """The sample of the same (3, n) colors with their quantiles: of each channel, then of brightness."""
    if sample.weight <= 0:
        return sample
    found, shares = [], whole(weight)
    for colors in (face, plate):
        encoded = spaces.encode(colors, sample.space)
        rows = [quantiles(row, shares, steps) for row in encoded]
        bright = rows[0] if sample.space == "perceptual" else quantiles(_bright(encoded), shares, steps)
        found.append(_rounded(torch.stack([*rows, bright])))
    return replace(sample, face_quantiles=found[0], plate_quantiles=found[1])


def with_palettes(sample: ColorSample, face: Tensor, plate: Tensor, weight: Tensor) -> ColorSample:
    """The sample of the same (3, n) colors with palettes of them."""
    if sample.weight <= 0:
        return sample
    found = []
    for colors, mean, covariance in (
        (face, sample.face_mean, sample.face_covariance),
        (plate, sample.plate_mean, sample.plate_covariance),
    ):
        some = palette(colors, weight, sample.space)
        found.append(_rounded(_with_moments(some, mean, covariance).T))
    return replace(sample, face_palette=found[0], plate_palette=found[1])


def palette(colors: Tensor, weight: Tensor, space: str) -> Tensor:
    """(3, N) colors of a space, of equal weight, that stand for (3, n) scene-linear ones.

    Colors are halved by weight along opponent axes in a fixed order, so that the same place of two palettes
    means the same share of each and palettes of neighboring frames can be averaged. In linear light the axes are those
    of the balanced picture, so that one picture in two lights falls into the same shares.
    """
    some, shares = _even(colors, weight)
    some, shares = spaces.encode(some, space).double(), shares.double()
    total, count = shares.sum(), len(shares)
    size = torch.ones_like(some[:, :1])
    if space == "linear":
        size = (torch.mv(some, shares) / total)[:, None].abs().clamp_min(1e-6)
    turned = spaces.opponent(some / size, space)
    which = torch.arange(count, dtype=torch.int32, device=shares.device)
    ranks = [torch.empty_like(which).scatter_(0, line.argsort(stable=True), which) for line in turned]
    group = torch.zeros_like(which)
    for level, axis in enumerate(SPLITS):
        # Whole numbers are sorted ten times as fast as others.
        order = (group * count + ranks[axis][which]).argsort(stable=True)
        which, shares, group = which[order], shares[order], group[order]
        # The color in the middle of a group is shared by both halves, so that these weigh the same.
        left = (group + 0.5) * (total / 2**level) - (shares.cumsum(0) - shares)
        split = ((left > 0) & (left < shares)).nonzero().flatten()
        rest = (shares - left)[split]
        shares[split] = left[split]
        which, shares = torch.cat([which, which[split]]), torch.cat([shares, rest])
        group = torch.cat([2 * group + (left <= 0).int(), 2 * group[split] + 1])
    order = group.argsort(stable=True)
    heap = torch.cat([turned.new_zeros(3, 1), (turned[:, which] * shares)[:, order].cumsum(1)], 1)
    ends = torch.searchsorted(group[order], torch.arange(2 ** len(SPLITS) + 1).to(group))
    return spaces.from_opponent(heap[:, ends].diff() * (2 ** len(SPLITS) / total), space) * size


def _moments(colors: Tensor, weight: Tensor, total: float, space: str) -> tuple[Tensor, Tensor]:
    """Sums about a first guess of the mean, piece by piece."""
    respond = spaces.responding(space, colors)
    some, few = respond(colors[:, ::64]), weight[::64]
    guess = torch.mv(some, few) / few.sum().clamp_min(1e-12)
    squares = torch.zeros(3, 3, dtype=torch.float64, device=colors.device)
    sums = torch.zeros(3, dtype=torch.float64, device=colors.device)
    size = spaces.piece(colors)
    # Logarithms are not known to more digits than single precision keeps in a piece's sums.
    middle = guess[:, None].to(torch.float64 if space == "linear" else colors.dtype)
    for piece, share in zip(colors.split(size, 1), weight.split(size)):
        away = respond(piece) - middle
        weighed = away * share
        squares += torch.matmul(weighed, away.T)
        sums += weighed.sum(1)
    middle = sums / total
    mean, covariance = guess.double() + middle, squares / total - torch.outer(middle, middle)
    turn = spaces.turn(space)
    if turn is None:
        return mean, covariance
    turn = turn.to(mean.device)
    return turn @ mean, turn @ covariance @ turn.T


def _below(colors: Tensor, weight: Tensor, share: float) -> Tensor:
    """Which pixels are not among the brightest; the limit is read off a histogram in stops."""
    luminance = torch.matmul(colors.new_tensor(spaces.LUMINANCE), colors)
    low, high = _STOPS
    stops = luminance.clamp_min(2.0**low).log2()
    heap = _heap(stops, whole(weight), stops.new_tensor(low), stops.new_tensor((high - low) / _STEPS), _STEPS)
    target = share * heap[-1]
    found = torch.searchsorted(heap, target).clamp(max=_STEPS - 1)
    under = torch.where(found > 0, heap[found - 1], 0.0)
    part = ((target - under) / (heap[found] - under).clamp_min(1e-12)).clamp(0, 1)
    return stops <= low + (found + part) * ((high - low) / _STEPS)


def _usual(colors: Tensor, weight: Tensor, strength: float) -> Tensor:
    """1 for the usual color, falling to 0: Tukey's biweight about the median, in median deviations of what counts."""
    encoded = spaces.encode(colors, "perceptual")
    usual = torch.ones_like(weight)
    for _ in range(ROUNDS):
        shares = whole(weight * usual)
        middle = torch.stack([quantiles(row, shares, 3)[1] for row in encoded]).to(encoded)
        away = (encoded - middle[:, None]).abs()
        spread = 1.4826 * torch.stack([quantiles(row, shares, 3)[1] for row in away]).to(encoded)
        distance = (away / spread.clamp_min(_LEAST_SPREAD)[:, None]).square().amax(0)
        usual = (1 - distance * (strength / USUAL) ** 2).clamp_min(0).square()
    return usual


def whole(weight: Tensor) -> Tensor:
    """Weights as whole numbers, whose sums are the same in any order, on every device."""
    return (weight * _WHOLE).round().long()


def quantiles(values: Tensor, shares: Tensor, steps: int) -> Tensor:
    """(steps,) values of (n,), each in the middle of an even part of the whole-numbered shares."""
    mean, spread = _moments_of(values, shares)
    low, high = values.aminmax()
    low, high = low.clamp_min(mean - REACH * spread), high.clamp_max(mean + REACH * spread)
    width = ((high - low) / BINS).clamp_min(1e-12)
    heap = _heap(values, shares, low, width, BINS)
    targets = (torch.arange(steps, dtype=heap.dtype, device=heap.device) + 0.5) / steps * heap[-1]
    found = torch.searchsorted(heap, targets).clamp(max=BINS - 1)
    under = torch.where(found > 0, heap[found - 1], 0.0)
    part = ((targets - under) / (heap[found] - under).clamp_min(1e-12)).clamp(0, 1)
    return low.double() + (found + part) * width.double()


def _moments_of(values: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, near enough to say how far ranks are told apart."""
    step = max(1, len(values) // SOME)
    some, few = values[::step], shares[::step].to(values)
    total = few.sum().clamp_min(1e-12)
    mean = torch.dot(some, few) / total
    return mean, (torch.dot((some - mean).square(), few) / total).sqrt()


def _heap(values: Tensor, shares: Tensor, low: Tensor, width: Tensor, count: int) -> Tensor:
    """Running sum of (n,) shares over ``count`` bins of a width; what lies beyond falls into the first and last."""
    heap = torch.zeros(count, dtype=torch.int64, device=shares.device)
    size = spaces.piece(values)
    for piece, share in zip(values.split(size), shares.split(size)):
        heap.scatter_add_(0, ((piece - low) * (1 / width)).clamp(0, count - 1).long(), share)
    return heap.double().cumsum(0)


def _bright(colors: Tensor) -> Tensor:
    """Brightness along the opponent axis, of colors whose channels are red, green and blue."""
    return torch.mv(colors.T, colors.new_tensor(spaces.OPPONENT[0]))


def _even(colors: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """All (3, n) colors and their weights, or as many as are sorted quickly, evenly over the picture."""
    counts = weight > 0
    colors, weight = colors[:, counts], weight[counts]
    if len(weight) <= POOL:
        return colors, weight
    heap = weight.double().cumsum(0)
    targets = (torch.arange(POOL, dtype=heap.dtype, device=heap.device) + 0.5) / POOL * heap[-1]
    chosen = torch.searchsorted(heap, targets).clamp(max=colors.shape[1] - 1)
    return colors[:, chosen], torch.ones_like(weight[:POOL])


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


def _rounded(values: Tensor) -> Table:
    return Table(torch.round(values, decimals=DIGITS).tolist())
