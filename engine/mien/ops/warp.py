"""Resampling: between plate and crop, or through any map of coordinates.

Positions are (x, y) in pixels from the outer corner of a picture's top-left pixel, so that pixel centers
lie at half numbers. Enlarging interpolates with Keys' cubic (Catmull-Rom, a = -0.5; Keys 1981); shrinking
stretches the same kernel over the area that a result pixel covers, so that nothing aliases. What lies
outside a picture is its nearest edge pixel; multiply by ``inside`` where it should be nothing. Whole-pixel
moves copy values bit for bit.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.types import Image, Matrix, Matte, Points

LONGEST = 8
"""How many times longer than wide the area of one result pixel may be before its short side is widened."""
HALVES = (-6 / 256, -18 / 256, 58 / 256, 222 / 256)
"""Keys' cubic stretched by two, at 1.75, 1.25, 0.75 and 0.25, times two."""
RADII = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Reach of the kernel in pixels, to either side, that pixels are grouped by."""
AT_ONCE = 1 << 19
"""Kernel taps that are weighed at once; keeps the work inside the processor's cache."""


def positions(size: tuple[int, int], corner: tuple[int, int] = (0, 0), like: Tensor | None = None) -> Tensor:
    """(height, width, 2) pixel centers of a picture of ``size`` (height, width) at ``corner`` (x, y)."""
    height, width = size
    device = None if like is None else like.device
    x = torch.arange(width, device=device, dtype=torch.float32) + (corner[0] + 0.5)
    y = torch.arange(height, device=device, dtype=torch.float32) + (corner[1] + 0.5)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def transform(points: Points, matrix: Matrix) -> Points:
    """Carry (..., N, D) positions through (..., D + 1, D + 1) matrices, perspective included."""
    if matrix.shape[-1] != points.shape[-1] + 1:
        raise ValueError(f"{tuple(points.shape)} points need matrices one larger, not {tuple(matrix.shape)}")
    carried = points @ matrix[..., :-1, :-1].mT + matrix[..., None, :-1, -1]
    last = points @ matrix[..., -1:, :-1].mT + matrix[..., None, -1:, -1]
    return carried / last


def warp(image: Image, matrix: Matrix, size: tuple[int, int]) -> Image:
    """Resample (..., C, H, W) pictures into ``size`` (height, width).

    ``matrix`` (..., 3, 3) carries positions of the picture to positions of the result.
    """
    _check(image)
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"a (..., 3, 3) matrix is needed, not {tuple(matrix.shape)}")
    back = torch.linalg.inv(matrix.double())
    lead = torch.broadcast_tensors(image[..., 0, 0, 0], matrix[..., 0, 0])[0].shape
    flat = image.expand(*lead, *image.shape[-3:]).reshape(-1, *image.shape[-3:])
    each = [
        _warp(one, inverse, size) for one, inverse in zip(flat, back.expand(*lead, 3, 3).reshape(-1, 3, 3))
    ]
    return torch.stack(each).view(*lead, image.shape[-3], *size)


def sample(image: Image, coordinates: Tensor) -> Image:
    """Resample (..., C, H, W) pictures at (..., h, w, 2) positions, area-filtered where the map shrinks.

    The area of each result pixel is read off its neighbors in the map, on the smoother side where the map
    tears. Positions that are NaN give NaN.
    """
    _check(image)
    if coordinates.shape[-1] != 2 or coordinates.dim() < 3:
        raise ValueError(f"coordinates must be (..., h, w, 2), not {tuple(coordinates.shape)}")
    lead = torch.broadcast_tensors(image[..., 0, 0, 0], coordinates[..., 0, 0, 0])[0].shape
    size = (coordinates.shape[-3], coordinates.shape[-2])
    flat = image.expand(*lead, *image.shape[-3:]).reshape(-1, *image.shape[-3:])
    maps = coordinates.expand(*lead, *coordinates.shape[-3:]).reshape(-1, *coordinates.shape[-3:])
    each = [_sample(one, there) for one, there in zip(flat, maps)]
    return torch.stack(each).view(*lead, image.shape[-3], *size)


def inside(coordinates: Tensor, size: tuple[int, int]) -> Matte:
    """How much of each pixel of an (..., h, w, 2) map lies in a picture of ``size`` (height, width)."""
    extent = coordinates.new_tensor([size[1], size[0]])
    reach = torch.stack(_stretch(coordinates), -1)
    near = (coordinates / reach + 0.5).clamp(0, 1)
    far = ((extent - coordinates) / reach + 0.5).clamp(0, 1)
    return (near * far).prod(-1).nan_to_num(0.0).unsqueeze(-3)


def footprint(matrix: Matrix, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a crop of ``size`` (height, width) lies on the plate: whole-pixel corner (x, y) and size there.

    ``matrix`` (3, 3) carries plate positions to crop positions.
    """
    height, width = size
    corners = torch.tensor([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]], dtype=torch.float64)
    there = transform(corners, torch.linalg.inv(matrix.double()).cpu())
    return bounds(there)


def bounds(points: Points, margin: float = 0.0) -> tuple[tuple[int, int], tuple[int, int]]:
    """The smallest whole-pixel region, corner (x, y) and size (height, width), that holds (N, 2+) points."""
    low = (points[:, :2].amin(0) - margin).floor().long().tolist()
    high = (points[:, :2].amax(0) + margin).ceil().long().tolist()
    return (low[0], low[1]), (high[1] - low[1], high[0] - low[0])


def _check(image: Tensor) -> None:
    if image.dim() < 3 or 0 in image.shape[-2:]:
        raise ValueError(f"a picture must be (..., C, H, W) with pixels in it, not {tuple(image.shape)}")


def _warp(image: Tensor, inverse: Tensor, size: tuple[int, int]) -> Tensor:
    (a, b, tx), (c, d, ty), (g, h, i) = inverse.tolist()
    if g or h:
        return _sample(image, transform(positions(size, like=image).double(), inverse).float())
    a, b, tx, c, d, ty = (value / i for value in (a, b, tx, c, d, ty))
    if (a, b, c, d) == (1.0, 0.0, 0.0, 1.0) and tx.is_integer() and ty.is_integer():
        return _move(image, int(tx), int(ty), size)
    x = torch.arange(size[1], device=image.device, dtype=torch.float64) + 0.5
    y = torch.arange(size[0], device=image.device, dtype=torch.float64)[:, None] + 0.5
    u, v = (a * x + (b * y + tx)).float(), (c * x + (d * y + ty)).float()
    return _resample(image, u, v, max(1.0, math.hypot(a, b)), max(1.0, math.hypot(c, d)))


def _sample(image: Tensor, coordinates: Tensor) -> Tensor:
    height, width = coordinates.shape[:2]
    if not height or not width:
        return image.new_empty(image.shape[0], height, width)
    there = coordinates.float()
    first = (there[0, 0] - 0.5).tolist()
    if all(math.isfinite(value) and value.is_integer() for value in first):
        corner = (int(first[0]), int(first[1]))
        if torch.equal(there, positions((height, width), corner, there)):
            return _move(image, *corner, (height, width))
    whole = bool(torch.isfinite(there).all())
    sound = there if whole else there.nan_to_num(0.0)
    stretch_x, stretch_y = _stretch(sound)
    u, v = sound.unbind(-1)
    result = _resample(image, u, v, stretch_x, stretch_y)
    return result if whole else torch.where(there.isnan().any(-1), torch.nan, result)


def _move(image: Tensor, x: int, y: int, size: tuple[int, int]) -> Tensor:
    """The part of a picture at a whole-pixel corner, its edge pixels repeated outside."""
    height, width = image.shape[-2:]
    if x >= 0 and y >= 0 and x + size[1] <= width and y + size[0] <= height:
        return image[..., y : y + size[0], x : x + size[1]].clone()
    rows = torch.arange(y, y + size[0], device=image.device).clamp(0, height - 1)
    columns = torch.arange(x, x + size[1], device=image.device).clamp(0, width - 1)
    return image.index_select(-2, rows).index_select(-1, columns)


def _stretch(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """How many source pixels along x and along y one step in the map covers, at least 1."""
    across, down = (_steps(coordinates, axis) for axis in (-2, -3))
    reach = (across.square() + down.square()).sqrt().clamp_min(1.0)
    # Rounding of positions must not cost a pixel of an unscaled map its shorter kernel.
    reach = torch.where(reach < 1.01, 1.0, reach)
    x, y = reach.unbind(-1)
    return x, y


def _steps(coordinates: Tensor, axis: int) -> Tensor:
    step = coordinates.diff(dim=axis).abs()
    count = step.shape[axis]
    if count == 0:
        return torch.zeros_like(coordinates)
    before = torch.cat([step.narrow(axis, 0, 1), step], axis)
    after = torch.cat([step, step.narrow(axis, count - 1, 1)], axis)
    return torch.minimum(before, after)


def _resample(
    image: Tensor, u: Tensor, v: Tensor, stretch_x: Tensor | float, stretch_y: Tensor | float
) -> Tensor:
    """Resample a (C, H, W) picture at (h, w) positions; the area of each result pixel is given in pixels."""
    shape = u.shape
    channels, height, width = image.shape
    u, v = u.reshape(-1).clamp(-1e6, 1e6), v.reshape(-1).clamp(-1e6, 1e6)
    if isinstance(stretch_x, Tensor):
        wide, tall = stretch_x.reshape(-1), torch.as_tensor(stretch_y).reshape(-1)
        short = torch.maximum(torch.minimum(wide, tall), torch.maximum(wide, tall) / LONGEST)
        level = short.clamp(1, 1 << 20).log2().floor().to(torch.int64)
        kind = (level * 64 + _radius(wide, level)) * 64 + _radius(tall, level)
        kinds = torch.unique(kind).tolist()
    else:
        wide, tall = u.new_tensor(stretch_x), u.new_tensor(stretch_y)
        short = torch.maximum(torch.minimum(wide, tall), torch.maximum(wide, tall) / LONGEST)
        level = short.clamp(1, 1 << 20).log2().floor().to(torch.int64)
        kind = (level * 64 + _radius(wide, level)) * 64 + _radius(tall, level)
        kinds = [int(kind)]
    coarsest = max(kinds) >> 12
    longest = max(float(wide.max()), float(tall.max()))
    margin = (2 * RADII[-1] + 2) << coarsest if coarsest else int(2 * longest) + 3
    left, right = _span(u, width, margin, coarsest)
    top, bottom = _span(v, height, margin, coarsest)
    part = image[:, top:bottom, left:right].float()
    result = u.new_empty(len(u), channels)
    for level_now in range(coarsest + 1):
        rows = part.permute(1, 2, 0).contiguous()
        for name in [name for name in kinds if name >> 12 == level_now]:
            radius_x, radius_y = name >> 6 & 63, name & 63
            if len(kinds) == 1:
                chosen: Tensor | slice = slice(None)
            else:
                chosen = (kind == name).nonzero().squeeze(1)
            step = 1 << level_now
            result[chosen] = _weigh(
                rows,
                (u[chosen] - left) / step,
                (v[chosen] - top) / step,
                (wide if wide.dim() == 0 else wide[chosen]) / step,
                (tall if tall.dim() == 0 else tall[chosen]) / step,
                radius_x,
                radius_y,
            )
        if level_now < coarsest:
            part = _halve(_halve(part, -1), -2)
    return result.T.reshape(channels, *shape)


def _radius(stretch: Tensor, level: Tensor) -> Tensor:
    """The kernel's reach in whole pixels at a level of the pyramid, one of ``RADII``."""
    reach = 2 * (stretch / torch.exp2(level.to(stretch.dtype))).clamp(1, RADII[-1] / 2)
    radii = torch.tensor(RADII, device=stretch.device)
    return radii[torch.searchsorted(radii.to(stretch.dtype), reach)]


def _span(along: Tensor, length: int, margin: int, level: int) -> tuple[int, int]:
    """First and last pixel that positions read, on the grid of the coarsest level."""
    step = 1 << level
    low, high = (int(value) for value in torch.stack(along.aminmax()).tolist())
    first = min(max(low - margin, 0), length - 1) // step * step
    last = -(-min(max(high + margin, first + 1), length) // step) * step
    return first, min(last, length)


def _halve(image: Tensor, axis: int) -> Tensor:
    """Shrink one axis to half, rounded up."""
    length = image.shape[axis]
    count = (length + 1) // 2
    index = torch.arange(-3, 2 * count + 3, device=image.device).clamp(0, length - 1)
    padded = image.index_select(axis, index)
    weights = (*HALVES, *reversed(HALVES))
    taps = (
        weight / 2 * padded.narrow(axis, tap, 2 * count - 1)[_every_other(image.dim(), axis)]
        for tap, weight in enumerate(weights)
    )
    total = next(taps)
    for tap in taps:
        total = total + tap
    return total


def _every_other(dimensions: int, axis: int) -> tuple[slice, ...]:
    return tuple(slice(None, None, 2 if n == axis % dimensions else None) for n in range(dimensions))


def _weigh(
    rows: Tensor, u: Tensor, v: Tensor, wide: Tensor, tall: Tensor, radius_x: int, radius_y: int
) -> Tensor:
    """Weighted sums over the kernel around (n,) positions in an (H, W, C) picture."""
    height, width, channels = rows.shape
    table = rows.view(-1, channels)
    count = max(1, AT_ONCE // (4 * radius_x * radius_y))
    result = u.new_empty(len(u), channels)
    for start in range(0, len(u), count):
        part = slice(start, start + count)
        x, across = _taps(u[part], wide if wide.dim() == 0 else wide[part], radius_x)
        y, down = _taps(v[part], tall if tall.dim() == 0 else tall[part], radius_y)
        index = (y.clamp(0, height - 1) * width)[:, :, None] + x.clamp(0, width - 1)[:, None, :]
        weight = down[:, :, None] * across[:, None, :]
        result[part] = F.embedding_bag(
            index.flatten(1), table, per_sample_weights=weight.flatten(1), mode="sum"
        )
    return result


def _taps(along: Tensor, stretch: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Pixels around each position, and what each counts; (n, 2 * radius) both."""
    base = (along - 0.5).floor()
    offsets = torch.arange(1 - radius, radius + 1, device=along.device, dtype=along.dtype)
    index = (base.to(torch.int32)[:, None] + offsets.to(torch.int32)).to(torch.int32)
    if radius == 2:
        t = along - 0.5 - base
        weights = (
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
        return index, torch.stack(weights, 1)
    scale = stretch if stretch.dim() == 0 else stretch[:, None]
    d = ((offsets - (along - 0.5 - base)[:, None]) / scale).abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    weight = torch.where(d < 1, near, torch.where(d < 2, far, 0.0))
    return index, weight / weight.sum(1, keepdim=True)
