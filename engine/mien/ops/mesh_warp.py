"""Carrying a picture along a mesh: which triangle covers a point, and where that point lies elsewhere.

A mesh is (N, 3) points, x right, y down, z smaller toward the viewer, and (T, 3) triangles that turn
clockwise on the screen when they face the viewer. Maps are drawn on a lattice whose cell centers lie at
half numbers and whose step follows the face, not the picture, so that their cost does not depend on
either; a smooth spline carries them to pixels.
"""

import math
from collections.abc import Sequence
from functools import reduce
from operator import and_

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops.warp import positions

RIM = 2
"""Cells of a mesh's border from which values are continued past it."""
TOUCHED = 1e-5
"""Share of a triangle by which a cell's center may lie outside of it and still count as inside."""
AT_ONCE = 1 << 17
"""Distances that are compared at once: what stays in a processor's cache."""


def normals(points: Tensor, triangles: Tensor) -> Tensor:
    """(N, 3) unit normals of a mesh's points; z is negative where the surface faces the viewer."""
    a, b, c = points[triangles].unbind(1)
    face = torch.linalg.cross(c - a, b - a)
    total = torch.zeros_like(points).index_add(0, triangles.reshape(-1), face.repeat_interleave(3, 0))
    return F.normalize(total, dim=-1)


def neighbors(triangles: Tensor, count: int) -> Tensor:
    """(count, D) the points around each of ``count`` points, itself once for each triangle; ``count`` fills up."""
    around: list[list[int]] = [[] for _ in range(count)]
    for triangle in triangles.tolist():
        for point in triangle:
            around[point] += triangle
    around = [found or [point] for point, found in enumerate(around)]
    most = max(map(len, around), default=0)
    return torch.tensor([found + [count] * (most - len(found)) for found in around])


def spread(values: Tensor, around: Tensor) -> Tensor:
    """Average (N,) or (N, C) values over each point's ``neighbors``, itself counted once for each triangle."""
    padded = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
    around = around.to(values.device)
    share = 1 / (around < len(values)).sum(1).to(values)
    return padded[around].sum(1) * (share if values.ndim == 1 else share[:, None])


def rasterize(points: Tensor, triangles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Find the nearest triangle that faces the viewer at every cell of a lattice.

    Args:
        points: (N, 3) in lattice cells.
        triangles: (T, 3).
        size: Height and width of the lattice.

    Returns:
        (H, W) triangle at each cell center, -1 where there is none, and (3, H, W) barycentric weights, 0 there.
    """
    index, planes = _nearest(points, triangles, size)
    return index, _even(planes[:, :3], planes[0, 3:], index) * (index >= 0)


def draw(points: Tensor, triangles: Tensor, values: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What is nearest at every cell of a lattice, and what (T, 3, C) values at triangle corners are there.

    Returns:
        (H, W) triangle at each cell center, as ``rasterize`` finds it, and (C, H, W) values; any where there is none.
    """
    index, planes = _nearest(points, triangles, size)
    # Values change as evenly over a triangle as weights do.
    changes = (values.permute(2, 1, 0)[:, :, None] * planes[:, :3]).sum(1)
    return index, _even(changes, planes[0, 3:], index)


def _nearest(points: Tensor, triangles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(H, W) the nearest triangle at every cell of a lattice, and how its three weights change over it.

    The latter are (3, 5, T): each weight at the triangle's first cell, its changes to the right and down, and that
    cell's column and row.
    """
    height, width = size
    (ax, bx, cx), (ay, by, cy), (az, bz, cz) = (points[:, axis][triangles].unbind(1) for axis in range(3))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    left, columns = _span(ax, bx, cx, width)
    top, rows = _span(ay, by, cy, height)
    # Weights, and with them depth, change evenly from cell to cell: told at a triangle's first cell.
    x, y, turned = left + 0.5, top + 0.5, area > 1e-9
    first = torch.stack([(bx - x) * (cy - y) - (by - y) * (cx - x), by - cy, cx - bx])
    second = torch.stack([(cx - x) * (ay - y) - (cy - y) * (ax - x), cy - ay, ax - cx])
    weights = torch.stack([first, second]) / torch.where(turned, area, 1.0)
    third = torch.stack([1 - weights[0, 0] - weights[1, 0], *(-weights[0, 1:] - weights[1, 1:])])
    weights = torch.cat([weights, third[None]])
    depth = az * weights[0] + bz * weights[1] + cz * weights[2]
    planes = torch.cat([weights, torch.stack([left, top]).expand(3, -1, -1)], 1)

    # Each line of a triangle's cells is narrowed to those inside it.
    which, down = _counted(torch.where(turned & (columns > 0), rows, 0))
    value, slope, along = weights.view(9, -1).T.index_select(0, which).T.contiguous().view(3, 3, -1).unbind(1)
    lacking = -TOUCHED - torch.addcmul(value, along, down)
    at = lacking / slope
    start = torch.where(slope > 0, at, 0.0).amax(0).clamp_min_(0).ceil_()
    end = torch.where(slope < 0, at, columns[which] - 1).amin(0).minimum(columns[which] - 1)
    # Along an edge that lies level, all of a line's cells are inside or none.
    end = torch.where(((slope == 0) & (lacking > 0)).any(0), -1.0, end)
    line, right = _counted((end.floor() - start + 1).clamp(min=0))
    which, down, right = which[line], down[line], start[line] + right

    there, across, along, column, row = torch.cat([depth, planes[0, 3:]]).index_select(1, which)
    away = torch.addcmul(torch.addcmul(there, across, right), along, down)
    cell = ((row + down) * width + column + right).long()
    nearest = away.new_full((height * width,), torch.inf).scatter_reduce_(0, cell, away, "amin")
    front = torch.where(away == nearest[cell], which, -1)
    index = front.new_full((height * width,), -1).scatter_reduce_(0, cell, front, "amax").view(height, width)
    return index, planes


def _span(a: Tensor, b: Tensor, c: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The first cell whose center lies between three positions, and how many do."""
    low = (torch.minimum(torch.minimum(a, b), c) - 0.5).ceil().clamp(min=0)
    high = (torch.maximum(torch.maximum(a, b), c) - 0.5).floor().clamp(max=limit - 1)
    return low, (high - low + 1).clamp(min=0)


def _counted(count: Tensor) -> tuple[Tensor, Tensor]:
    """Every number as often as its count says, and beside it 0, 1, 2 and so on."""
    ends = count.long().cumsum(0)
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), count.long())
    place = torch.arange(len(which), device=count.device) - (ends - count.long())[which]
    return which, place.to(count)


def _even(changes: Tensor, first: Tensor, index: Tensor) -> Tensor:
    """(C, H, W) what changes evenly over each cell's triangle.

    ``changes`` are (C, 3, T) values at a triangle's ``first`` cell (2, T), and how they change to the right and down.
    """
    flat, (height, width) = index.clamp(min=0).flatten(), index.shape
    column, row = first.index_select(1, flat).view(2, height, width)
    value, across, along = changes.transpose(0, 1).flatten(0, 1).index_select(1, flat).view(3, -1, height, width)
    right = torch.arange(width).to(first) - column
    down = torch.arange(height).to(first)[:, None] - row
    there: Tensor = value.addcmul_(across, right).addcmul_(along, down)
    return there


def interpolate(index: Tensor, barycentric: Tensor, values: Tensor) -> Tensor:
    """(C, H, W) picture of what (T, 3, C) values at triangle corners are between them; 0 off the mesh."""
    shown, (first, second, third) = index.clamp(min=0), barycentric
    channels = values.permute(2, 1, 0).contiguous()
    drawn = [(a[shown] * first).addcmul_(b[shown], second).addcmul_(c[shown], third) for a, b, c in channels]
    return torch.stack(drawn)


def fill(values: Tensor, known: Tensor) -> Tensor:
    """Continue (C, H, W) values smoothly to where (1, H, W) ``known`` is 0 (push-pull pyramid).

    Gortler et al., The Lumigraph, 1996.
    """
    if bool((known > 0).all()):
        return values
    if min(values.shape[-2:]) < 2:
        mean = (values * known).sum((-2, -1), keepdim=True) / known.sum().clamp(min=1e-12)
        return torch.where(known > 0, values, mean)
    height, width = values.shape[-2:]
    both = F.pad(torch.cat([values * known, known]), (0, width % 2, 0, height % 2))
    both = both[:, ::2] + both[:, 1::2]
    both = both[..., ::2] + both[..., 1::2]
    coarse, coarse_known = both[:-1], both[-1:]
    finer = fill(coarse / coarse_known.clamp(min=1e-12), (coarse_known > 0).to(values))
    for axis in (1, 2):
        finer = _doubled(finer, axis)
    return torch.where(known > 0, values, finer[:, :height, :width])


def _doubled(values: Tensor, axis: int) -> Tensor:
    """Twice as many lines along an axis, straight from one to the next."""
    shape = list(values.shape)
    shape.insert(axis + 1, 2)
    result, length = values.new_empty(shape), values.shape[axis]
    near, far = result.select(axis + 1, 0), result.select(axis + 1, 1)
    front, back = values.narrow(axis, 0, length - 1), values.narrow(axis, 1, length - 1)
    near.select(axis, 0).copy_(values.select(axis, 0))
    far.select(axis, length - 1).copy_(values.select(axis, length - 1))
    torch.lerp(back, front, 0.25, out=near.narrow(axis, 1, length - 1))
    torch.lerp(front, back, 0.25, out=far.narrow(axis, 0, length - 1))
    return result.flatten(axis, axis + 1)


def extend(values: Tensor, known: Tensor) -> Tensor:
    """Continue (C, H, W) values past the border of the (H, W) part where they are known.

    Only the border's own values spread; with what lies further in, a map would turn back outside.
    """
    inner = _eroded(_eroded(known, RIM).T, RIM).T
    return torch.where(known, values, fill(values, (known & ~inner)[None].to(values)))


def _eroded(known: Tensor, radius: int) -> Tensor:
    """(H, W) where all cells of a line as far as ``radius`` are known; past its ends none are."""
    padded, length = F.pad(known, (radius, radius)), known.shape[-1]
    return reduce(and_, (padded[..., start : start + length] for start in range(2 * radius + 1)))


def blur(values: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W) values, edges repeated; ``sigma`` in cells."""
    radius = max(1, round(3 * sigma))
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius, -1, -1)]
    total = 2 * sum(weights[:-1]) + weights[-1]
    blurred = F.pad(values, (radius, radius, radius, radius), mode="replicate")
    for axis in (-1, -2):
        length = blurred.shape[axis] - 2 * radius
        shifted = [blurred.narrow(axis, start, length) for start in range(2 * radius + 1)]
        blurred = shifted[radius] * (weights[-1] / total)
        for near, far, weight in zip(shifted, reversed(shifted), weights[:-1]):
            blurred.add_(near + far, alpha=weight / total)
    return blurred


def spline(values: Tensor, origin: tuple[float, float], step: float, size: tuple[int, int]) -> Tensor:
    """Carry (C, h, w) lattice values to the pixels of a picture with the uniform cubic B-spline.

    Twice continuously differentiable, so no facet of a mesh shows. Linear ramps are kept exactly.

    Args:
        values: On lattice cells of ``step`` pixels.
        origin: Picture position (x, y) of the lattice's outer corner.
        step: Pixels per cell.
        size: Height and width of the picture, whose pixel centers lie at half numbers.
    """
    channels, height, _ = values.shape
    across = _across(values, origin[0], step, size[1]).permute(2, 1, 0).reshape(height, -1)
    return _mix(across, size[0], origin[1], step).view(size[0], channels, size[1]).transpose(0, 1)


def places(values: Tensor, origin: tuple[float, float], step: float, size: tuple[int, int]) -> Tensor:
    """``spline`` of (2, h, w) positions, as (H, W, 2)."""
    across = _across(values, origin[0], step, size[1]).permute(2, 0, 1).reshape(values.shape[1], -1)
    return _mix(across, size[0], origin[1], step).view(*size, 2)


def _across(values: Tensor, origin: float, step: float, width: int) -> Tensor:
    """(width, C, h) pixels along the rows of (C, h, w) lattice values."""
    channels, height, cells = values.shape
    return _mix(values.permute(2, 0, 1).reshape(cells, -1), width, origin, step).view(width, channels, height)


def _mix(cells: Tensor, pixels: int, origin: float, step: float) -> Tensor:
    """(pixels, C) values of the cubic B-spline along (cells, C); cells past an end repeat the last one."""
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5 - origin) / step - 0.5
    first = position.floor()
    t = position - first
    weights = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], -1)
    near = (first[:, None] + torch.arange(-1, 3)).long().clamp(0, len(cells) - 1)
    return F.embedding_bag(
        near.to(cells.device), cells.contiguous(), per_sample_weights=(weights / 6).to(cells), mode="sum"
    )


def polygon_distance(points: Tensor, polygon: Tensor) -> Tensor:
    """Signed distance from (..., 2) points to a closed (K, 2) polygon, negative inside."""
    x, y = points.unbind(-1)
    ends = polygon.roll(-1, 0)
    distances = []
    # Some points at a time, so that what is held is a few pictures and not one for each edge.
    for part in torch.stack([x.flatten(), y.flatten()]).split(max(1, AT_ONCE // max(1, len(polygon))), 1):
        ax, ay, bx, by = (value[:, None] for value in torch.cat([polygon, ends], 1).unbind(1))
        ex, ey = bx - ax, by - ay
        px, py = part[0] - ax, part[1] - ay
        along = ((px * ex + py * ey) / (ex * ex + ey * ey).clamp_min(1e-12)).clamp_(0, 1)
        nearest = (px - along * ex).square_().add_((py - along * ey).square_()).amin(0)
        rises = (part[1] >= ay) != (part[1] >= by)
        crossed = rises & (((ex * py - ey * px) * ey.sign()) < 0)
        inside = crossed.sum(0) % 2 == 1
        distances.append(torch.where(inside, -1.0, 1.0) * nearest.sqrt())
    return torch.cat(distances).view(x.shape) if distances else torch.zeros_like(x)


def opening(polygon: Tensor, size: tuple[int, int], soft: float, grow: float = 0.0) -> Tensor:
    """(1, H, W) matte of a small (K, 2) polygon grown by ``grow`` pixels, fading inward over ``soft`` pixels."""
    return openings([polygon], size, soft, grow)


def openings(polygons: Sequence[Tensor], size: tuple[int, int], soft: float, grow: float = 0.0) -> Tensor:
    """(1, H, W) the largest of the ``opening`` of several polygons at every pixel."""
    matte = polygons[0].new_zeros(1, *size)
    for polygon in polygons:
        _open(matte, polygon, soft, grow)
    return matte


def _open(matte: Tensor, polygon: Tensor, soft: float, grow: float) -> None:
    """Draw an opening into a (1, H, W) matte."""
    size = (matte.shape[-2], matte.shape[-1])
    left, top = (max(0, int(v)) for v in (polygon.amin(0) - grow - 1).tolist())
    right, bottom = (min(n, int(v) + 2) for n, v in zip((size[1], size[0]), (polygon.amax(0) + grow).tolist()))
    if right > left and bottom > top:
        # A soft edge needs no distance at every pixel: a sixth of its width apart is near enough.
        step = max(1, int(soft / 6))
        rows, columns = (-(-n // step) + 2 for n in (bottom - top, right - left))
        centers = positions((rows, columns), (-1, -1), polygon) * step + polygon.new_tensor([left, top])
        distance = polygon_distance(centers, polygon)[None]
        if step > 1:
            distance = F.interpolate(distance[None], scale_factor=step, mode="bilinear", align_corners=False)[0]
        distance = distance[:, step : step + bottom - top, step : step + right - left] - grow
        part = matte[:, top:bottom, left:right]
        torch.maximum(part, ramp(-distance, -0.5, soft), out=part)


def affine(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(2, 3) matrix that best carries (N, 2) ``source`` to ``target`` in the weighted least-squares sense."""
    total = weight.sum().clamp(min=1e-12)
    from_mean, to_mean = (weight[:, None] * source).sum(0) / total, (weight[:, None] * target).sum(0) / total
    centered = source - from_mean
    square = (weight[:, None] * centered).T @ centered
    across = (weight[:, None] * centered).T @ (target - to_mean)
    ridge = 1e-9 * torch.eye(2).to(square) * square.trace().clamp(min=1e-12)
    linear = torch.linalg.solve(square + ridge, across).T
    return torch.cat([linear, (to_mean - linear @ from_mean)[:, None]], 1)


def ramp(values: Tensor, low: float, high: float) -> Tensor:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = ((values - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
