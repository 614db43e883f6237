"""Carrying a picture along a mesh: which triangle covers a point, and where that point lies elsewhere.

A mesh is (N, 3) points, x right, y down, z smaller toward the viewer, and (T, 3) triangles that turn
clockwise on the screen when they face the viewer. Maps are drawn on a lattice whose cell centers lie at
half numbers and whose step follows the face, not the picture, so that their cost does not depend on
either; a smooth spline carries them to pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops.warp import positions

AT_ONCE = 1 << 17
"""Distances that are compared at once: what stays in a processor's cache."""


def normals(points: Tensor, triangles: Tensor) -> Tensor:
    """(N, 3) unit normals of a mesh's points; z is negative where the surface faces the viewer."""
    a, b, c = points[triangles].unbind(1)
    face = torch.linalg.cross(c - a, b - a)
    total = torch.zeros_like(points).index_add(0, triangles.reshape(-1), face.repeat_interleave(3, 0))
    return F.normalize(total, dim=-1)


def spread(values: Tensor, triangles: Tensor) -> Tensor:
    """Average (N,) or (N, C) values over each point's neighbors, itself counted once for each triangle."""
    count = len(values)
    pair = (triangles[:, :, None] * count + triangles[:, None, :]).reshape(-1)
    # Counts are whole numbers, so that the order in which a GPU adds them does not matter.
    shared = torch.bincount(pair, minlength=count * count).view(count, count).to(values)
    total = shared.sum(1)
    shared = shared + torch.diag((total == 0).to(values))
    return (shared / total.clamp(min=1)[:, None]) @ values


def rasterize(points: Tensor, triangles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Find the nearest triangle that faces the viewer at every cell of a lattice.

    Args:
        points: (N, 3) in lattice cells.
        triangles: (T, 3).
        size: Height and width of the lattice.

    Returns:
        (H, W) triangle at each cell center, -1 where there is none, and (H, W, 3) barycentric weights.
    """
    height, width = size
    corners = points[triangles]
    a, b, c = corners[..., :2].unbind(1)
    area = _cross(b - a, c - a)
    low = (corners[..., :2].amin(1) - 0.5).ceil().clamp(min=0)
    limit = points.new_tensor([width - 1, height - 1])
    high = torch.minimum((corners[..., :2].amax(1) - 0.5).floor(), limit)
    span = (high - low + 1).clamp(min=0).long() * (area > 1e-9)[:, None]
    count = span.prod(1)
    triangle = torch.repeat_interleave(torch.arange(len(triangles), device=points.device), count)
    place = torch.arange(len(triangle), device=points.device) - (count.cumsum(0) - count)[triangle]
    columns = span[triangle, 0]
    x = low.long()[triangle, 0] + place % columns
    y = low.long()[triangle, 1] + torch.div(place, columns, rounding_mode="floor")
    center = torch.stack([x, y], -1).to(points) + 0.5
    a, b, c = a[triangle] - center, b[triangle] - center, c[triangle] - center
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1) / area[triangle, None]
    inside = (weights >= -1e-5).all(-1)
    triangle, weights, cell = triangle[inside], weights[inside], (y * width + x)[inside]
    depth = (weights * corners[triangle, :, 2]).sum(-1)
    nearest = depth.new_full((height * width,), torch.inf).scatter_reduce(0, cell, depth, "amin")
    front = depth == nearest[cell]
    triangle, weights, cell = triangle[front], weights[front], cell[front]
    index = cell.new_full((height * width,), -1).scatter_reduce(0, cell, triangle, "amax")
    last = index[cell] == triangle
    barycentric = points.new_zeros(height * width, 3)
    barycentric[cell[last]] = weights[last]
    return index.view(height, width), barycentric.view(height, width, 3)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def interpolate(index: Tensor, barycentric: Tensor, values: Tensor) -> Tensor:
    """(C, H, W) picture of what (T, 3, C) values at triangle corners are between them; 0 off the mesh."""
    return torch.einsum("hwk,hwkc->chw", barycentric, values[index.clamp(min=0)]) * (index >= 0)


def fill(values: Tensor, known: Tensor) -> Tensor:
    """Continue (C, H, W) values smoothly to where (1, H, W) ``known`` is 0 (push-pull pyramid).

    Gortler et al., The Lumigraph, 1996.
    """
    if min(values.shape[-2:]) < 2:
        mean = (values * known).sum((-2, -1), keepdim=True) / known.sum().clamp(min=1e-12)
        return torch.where(known > 0, values, mean)
    coarse_known = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    coarse = F.avg_pool2d(values * known, 2, ceil_mode=True, count_include_pad=False)
    coarse = fill(coarse / coarse_known.clamp(min=1e-12), (coarse_known > 0).to(values))
    finer = F.interpolate(coarse[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    return torch.where(known > 0, values, finer[:, : values.shape[-2], : values.shape[-1]])


def extend(values: Tensor, known: Tensor) -> Tensor:
    """Continue (C, H, W) values past the border of the (H, W) part where they are known.

    Only the border's own values spread; with what lies further in, a map would turn back outside.
    """
    inner = -F.max_pool2d(-F.pad(known[None].to(values), (2, 2, 2, 2)), 5, 1)
    return torch.where(known, values, fill(values, (known & (inner[0] < 1))[None].to(values)))


def blur(values: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W) values, edges repeated; ``sigma`` in cells."""
    radius = max(1, round(3 * sigma))
    offset = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    padded = F.pad(values[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[..., None, :]), kernel[..., :, None])[:, 0]


def spline(values: Tensor, origin: tuple[float, float], step: float, size: tuple[int, int]) -> Tensor:
    """Carry (C, h, w) lattice values to the pixels of a picture with the uniform cubic B-spline.

    Twice continuously differentiable, so no facet of a mesh shows. Linear ramps are kept exactly.

    Args:
        values: On lattice cells of ``step`` pixels.
        origin: Picture position (x, y) of the lattice's outer corner.
        step: Pixels per cell.
        size: Height and width of the picture, whose pixel centers lie at half numbers.
    """
    channels, height, width = values.shape
    across = _mix(values.permute(2, 0, 1).reshape(width, -1), size[1], origin[0], step)
    turned = across.view(size[1], channels, height).permute(2, 1, 0).reshape(height, -1)
    return _mix(turned, size[0], origin[1], step).view(size[0], channels, size[1]).transpose(0, 1).contiguous()


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
        # A soft edge needs no distance at every pixel: a lattice an eighth as fine as the edge carries it.
        step = max(1, int(soft / 8))
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
