"""A small rasterizer on tensors: which triangle each pixel sees, and where on it.

Made for many meshes of small triangles at once, on CPU or GPU. Every triangle is tried on the pixels of its
bounding box and the nearest one kept, so the cost follows the covered area.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_EMPTY = torch.iinfo(torch.int64).max
_DEPTH_STEPS = 1 << 22
_SQUARES = (2, 3, 5, 8, 16, 32, 64)


class Fragments(NamedTuple):
    """What every pixel sees.

    Attributes:
        triangle: (B, S, S) index of the nearest triangle, -1 where there is none.
        corner_weights: (B, S, S, 3) perspective-free barycentric weights on it, 0 where there is none.
        depth: (B, S, S) depth there, infinite where there is none.
    """

    triangle: Tensor
    corner_weights: Tensor
    depth: Tensor


def rasterize(positions: Tensor, triangles: Tensor, size: int) -> Fragments:
    """Nearest front-facing triangle at every pixel center.

    Args:
        positions: (B, V, 3) x right, y down in pixels, z away from the viewer in any unit.
        triangles: (T, 3) vertex indices; front faces run clockwise on the picture.
        size: Width and height of the pictures in pixels; triangles wider than 64 pixels are left out.
    """
    batch = len(positions)
    nearest, farthest = positions[..., 2].amin(), positions[..., 2].amax()
    step = (_DEPTH_STEPS - 1) / (farthest - nearest).clamp_min(1e-9)
    corners = positions[:, triangles]
    first, second, third = corners.unbind(2)
    area = _cross(second - first, third - first)
    low, high = corners[..., :2].amin(2), corners[..., :2].amax(2)
    start = (low - 0.5).ceil().clamp(-1, size).int()
    stop = (high - 0.5).floor().clamp(-1, size).int()
    extent = (stop - start).amax(-1) + 1
    inside = (stop >= 0).all(-1) & (start < size).all(-1) & (stop >= start).all(-1)
    alive = inside & (area > 1e-9) & torch.isfinite(area)

    buffer = torch.full((batch * size * size,), _EMPTY, dtype=torch.int64, device=positions.device)
    smaller = 0
    for square in _SQUARES:
        row, triangle = torch.nonzero(alive & (extent > smaller) & (extent <= square), as_tuple=True)
        smaller = square
        if not len(row):
            continue
        offset = torch.arange(square, device=positions.device)
        corner = start[row, triangle]
        x = (corner[:, :1] + offset).repeat(1, square)
        y = (corner[:, 1:] + offset).repeat_interleave(square, 1)
        a, b, c = (point[row, triangle] for point in (first, second, third))
        scale = (1 / area[row, triangle])[:, None]
        center_x, center_y = x + 0.5, y + 0.5
        weight_b = _edge(c, a, center_x, center_y) * scale
        weight_c = _edge(a, b, center_x, center_y) * scale
        weight_a = 1 - weight_b - weight_c
        hit = (weight_a >= 0) & (weight_b >= 0) & (weight_c >= 0) & (x >= 0) & (x < size) & (y >= 0) & (y < size)
        which = torch.nonzero(hit.flatten()).flatten()
        source = which // (square * square)
        depth = weight_a * a[:, 2:] + weight_b * b[:, 2:] + weight_c * c[:, 2:]
        steps = ((depth.flatten()[which] - nearest) * step).long()
        # Depth above, triangle below: the smallest number is the nearest triangle.
        key = steps * (1 << 32) + triangle[source]
        pixel = (row[source] * size + y.flatten()[which]) * size + x.flatten()[which]
        buffer.scatter_reduce_(0, pixel, key, "amin")

    empty = buffer == _EMPTY
    seen = torch.where(empty, -1, buffer & 0xFFFFFFFF).reshape(batch, size, size)
    weights, depth = _locate(positions, triangles, seen)
    return Fragments(seen, weights, depth)


def interpolate(fragments: Fragments, triangles: Tensor, values: Tensor) -> Tensor:
    """Blend vertex values (B, V, C) over what pixels see; (B, S, S, C), 0 where there is nothing."""
    batch, _, count = values.shape
    corners = triangles[fragments.triangle.clamp_min(0)]
    base = torch.arange(batch, device=values.device)[:, None, None, None] * values.shape[1]
    gathered = values.reshape(-1, count)[(corners + base).reshape(-1)].reshape(*corners.shape, count)
    return (gathered * fragments.corner_weights[..., None]).sum(-2)


def _locate(positions: Tensor, triangles: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    batch, size, _ = seen.shape
    corners = triangles[seen.clamp_min(0)]
    base = torch.arange(batch, device=seen.device)[:, None, None, None] * positions.shape[1]
    a, b, c = positions.reshape(-1, 3)[corners + base].unbind(-2)
    center = torch.arange(size, device=seen.device) + 0.5
    x, y = center[None, None, :], center[None, :, None]
    area = _cross(b - a, c - a)
    weight_b = _edge(c, a, x, y) / area
    weight_c = _edge(a, b, x, y) / area
    weights = torch.stack((1 - weight_b - weight_c, weight_b, weight_c), -1)
    covered = (seen >= 0)[..., None]
    weights = torch.where(covered, weights, 0.0)
    depth = (weights * torch.stack((a[..., 2], b[..., 2], c[..., 2]), -1)).sum(-1)
    return weights, torch.where(covered[..., 0], depth, torch.inf)


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _edge(start: Tensor, end: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Twice the area of start, end and (x, y); points broadcast against pixels."""
    if start.ndim == 2:
        start, end = start[:, None], end[:, None]
    along = end - start
    return along[..., 0] * (y - start[..., 1]) - along[..., 1] * (x - start[..., 0])
