"""Detail: how soft, smeared and grainy a plate is where a face goes, and bringing the face to it."""

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from mien.ops import grain as grains
from mien.ops import sharpness
from mien.ops.defocus import defocus, radius_like
from mien.ops.steady import smooth
from mien.types import Detail, DetailSample, Grain, Image, Matte, Series

NOTHING = DetailSample(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, grains.NONE, (0.0, 0.0, 0.0))
"""The measurement of an empty matte."""
UNMATCHED = Detail(1.0, 0.0, 0.0, 0.0, grains.NONE, (0.0, 0.0, 0.0))
"""Leaves a face as it is."""
GRAIN = ("variance", "levels", "across", "down", "colors")
"""What grain is told by, apart from how surely."""
FEWEST = 400
"""Pixels under the matte below which nothing is measured."""
LARGEST = 448
"""Pixels along the sides of the part of a face that is measured."""
EDGES = 0.9
"""Share of the pixels with less of an edge than those that tell most."""
SLACK = 2.0
"""How many times worse a blur may fit and be taken for being less: a face may be too sharp rather than too soft."""
SMEAR_SLACK = 1.15
"""The same for blur along a motion, which counts as a smear only if even then it is more than that across."""
OPEN = 1.1
"""Smears of more than this share of a motion are none: no shutter is open for longer than a frame."""
PAST = 1.35
"""How many times larger a blur seems at edges than it is: it carries their light past where they are weighed."""
GLINT = 3.0
"""Level, in units of the mean, at which pictures are held while they are measured: glints do not decide."""
EVERY = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
"""Weights of xx, xy, yy that count every direction alike."""
MARGIN = 0.03
"""Face widths inside the edge of the matte where measuring begins."""
SURE = 0.3
"""Trust below which the blur of color is taken to be that of brightness."""
FAST = 1.5
"""Pixels per frame from which on motion shows in a picture."""
LONGEST = 0.08
"""Largest standard deviation of a smear that is told, in face widths."""
TOLD = 0.44
"""Share of a smear's variance by which gradients along it soften more than those across it."""
STREAKED = 4.0
"""Pixels of smear from which on a frame tells less about the lens."""
SMEARED = 2.0
"""Pixels of smear from which on frames tell that the shutter was open: less may be edges of other directions."""
SHORTEST = 0.2
"""Share of a frame below which a shutter is not told from one that shows no smear."""
SHARPEST = 0.008
"""Largest standard deviation that a face is sharpened by, in face widths: more would be painting."""
STILL = 0.5
"""Pixels of smear that are not worth resampling a face for."""
LEAST_GRAIN = 0.02
"""Share of the plate's grain whose lack nobody sees."""
SMALLEST_DISC = 1.0
"""Radius in pixels below which a disc has no edge that pixels could show."""
LEAST_BLUR = 0.05
"""Square pixels of blur that are not worth resampling a face for."""


def measure(
    face: Image, plate: Image, around: Image, matte: Matte, motion: tuple[float, float], face_width: float
) -> DetailSample:
    """Compare a (3, H, W) face with the plate under a (1, H, W) matte.

    Args:
        face, plate: Scene-linear pictures of the same region.
        around: The plate with all of its surroundings that were read: there grain is seen best.
        matte: Where they are compared.
        motion: Pixels (x, y) that the face moves in a frame.
        face_width: In pixels.
    """
    if face.shape != plate.shape or matte.shape[-2:] != face.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (face, plate, matte))
        raise ValueError(f"face, plate and matte must cover the same region, not {shapes}")
    weight = sharpness.under(matte, MARGIN * face_width)
    if not bool(torch.isfinite(face.sum() + plate.sum())):
        weight = weight * torch.isfinite(face).all(0) * torch.isfinite(plate).all(0)
    total = float(weight.sum())
    if total < FEWEST:
        return replace(NOTHING, face_width=face_width)
    found = grains.measure(around)
    theirs = grains.share(plate, weight, found)
    share = sum(_beside(grains.share(face, weight, found), theirs)) / 3
    rows, columns = _box(weight)
    face, plate, weight = (t[..., rows, columns].nan_to_num(0.0, 0.0, 0.0) for t in (face, plate, weight))
    noise = _grain_alone(plate, found)
    speed = (motion[0] ** 2 + motion[1] ** 2) ** 0.5
    here, there = (_energies(picture, weight) for picture in (face, plate))
    grain = _energies(noise, weight, alone=True)
    across, along = _directions(motion)
    blur, trust = _softer(here, there, grain, share, 0, across, face_width, slack=SLACK)
    if blur > LEAST_BLUR:
        # What is left after that blur corrects for what depends on the face.
        soft = _energies(sharpness.blur(face, blur), weight)
        left, _ = _softer(soft, there, grain, 0.0, 0, across, face_width, slack=SLACK)
        blur = max(0.0, blur + left)
    streak = _smear(here, there, grain, share, (across, along), face_width) if speed > FAST else 0.0
    streak = streak if streak <= OPEN * speed else 0.0
    color, color_trust = _softer(here, there, grain, share, 1, EVERY, face_width)
    matched = match_blur(face, blur, color if color_trust > SURE else blur)
    return DetailSample(
        # A smear softens a little across itself too: frames with less of it tell more about the lens.
        weight=total * trust / (1 + (streak / STREAKED) ** 2),
        face_width=face_width,
        blur=blur,
        color_blur=color if color_trust > SURE else blur,
        streak=streak,
        speed=speed,
        grain=found,
        own=_beside(grains.share(matched, weight, found), theirs),
    )


def _beside(face: tuple[float, ...], plate: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of a plate's grain that a face has, beside those that the plate itself has by the same measure: under the
    matte its grain may be less than all around, and a face that is the plate lacks nothing."""
    return tuple(min(1.0, own / theirs) if theirs > 0 else own for own, theirs in zip(face, plate))


def _box(weight: Tensor) -> tuple[slice, slice]:
    """Rows and columns that hold what counts and what its blurs reach, or the middle of it where the face is large."""
    spans = []
    for axis in (1, 0):
        there = (weight[0] > 0).any(axis).nonzero().flatten()
        low, high = max(0, int(there[0]) - 12), int(there[-1]) + 13
        spare = max(0, high - low - LARGEST) // 2
        spans.append(slice(low + spare, high - spare))
    return spans[0], spans[1]


def _grain_alone(plate: Image, grain: Grain) -> Image:
    """Grain as strong as the plate's, with nothing under it."""
    if grain.weight <= 0:
        return torch.zeros_like(plate)
    level = sharpness.blur(plate, 4.0)
    return grains.lay(level, torch.ones_like(plate[:1]), grain, torch.ones_like(plate[:, :1, :1]), (0, 0), 0) - level


@dataclass(frozen=True)
class Energies:
    """Gradient energies (K, 3) of brightness and of color under blurs, in units of the picture's level."""

    lines: tuple[Tensor, Tensor]
    level: float


def _energies(picture: Image, weight: Matte, alone: bool = False) -> Energies:
    """Of a picture; of grain ``alone`` in units of light."""
    bright = sharpness.luminance(picture)
    level = 1.0
    if not alone:
        level = max(1e-6, abs(float((bright * weight).sum() / weight.sum().clamp_min(1e-6))))
    limit = torch.inf if alone else GLINT
    parts = ((part / level).clamp(-limit, limit) for part in (bright, (picture - bright)[::2]))
    weight = weight if alone else weight * sharpness.edges(bright, weight, EDGES)
    line, color = (sharpness.gradients(part, weight).cpu() for part in parts)
    return Energies((line, color), level)


def _softer(
    face: Energies,
    plate: Energies,
    grain: Energies,
    share: float,
    kind: int,
    direction: Tensor,
    face_width: float,
    most: float = sharpness.SOFTEST,
    slack: float = 1.0,
) -> tuple[float, float]:
    """``sharpness.difference`` of brightness (kind 0) or color (1) in a direction, less the grain of each."""
    noise = grain.lines[kind] @ direction
    variance, trust = sharpness.difference(
        face.lines[kind] @ direction,
        plate.lines[kind] @ direction,
        share * noise / face.level**2,
        noise / plate.level**2,
        face_width,
        most * PAST**0.5,
        slack,
    )
    return variance / PAST, trust


def _smear(
    face: Energies, plate: Energies, grain: Energies, share: float, ways: tuple[Tensor, Tensor], face_width: float
) -> float:
    """Pixels by which the plate is smeared along a motion; 0 unless the least that it may be softer along it is more
    than what it is softer across."""
    across, along = ways
    plain, _ = _softer(face, plate, grain, share, 0, across, face_width)
    best, _ = _softer(face, plate, grain, share, 0, along, face_width, LONGEST)
    least, _ = _softer(face, plate, grain, share, 0, along, face_width, LONGEST, SMEAR_SLACK)
    return (12 * (best - max(0.0, plain)) / TOLD) ** 0.5 if least > max(0.0, plain) else 0.0


def _directions(motion: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """(3,) weights of xx, xy, yy that give the energy across and along a motion; both of all where it is slow."""
    speed = (motion[0] ** 2 + motion[1] ** 2) ** 0.5
    sure = min(1.0, speed / FAST)
    x, y = (part / max(speed, 1e-6) for part in motion)
    along = torch.tensor([x * x, 2 * x * y, y * y], dtype=torch.float64)
    across = torch.tensor([y * y, -2 * x * y, x * x], dtype=torch.float64)
    return (1 - sure) * EVERY + sure * across, (1 - sure) * EVERY + sure * along


def solve(samples: Series[DetailSample], frames: float) -> Series[Detail]:
    """What each frame of a shot lacks, steady over ``frames`` (the standard deviation of the window).

    Focus may be pulled and light may change; the shutter is the same through the shot, and is read off the
    frames in which most moves.
    """
    rows = [n for n, sample in enumerate(samples.values) if sample is not None and sample.weight > 0]
    if not rows:
        return Series(samples.first, tuple(None if s is None else UNMATCHED for s in samples.values))
    known = [NOTHING if sample is None else sample for sample in samples.values]
    trust = torch.tensor([sample.weight for sample in known], dtype=torch.float64)
    sizes = torch.tensor([sample.face_width**2 for sample in known], dtype=torch.float64)
    plain = torch.tensor([[sample.blur, sample.color_blur, *sample.own] for sample in known], dtype=torch.float64)
    plain[:, :2] /= sizes[:, None]
    lines = smooth(plain, trust, frames)
    grain = smooth_grain([sample.grain for sample in known], 2 * frames)
    shutter = open_share(known)
    solved = [
        None
        if sample is None
        else Detail(
            sample.face_width,
            max(float(line[0]), -(SHARPEST**2)) * sample.face_width**2,
            float(line[1]) * sample.face_width**2,
            shutter,
            seen,
            tuple(0.0 if own > 1 - LEAST_GRAIN else 1 - max(0.0, own) for own in line[2:].tolist()),
        )
        for sample, line, seen in zip(samples.values, lines, grain)
    ]
    return Series(samples.first, tuple(solved))


def open_share(samples: list[DetailSample]) -> float:
    """The share of a frame for which the shutter is open, 0 to 1, or 0 unless the shot shows it surely.

    That of the middle frame, faster frames counting more. At least three quarters of what moves fast must be smeared,
    and the middle by pixels, since two faces have edges of different directions even in a sharp plate.
    """
    told = sorted(
        (min(1.0, sample.streak / sample.speed), sample.speed**2, sample.streak)
        for sample in samples
        if sample.weight > 0 and sample.speed > 2 * FAST
    )
    if not told:
        return 0.0
    least, _ = _reached(told, 0.25)
    middle, streak = _reached(told, 0.5)
    return middle if streak > SMEARED and middle > SHORTEST and least > middle / 2 else 0.0


def _reached(told: list[tuple[float, float, float]], part: float) -> tuple[float, float]:
    """Shutter and smear at which sorted frames reach a part of all their weight."""
    heap = list(accumulate(weight for _, weight, _ in told))
    share, _, streak = told[bisect_left(heap, part * heap[-1])]
    return share, streak


def smooth_grain(grains_seen: list[Grain], frames: float) -> list[Grain]:
    """Grain that holds steady through a shot; frames in which none was seen take that of their neighbors."""
    weight = torch.tensor([grain.weight for grain in grains_seen], dtype=torch.float64)
    if not bool((weight > 0).any()):
        return grains_seen
    steady = smooth(torch.stack([_numbers(grain) for grain in grains_seen]), weight, frames)
    return [_grain_of(row, grain) for row, grain in zip(steady, grains_seen)]


def _numbers(grain: Grain) -> Tensor:
    return torch.cat([torch.tensor(getattr(grain, name), dtype=torch.float64).flatten() for name in GRAIN])


def _grain_of(row: Tensor, like: Grain) -> Grain:
    fields = {}
    for name in GRAIN:
        shape = torch.tensor(getattr(like, name)).shape
        part, row = row[: shape.numel()], row[shape.numel() :]
        part = part.clamp_min(0) if name in ("variance", "levels") else part
        fields[name] = tuple(tuple(line) for line in part.view(shape).tolist())
    return replace(like, weight=max(like.weight, 1.0), **fields)


def own_grain(detail: Detail, image: Image) -> Tensor:
    """(3, 1, 1) standard deviation of the grain that a face has of itself, at its own level."""
    level = image.nan_to_num(0.0, 0.0, 0.0).clamp_min(0).mean((-2, -1))
    rows = [
        (share, (a + v * (b + v * c)))
        for share, (a, b, c), v in zip(detail.missing, detail.grain.variance, level.tolist())
    ]
    return image.new_tensor([max(0.0, (1 - share) * spread) ** 0.5 for share, spread in rows])[:, None, None]


def unchanged(variance: float, color_variance: float) -> bool:
    """Whether ``match_blur`` gives a face back as it is."""
    return abs(variance) <= LEAST_BLUR and color_variance - max(variance, 0.0) <= LEAST_BLUR


def match_blur(
    image: Image, variance: float, color_variance: float, floor: Tensor | float = 0.0, blades: int | None = None
) -> Image:
    """Blur or, where ``variance`` is negative, sharpen a (3, H, W) face; color is blurred further where it must be.

    Args:
        image: Scene-linear face.
        variance: Of the blur in square pixels.
        color_variance: Of the blur of color; only what it has more than ``variance`` is done.
        floor: Standard deviation of grain, which is not sharpened.
        blades: Blur through an iris of so many, below 3 a round one; by a Gaussian if left out.
    """
    result, done = image, 0.0
    if variance < -LEAST_BLUR:
        result = sharpness.sharpen(image, -variance, floor)
    elif blades is not None and radius_like(variance) >= SMALLEST_DISC:
        result = defocus(image, radius_like(variance), blades)
    elif variance > LEAST_BLUR:
        done = variance
    more = color_variance - max(variance, 0.0)
    if more <= LEAST_BLUR:
        return sharpness.blur(result, done)
    # Variances of blurs add: color is blurred once by all that it must be, and only where it is not brightness.
    return sharpness.blur_apart(result, done, more + done)
