"""Figures by which a face on a plate is judged: color under a matte, sharpness, grain."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mien.types import Image, Matte

LEAST = 64
"""Pixels inside a matte that sharpness and grain need."""
BINOMIAL = (0.25, 0.5, 0.25)
SQUARE, CALM = 8, 0.3
"""Side in pixels of the squares in which grain is looked for, and the share of them that holds no more of it."""
SECOND = (1.0, -2.0, 1.0)


def under(image: Image, matte: Matte) -> tuple[float, float, float]:
    """Mean color of a (3, H, W) picture under a (1, H, W) matte; pixels that are no finite numbers do not count."""
    weight = matte.nan_to_num(0.0)
    if not bool(torch.isfinite(image.sum())):
        sound = torch.isfinite(image).all(0, keepdim=True)
        weight, image = torch.where(sound, weight, 0.0), torch.where(sound, image, 0.0)
    # Rows are summed in single precision, and their sums in double.
    total = float(weight.sum(2).sum(dtype=torch.float64))
    if total <= 0:
        return (0.0, 0.0, 0.0)
    red, green, blue = ((image * weight).sum(2).sum(1, dtype=torch.float64) / total).tolist()
    return red, green, blue


def textures(images: Sequence[Image], matte: Matte) -> list[tuple[float, float]]:
    """Sharpness and grain of (3, H, W) scene-linear pictures inside a (1, H, W) matte; 0 where that is too small.

    Sharpness is the share of the contrast that lies in edges of a few pixels. Grain is the standard deviation of
    what changes from pixel to pixel, in roots of light over its mean, where dark and light skin hold alike: a
    second difference along both axes (Immerkaer 1996), in the calmer squares, so that edges do not count.
    """
    weight = (matte[0, 2:-2, 2:-2] > 0.9).to(images[0])
    count = float(weight.sum())
    if count < LEAST:
        return [(0.0, 0.0)] * len(images)
    gray = torch.stack([_light(image) for image in images])
    mean = _weighed(gray[:, 2:-2, 2:-2], weight) / count
    level = gray.div_(mean[:, None, None] + 3e-6).sqrt_()
    second = _along(_along(level, SECOND, -2), SECOND, -1)[:, 1:-1, 1:-1]
    spread = _summed(second.square(), SQUARE, SQUARE)[:, _summed(weight, SQUARE, SQUARE) == SQUARE**2] / SQUARE**2
    calm = spread.quantile(CALM, 1) if spread.shape[1] else spread.new_zeros(len(images))
    soft = _along(_along(level, BINOMIAL, -2), BINOMIAL, -1)
    across, down = soft[:, 1:-1, 2:] - soft[:, 1:-1, :-2], soft[:, 2:, 1:-1] - soft[:, :-2, 1:-1]
    steps = _weighed(across.square_().addcmul_(down, down), weight) / count
    soft = soft[:, 1:-1, 1:-1]
    apart = soft - (_weighed(soft, weight) / count)[:, None, None]
    contrast = _weighed(apart.square_(), weight) / (count - 1)
    found = []
    for variance, step, spread_of in zip(calm.tolist(), steps.tolist(), contrast.tolist()):
        grain = variance**0.5 / 6
        # Of white grain, a difference over two pixels of what the binomials left holds 15/64 of the variance each way.
        found.append((max(0.0, step - 2 * 15 / 64 * grain**2) ** 0.5 / (spread_of**0.5 + 1e-6), grain))
    return found


def _light(image: Image) -> Tensor:
    """(H, W) the light of a (3, H, W) picture."""
    if not bool(torch.isfinite(image.sum())):
        image = image.nan_to_num(0.0, 65504.0, 0.0)
    return image.clamp_min(0).sum(0)


def _weighed(pictures: Tensor, weight: Tensor) -> Tensor:
    """(N,) sums of (N, H, W) pictures by an (H, W) weight."""
    return (pictures * weight).sum((1, 2))


def middle(matte: Matte, side: int) -> tuple[slice, slice]:
    """Rows and columns of at most ``side`` pixels around the center of a (1, H, W) matte that is not empty."""
    spans = []
    for line in (matte[0].sum(1), matte[0].sum(0)):
        place = torch.arange(len(line), device=line.device, dtype=line.dtype)
        start = max(0, min(int((line * place).sum() / line.sum()) - side // 2, len(line) - side))
        spans.append(slice(start, start + side))
    return spans[0], spans[1]


def squares(size: Sequence[int], side: int) -> int:
    """Side of the squares that become pixels where neither side of a picture may be longer than ``side``."""
    return -(-max(size) // side)


def shrunk(picture: Tensor, factor: int) -> Tensor:
    """(C, H, W) averaged over whole squares of ``factor`` pixels; undefined values are 0.

    Of larger squares every second row counts: pictures that are looked at tell no more.
    """
    rows, columns = (min(factor, length) for length in picture.shape[-2:])
    step = 2 if rows > 2 else 1
    small = _summed(picture, rows, columns, step)
    if not bool(torch.isfinite(small.sum())):
        small = _summed(picture.nan_to_num(0.0, 65504.0, 0.0), rows, columns, step)
    return small / (-(-rows // step) * columns)


def _summed(picture: Tensor, rows: int, columns: int, step: int = 1) -> Tensor:
    """(..., H, W) summed over whole rectangles: down first, where neighbors in memory are added at once.

    Of the rows of each every ``step``-th counts.
    """
    for axis, side, every in ((-2, rows, step), (-1, columns, 1)):
        if side == 1:
            continue
        whole = picture.shape[axis] // side
        lines = picture.narrow(axis, 0, whole * side).unflatten(axis, (whole, side)).unbind(axis)[::every]
        total = lines[0] + lines[1]
        for line in lines[2:]:
            total.add_(line)
        picture = total
    return picture


def _along(picture: Tensor, taps: tuple[float, float, float], axis: int) -> Tensor:
    """(..., H, W) weighed by three taps, of which the outer are alike, along an axis, which comes back two shorter."""
    length = picture.shape[axis] - 2
    first, middle, last = (picture.narrow(axis, start, length) for start in range(3))
    return (first + last).mul_(taps[0]).add_(middle, alpha=taps[1])
