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
ENLARGED = (0, 2, 2)
"""Level and reaches of pixels that no map shrinks."""
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
    each = [_warp(one, inverse, size) for one, inverse in zip(flat, back.expand(*lead, 3, 3).reshape(-1, 3, 3))]
    return (each[0][None] if len(each) == 1 else torch.stack(each)).view(*lead, image.shape[-3], *size)


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
    return (each[0][None] if len(each) == 1 else torch.stack(each)).view(*lead, image.shape[-3], *size)


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
        return _sample(image, transform(positions(size, like=image).double(), inverse.to(image.device)).float())
    a, b, tx, c, d, ty = (value / i for value in (a, b, tx, c, d, ty))
    if (a, b, c, d) == (1.0, 0.0, 0.0, 1.0) and tx.is_integer() and ty.is_integer():
        return _move(image, int(tx), int(ty), size)
    x = torch.arange(size[1], device=image.device, dtype=torch.float64) + 0.5
    y = torch.arange(size[0], device=image.device, dtype=torch.float64)[:, None] + 0.5
    u, v = (a * x + (b * y + tx)).float(), (c * x + (d * y + ty)).float()
    reach = [1.0 if span < 1.01 else span for span in (math.hypot(a, b), math.hypot(c, d))]
    return _resample(image, u, v, *reach)


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


def _resample(image: Tensor, u: Tensor, v: Tensor, stretch_x: Tensor | float, stretch_y: Tensor | float) -> Tensor:
    """Resample a (C, H, W) picture at (h, w) positions; the area of each result pixel is given in pixels."""
    shape = u.shape
    channels, height, width = image.shape
    u, v = u.reshape(-1).clamp(-1e6, 1e6), v.reshape(-1).clamp(-1e6, 1e6)
    wide = torch.as_tensor(stretch_x, dtype=u.dtype, device=u.device).reshape(-1)
    tall = torch.as_tensor(stretch_y, dtype=u.dtype, device=u.device).reshape(-1)
    kind, kinds = _kinds(wide, tall)
    coarsest = max(level for level, _, _ in kinds)
    margin = max(max(across, down) + 1 << level for level, across, down in kinds) + (4 << coarsest)
    left, right = _span(u, width, margin, coarsest)
    top, bottom = _span(v, height, margin, coarsest)
    part = image[:, top:bottom, left:right].float()
    if kinds == [ENLARGED]:
        return _keys(part, u - left, v - top).view(channels, *shape)
    result = u.new_empty(len(u), channels)
    for level in range(coarsest + 1):
        step = 1 << level
        for number, (_, across, down) in ((n, k) for n, k in enumerate(kinds) if k[0] == level):
            chosen = slice(None) if len(kinds) == 1 else (kind == number).nonzero().squeeze(1)
            one = slice(None) if len(wide) == 1 else chosen
            if (level, across, down) == ENLARGED:
                result[chosen] = _keys(part, u[chosen] - left, v[chosen] - top).mT
                continue
            result[chosen] = _weigh(
                part,
                (u[chosen] - left) / step,
                (v[chosen] - top) / step,
                wide[one] / step,
                tall[one] / step,
                (across, down),
            )
        if level < coarsest:
            part = _halve(_halve(part.mT).mT)
    return result.T.reshape(channels, *shape)


def _kinds(wide: Tensor, tall: Tensor) -> tuple[Tensor, list[tuple[int, int, int]]]:
    """Groups of pixels that share a level of the pyramid and a reach along x and y; each pixel's group."""
    if float(wide.max()) <= 1 and float(tall.max()) <= 1:
        return wide.new_zeros(1, dtype=torch.long), [ENLARGED]
    long = torch.maximum(wide, tall)
    short = torch.maximum(torch.minimum(wide, tall), long / LONGEST).clamp(1, 1 << 20)
    level = torch.frexp(short).exponent.long() - 1
    shrink = torch.exp2(-level.to(wide.dtype))
    steps = torch.tensor([next(n for n, r in enumerate(RADII) if r >= at) for at in range(RADII[-1] + 1)])
    steps = steps.to(wide.device)
    across, down = (steps[(2 * stretch * shrink).ceil().clamp(2, RADII[-1]).long()] for stretch in (wide, tall))
    count = len(RADII)
    name = (level * count + across) * count + down
    found = torch.bincount(name).nonzero().squeeze(1)
    number = torch.zeros(int(name.max()) + 1, dtype=torch.long, device=wide.device)
    number[found] = torch.arange(len(found), device=wide.device)
    kinds = [(n // count**2, RADII[n // count % count], RADII[n % count]) for n in found.tolist()]
    return number[name], kinds


def _span(along: Tensor, length: int, margin: int, level: int) -> tuple[int, int]:
    """First and last pixel that positions read, on the grid of the coarsest level."""
    step = 1 << level
    low, high = (int(value) for value in torch.stack(along.aminmax()).tolist())
    first = min(max(low - margin, 0), length - 1) // step * step
    last = -(-min(max(high + margin, first + 1), length) // step) * step
    return first, min(last, length)


def _halve(image: Tensor) -> Tensor:
    """Shrink the last axis to half, rounded up."""
    count = (image.shape[-1] + 1) // 2
    padded = _padded(image, 3, 3 + 2 * count - image.shape[-1])
    even, odd = padded[..., ::2].contiguous(), padded[..., 1::2].contiguous()
    total = torch.zeros_like(even[..., :count])
    for tap, weight in enumerate((*HALVES, *reversed(HALVES))):
        source = odd if tap % 2 else even
        total = total.add(source[..., tap // 2 : tap // 2 + count], alpha=weight / 2)
    return total


def _padded(image: Tensor, before: int, after: int) -> Tensor:
    """The picture with the ends of its last axis repeated."""
    first, last = image[..., :1], image[..., -1:]
    return torch.cat([first.expand(*first.shape[:-1], before), image, last.expand(*last.shape[:-1], after)], -1)


def _weigh(image: Tensor, u: Tensor, v: Tensor, wide: Tensor, tall: Tensor, radius: tuple[int, int]) -> Tensor:
    """Weighted sums over the kernel around (n,) positions in a (C, H, W) picture, as (n, C)."""
    channels, height, width = image.shape
    across, down = radius
    # Beyond its reach the kernel sees edge pixels only, so a rim of them is all that lies outside.
    u, v = u.clamp(-across, width + across), v.clamp(-down, height + down)
    rim_x, rim_y = 2 * across + 1, 2 * down + 1
    ground = _padded(_padded(image, rim_x, rim_x).mT, rim_y, rim_y).mT
    rows = ground.permute(1, 2, 0).contiguous()
    line = rows.shape[1]
    table = rows.view(-1, channels)
    x = torch.arange(2 * across, device=u.device, dtype=torch.int32)
    y = torch.arange(2 * down, device=u.device, dtype=torch.int32)
    kernel = (y[:, None] * line + x).flatten()
    spread_x = torch.eye(2 * across, device=u.device).repeat(1, 2 * down)
    spread_y = torch.eye(2 * down, device=u.device).repeat_interleave(2 * across, 1)
    count = max(1, AT_ONCE // (4 * across * down))
    result = u.new_empty(len(u), channels)
    for start in range(0, len(u), count):
        part = slice(start, start + count)
        first_x, weight_x = _taps(u[part], wide if len(wide) == 1 else wide[part], across)
        first_y, weight_y = _taps(v[part], tall if len(tall) == 1 else tall[part], down)
        corner = (first_y + rim_y) * line + first_x + rim_x
        # Products with rows of ones write every weight beside the pixels it goes with, faster than a loop.
        weight = (weight_x @ spread_x) * (weight_y @ spread_y)
        result[part] = F.embedding_bag(corner[:, None] + kernel, table, per_sample_weights=weight, mode="sum")
    return result


def _keys(image: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Keys' cubic at (n,) positions in a (C, H, W) picture, as (C, n).

    The kernel is linear in its parameter: that of a = -0.5 is two thirds of a = -0.75, which torch has, and one
    third of a = 0, which is linear interpolation along an eased fraction.
    """
    height, width = image.shape[-2:]
    result = image.new_empty(image.shape[0], len(u))
    step = (AT_ONCE >> 4) * (torch.get_num_threads() if image.device.type == "cpu" else 4)
    for start in range(0, len(u), step):
        part = slice(start, start + step)
        grid = result.new_empty(min(step, len(u) - start), 1, 2)
        _placed(grid, u[part], v[part], (height, width))
        cubic = read(image, grid, "bicubic")
        _placed(grid, _eased(u[part]), _eased(v[part]), (height, width))
        eased = read(image, grid, "bilinear")
        result[:, part] = cubic.add_(eased.sub_(cubic), alpha=1 / 3)[..., 0]
    return result


def _placed(grid: Tensor, u: Tensor, v: Tensor, size: tuple[int, int]) -> None:
    """Fill a grid with (n,) positions in a picture of a size as ``grid_sample`` counts them."""
    for axis, (along, length) in enumerate(((u, size[1]), (v, size[0]))):
        torch.add(grid.new_tensor(-1.0), along, alpha=2 / length, out=grid[:, 0, axis])


def read(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """``grid_sample`` of one (C, H, W) picture at an (h, w, 2) grid, edges repeated, by all threads."""
    rows, columns = grid.shape[:2]
    threads = torch.get_num_threads() if image.device.type == "cpu" else 1
    if threads == 1 or rows % threads:
        return F.grid_sample(image[None], grid[None], mode, "border", align_corners=False)[0]
    parts = grid.view(threads, rows // threads, columns, 2)
    found = F.grid_sample(image.expand(threads, *image.shape), parts, mode, "border", align_corners=False)
    return found.movedim(1, 0).reshape(len(image), rows, columns)


def _eased(along: Tensor) -> Tensor:
    base = (along - 0.5).floor_().add_(0.5)
    t = along - base
    return (3 - 2 * t).mul_(t).mul_(t).add_(base)


def _taps(along: Tensor, stretch: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """First pixel of the kernel at each position, and what each of its pixels counts; (n,), (n, 2 * radius)."""
    base = (along - 0.5).floor()
    t = along - 0.5 - base
    first = base.to(torch.int32) + (1 - radius)
    if radius == 2:
        weights = (
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
        return first, torch.stack(weights, 1)
    offsets = torch.arange(1 - radius, radius + 1, device=along.device, dtype=along.dtype)
    d = ((offsets - t[:, None]) / stretch[:, None]).abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    weight = torch.where(d < 1, near, torch.where(d < 2, far, 0.0))
    return first, weight / weight.sum(1, keepdim=True)
