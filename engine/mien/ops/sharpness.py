"""Sharpness: how much softer one picture is than another, and making a picture softer or sharper.

Softness is told as the variance of a Gaussian blur in square pixels, because variances of blurs add. The
Gaussian is Lindeberg's discrete one, whose variance is exact down to nothing (Lindeberg 1990).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops.bands import bands
from mien.types import Image, Matte

OCTAVES = 4
"""How often pictures are halved while they are measured."""
VARIANCES = (0.0, 0.5, 1.0, *(s * 4.0**octave for octave in range(OCTAVES) for s in (2.0, 4.0)))
"""Blurs under which gradients are measured, in square pixels; the last two of every octave, from 2 on."""
PREPARED = 1.0
"""Variance, in pixels of the finer level, that is taken off before a picture is halved."""
NEARBY = 1.0
"""Variance in square pixels beyond which blurs tell less and less of a lens."""
FINEST = 1.0 / 3.0
"""Variance that a central difference adds of itself."""
FURTHEST = 0.06
"""Largest blur whose gradients are measured, in face widths."""
SOFTEST = 0.03
"""Largest standard deviation that a match blurs or sharpens by, in face widths."""
COARSE = 4.0
"""Variance in square pixels of the blur under which edges are looked for."""
SEEN = 100_000
"""Pixels of which quantiles are taken."""
PASSES = 3
"""Rounds of sharpening: the finest detail is raised at most fourfold."""
LUMINANCE = (0.2722, 0.6741, 0.0537)
BAND = 0.15
"""Share of a band's pixels: what is done to each is little, and rows beside a band are read for its blur alone."""


def luminance(image: Image) -> Tensor:
    """(1, H, W) brightness of a (3, H, W) picture."""
    red, green, blue = LUMINANCE
    return (image[:1] * red).add_(image[1:2], alpha=green).add_(image[2:], alpha=blue)


@lru_cache(maxsize=256)
def taps(variance: float) -> tuple[float, ...]:
    """The discrete Gaussian of a variance in square pixels, cut where a tap is less than 1e-4; its variance stays."""
    if variance <= 0:
        return (1.0,)
    angle = torch.arange(4096, dtype=torch.float64) * (2 * math.pi / 4096)
    line = torch.fft.irfft(torch.exp(-variance * (1 - angle[:2049].cos())).to(torch.complex128), 4096)
    radius = max(1, int((line[:2048] > 1e-4).sum()) - 1)
    half = line[: radius + 1].clone()
    half[radius] += (line[radius + 1 : 2048] * torch.arange(radius + 1, 2048).square()).sum() / radius**2
    half[0] = 1 - 2 * half[1:].sum()
    return tuple(half.flip(0).tolist()) + tuple(half[1:].tolist())


def blur(image: Tensor, variance: float) -> Tensor:
    """Blur (..., C, H, W) by a Gaussian of a variance in square pixels; edges repeat.

    inf and NaN stay and do not spread. A variance of 0 gives the picture itself.
    """
    if variance <= 0:
        return image
    # A sum is not finite as soon as one of its parts is not.
    if not bool(torch.isfinite(image.sum())):
        sound = torch.isfinite(image)
        return torch.where(sound, _around(image, sound, variance), image)
    return _convolve(image, taps(variance))


def blur_apart(image: Image, variance: float, color_variance: float) -> Image:
    """Blur the brightness of a (3, H, W) picture by one Gaussian and its color by another; edges repeat.

    Pixels that are not finite stay and do not spread.

    Args:
        image: Scene-linear picture.
        variance, color_variance: In square pixels.
    """
    lines = taps(variance), taps(color_variance)
    if bool(torch.isfinite(image.sum())):
        return _convolve_apart(image, *lines)
    sound = torch.isfinite(image).all(-3, keepdim=True)
    filled = torch.where(sound, image, _around(image, sound, color_variance))
    return torch.where(sound, _convolve_apart(filled, *lines), image)


def _around(image: Tensor, sound: Tensor, variance: float) -> Tensor:
    """The blur of those pixels of a picture alone that are sound; 0 far from all of them."""
    share = _convolve(sound.to(image.dtype), taps(variance))
    return _convolve(torch.where(sound, image, 0.0), taps(variance)) / share.clamp_min(1e-6)


def _convolve(image: Tensor, line: Sequence[float]) -> Tensor:
    """Weigh (..., H, W) by a symmetric line of taps along both axes, in pieces that stay in a processor's cache."""
    planes = image.reshape(-1, *image.shape[-2:])
    weighed = torch.empty_like(planes)
    for number in range(len(planes)):
        plane, result = planes[number : number + 1], weighed[number : number + 1]
        for rows in bands(plane, BAND):
            near = _near(rows, len(line) // 2, plane)
            around, inside = _framed(plane[:, near], line)
            inside.copy_(plane[:, near])
            result[:, rows] = _both_ways(around, rows, near, line)
    return weighed.view(image.shape)


def _convolve_apart(image: Image, line: Sequence[float], color_line: Sequence[float]) -> Image:
    """Weigh the brightness of a (3, H, W) picture by one line of taps, and its color by another."""
    result = torch.empty_like(image, memory_format=torch.contiguous_format)
    red, green, blue = LUMINANCE
    for rows in bands(image, BAND):
        near = _near(rows, max(len(line), len(color_line)) // 2, image)
        picture, there = image[:, near], result[:, rows]
        around, bright = _framed(picture[:1], line)
        torch.mul(picture[:1], red, out=bright).add_(picture[1:2], alpha=green).add_(picture[2:], alpha=blue)
        color_around, color = _framed(picture[::2], color_line)
        torch.sub(picture[::2], bright, out=color)
        soft, tint = _both_ways(around, rows, near, line), _both_ways(color_around, rows, near, color_line)
        torch.add(tint, soft, out=there[::2])
        # Color has no brightness of its own: two of its channels tell the third.
        torch.add(soft, tint[:1], alpha=-red / green, out=there[1:2]).add_(tint[1:], alpha=-blue / green)
    return result


def _near(rows: slice, radius: int, picture: Tensor) -> slice:
    """The rows of a picture that are as near as that to some."""
    return slice(max(0, rows.start - radius), min(picture.shape[-2], rows.stop + radius))


def _framed(like: Tensor, line: Sequence[float]) -> tuple[Tensor, Tensor]:
    """(h, C, W + 2 r) room for (C, h, W) rows and what a line of taps reaches beside them, and the rows in it."""
    planes, height, width = like.shape
    radius = len(line) // 2
    around = like.new_empty(height, planes, width + 2 * radius)
    return around, around[..., radius : radius + width].movedim(1, 0)


def _both_ways(around: Tensor, rows: slice, near: slice, line: Sequence[float]) -> Tensor:
    """Weigh framed rows ``near`` along both axes: (C, h, W) of those ``rows`` alone. Edges repeat."""
    radius, (_, planes, wide) = len(line) // 2, around.shape
    around[..., :radius] = around[..., radius : radius + 1]
    around[..., wide - radius :] = around[..., wide - radius - 1 : wide - radius]
    height = rows.stop - rows.start
    taken, weights = _taken(rows.start - near.start, height, len(around), tuple(line), around.dtype, around.device)
    # Sums of whole rows, each read once from the cache for each tap and written once.
    down = F.embedding_bag(taken, around.flatten(1), per_sample_weights=weights, mode="sum").view(-1)
    # Laid out one after the other, all pixels are a single line; what runs over from row to row is left out.
    length = len(down) - 2 * radius
    total = down[radius : radius + length] * line[radius]
    for reach in range(1, radius + 1):
        for start in (radius - reach, radius + reach):
            total.add_(down[start : start + length], alpha=line[radius + reach])
    return total.as_strided((planes, height, wide - 2 * radius), (wide, planes * wide, 1))


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _taken(
    first: int, count: int, height: int, line: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(count, taps) which of some rows are summed to each from the ``first`` on, and their weights."""
    radius = len(line) // 2
    taken = torch.arange(first, first + count)[:, None] + torch.arange(-radius, radius + 1)
    weights = torch.tensor(line, dtype=dtype).repeat(count, 1)
    return taken.clamp_(0, height - 1).to(device), weights.to(device)


def sharpen(image: Image, variance: float, floor: Tensor | float = 0.0) -> Image:
    """Undo a Gaussian blur of a variance in square pixels on (..., C, H, W) as far as that is safe.

    Van Cittert's rounds raise what the blur took, the finest detail at most fourfold; nothing becomes brighter
    or darker than what lies within the blur's reach, so that HDR edges do not ring. Detail fainter than
    ``floor`` (its standard deviation as grain) is left as it is.
    """
    if variance <= 0:
        return image
    sound = torch.isfinite(image)
    known = image if bool(sound.all()) else torch.where(sound, image, 0.0)
    line = taps(variance)
    restored = known
    for _ in range(PASSES):
        restored = restored + (known - _convolve(restored, line))
    radius = max(1, math.ceil(math.sqrt(variance)))
    high, low = (_farthest(known, radius, which) for which in (torch.maximum, torch.minimum))
    added = torch.minimum(torch.maximum(restored, low), high) - known
    if not isinstance(floor, float) or floor > 0:
        strength = added.square()
        added = added * (strength / (strength + (2 * torch.as_tensor(floor).to(image)).square()).clamp_min(1e-30))
    return torch.where(sound, known + added, image)


def _farthest(image: Tensor, radius: int, which: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The largest or smallest of the square of neighbors around each pixel of (..., H, W)."""
    planes = image.reshape(-1, 1, *image.shape[-2:])
    padded = F.pad(planes, (radius,) * 4, mode="replicate")
    return _within(padded.view(*image.shape[:-2], *padded.shape[-2:]), radius, which)


def _within(padded: Tensor, radius: int, which: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The same of a picture that is ``radius`` pixels larger all around, by doubling the square's side."""
    found = padded
    for axis in (-2, -1):
        seen, side = 1, 2 * radius + 1
        while seen < side:
            step = min(seen, side - seen)
            length = found.shape[axis] - step
            found = which(found.narrow(axis, 0, length), found.narrow(axis, step, length))
            seen += step
    return found


def edges(picture: Tensor, weight: Tensor, share: float) -> Tensor:
    """(1, H, W) 1 around the strongest edges of a (1, H, W) picture, toward 0 where it is smooth or merely textured.

    Lids, lips and brows are edges in every face, while wrinkles and pores are some people's, and the first that a
    codec takes away. ``share`` is that of the pixels under the ``weight`` with a weaker edge than half of one.
    """
    broad = blur(picture, COARSE)
    x = F.pad(broad[..., 2:] - broad[..., :-2], (1, 1, 0, 0), mode="replicate")
    y = F.pad(broad[:, 2:] - broad[:, :-2], (0, 0, 1, 1), mode="replicate")
    strength = x.square() + y.square()
    seen = strength[weight > 0.5]
    if len(seen) < 2:
        return torch.ones_like(strength)
    usual = torch.quantile(seen[:: 1 + len(seen) // SEEN], share).clamp_min(1e-30)
    clear = (strength / usual).square()
    return clear / (1 + clear)


def gradients(picture: Tensor, weight: Tensor) -> Tensor:
    """(K, 3) mean products xx, xy, yy of the gradients of a (C, H, W) picture under the ``VARIANCES`` of blur.

    ``weight`` is (1, H, W). Gradients are per pixel of the picture at every scale.
    """
    rows = []
    base, step = 0.0, 1.0
    for octave in range(OCTAVES):
        wanted = [0.0, 0.5, 1.0, 2.0, 4.0] if octave == 0 else [2.0, 4.0]
        done, soft = base, picture
        for variance in wanted:
            soft = blur(soft, variance - done)
            done = max(done, variance)
            rows.append(_products(soft, weight) / step**2)
        if octave + 1 < OCTAVES:
            if min(picture.shape[-2:]) < 16:
                rows += [rows[-1].new_zeros(3)] * (len(VARIANCES) - len(rows))
                break
            picture = F.avg_pool2d(blur(picture, PREPARED - base), 2)
            weight = F.avg_pool2d(weight, 2)
            # The mean of two by two pixels is itself a blur of variance 1/4.
            base, step = (PREPARED + 0.25) / 4, step * 2
    return torch.stack(rows)


def _products(picture: Tensor, weight: Tensor) -> Tensor:
    x = picture[:, 1:-1, 2:] - picture[:, 1:-1, :-2]
    y = picture[:, 2:, 1:-1] - picture[:, :-2, 1:-1]
    inner = weight[:, 1:-1, 1:-1]
    total = 4 * inner.sum(dtype=torch.float64).clamp_min(1e-12)
    # Rows are summed in single precision, and their sums in double.
    sums = [((a * b) * inner).sum(-1).sum(dtype=torch.float64) for a, b in ((x, x), (x, y), (y, y))]
    return torch.stack(sums) / total


def difference(
    face: Tensor,
    plate: Tensor,
    face_noise: Tensor,
    plate_noise: Tensor,
    face_width: float,
    most: float = SOFTEST,
    slack: float = 1.0,
) -> tuple[float, float]:
    """Variance of the blur that makes a face as soft as the plate, and how sure that is (0 to 1).

    Args:
        face, plate: (K,) gradient energies under the ``VARIANCES`` of blur.
        face_noise, plate_noise: (K,) what grain alone contributes to them.
        face_width: In pixels.
        most: Largest standard deviation of the blur, either way, in face widths.
        slack: How many times worse than the best a blur may fit and still be as likely; of those the least is taken.

    The blur of variance d turns the energies at s into those at s + d, by the semigroup of Gaussians; d is what
    best lays one curve over the other, whatever their contrast. Where it is negative the plate is the sharper.
    """
    used = [k for k, s in enumerate(VARIANCES) if k < 3 or s <= (FURTHEST * face_width) ** 2 + 4]
    seen = [line[used].double().cpu() for line in (face, plate)]
    noises = [line[used].double().cpu() for line in (face_noise, plate_noise)]
    place = torch.tensor([VARIANCES[k] + FINEST for k in used], dtype=torch.float64)
    clear = [(signal - noise).clamp_min(0.02 * signal) for signal, noise in zip(seen, noises)]
    if not all(bool((signal > 0).all()) for signal in clear):
        return 0.0, 0.0
    doubt = [noise / signal for noise, signal in zip(noises, clear)]
    trust = 1 / (1 + (3 * doubt[0]) ** 2) / (1 + (3 * doubt[1]) ** 2)
    # Coarse contrast is a matter of features and light, not of the lens.
    sure = trust
    trust = trust / (1 + place / NEARBY)
    logs = [signal.log() for signal in clear]
    steps = torch.linspace(0, 1, 121, dtype=torch.float64).square() * (most * face_width) ** 2
    softer = _misfits(place, logs[1], logs[0], trust, steps)
    sharper = _misfits(place, logs[0], logs[1], trust, steps[1:])
    shifts, misfits = torch.cat([steps, -steps[1:]]), torch.cat([softer, sharper])
    # Faces whose edges differ in kind, as rims of spectacles and lids do, fit nowhere well.
    good = shifts[misfits <= slack * misfits.amin()]
    return float(good[good.abs().argmin()]), float(sure[:4].mean())


def _misfits(places: Tensor, goal: Tensor, line: Tensor, trust: Tensor, shifts: Tensor) -> Tensor:
    """How far a (K,) ``line``, read each of (D,) ``shifts`` further on, is from the ``goal`` but for a factor; (D,)."""
    at, known = (places + shifts[:, None]).log(), places.log()
    right = torch.searchsorted(known, at).clamp(1, len(known) - 1)
    left = right - 1
    share = (at - known[left]) / (known[right] - known[left])
    apart = goal - (line[left] + share * (line[right] - line[left]))
    total = trust.sum().clamp_min(1e-9)
    # The face already has the plate's contrast or nearly: a factor far from 1 costs.
    factor = (apart @ trust) / (total + 0.1)
    return (apart - factor[:, None]).abs() @ trust / total + 0.005 * factor.abs()


def under(matte: Matte, size: float) -> Matte:
    """The part of a (1, H, W) matte that lies at least ``size`` pixels inside its edge, soft."""
    radius = max(1, round(size))
    # Bytes; what lies beyond the picture takes nothing away. The side of the square doubles with each step.
    inner = F.pad((matte > 0.5).to(torch.uint8), (radius,) * 4, value=1)
    return _within(inner, radius, torch.minimum) * matte
