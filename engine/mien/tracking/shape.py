"""Whether points make a face, and how two faces lie to each other in the picture."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien import mesh

Array = NDArray[np.float32]


def plausibility(points: Tensor, scheme: str) -> Tensor:
    """How much like a face (..., N, 3) points are, 0 to 1: their distance from the mean shape after the best fit."""
    if scheme == "mesh":
        pose = mesh.pose_of(points)
        scale = pose.scale[..., None, None]
        placed = scale * mesh.CANONICAL @ pose.rotation.mT + pose.translation[..., None, :]
        away = ((points - placed)[..., mesh.RIGID, :] / scale).square().sum(-1).mean(-1).sqrt()
        return torch.reciprocal(1 + (away / 0.25) ** 4)
    mean = mesh.to_ibug68(mesh.CANONICAL)
    basis = torch.cat((mean, torch.ones_like(mean[:, :1])), -1)
    flat = points[..., :2]
    fitted = basis @ (torch.linalg.pinv(basis) @ flat)
    size = (flat - flat.mean(-2, keepdim=True)).square().sum(-1).mean(-1).sqrt()
    away = (flat - fitted).square().sum(-1).mean(-1).sqrt() / size
    return torch.reciprocal(1 + (away / 0.25) ** 4)


def box(points: Array) -> Array:
    """Box x0, y0, x1, y1 around (N, 2 or 3) points."""
    flat = points[:, :2]
    return np.concatenate((flat.min(0), flat.max(0))).astype(np.float32)


def overlap(first: Array, second: Array) -> float:
    """Shared area of two boxes over the area of both together."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    both = area(first) + area(second) - shared
    return shared / both if both > 0 else 0.0


def area(one: Array) -> float:
    """Area of a box."""
    return float(np.prod(np.maximum(one[2:] - one[:2], 0)))


def extent(one: Array) -> float:
    """Side of the square with the area of a box."""
    return float(np.sqrt(max(area(one), 1e-6)))


def same_place(first: Array, second: Array) -> bool:
    """Whether two sets of (N, 2 or 3) points lie on one face."""
    a, b = box(first), box(second)
    between = float(np.linalg.norm(first[:, :2].mean(0) - second[:, :2].mean(0)))
    return overlap(a, b) > 0.4 and between < 0.3 * min(extent(a), extent(b))


def part_of(small: Array, large: Array) -> bool:
    """Whether a box lies on the head that a much larger box belongs to: an ear or a mouth taken for a face."""
    between = float(np.linalg.norm((small[:2] + small[2:] - large[:2] - large[2:]) / 2))
    return extent(small) < 0.4 * extent(large) and between < 0.75 * extent(large)


def outside(points: Array, picture: NDArray[np.uint8]) -> bool:
    """Whether the middle of a face has left the picture."""
    middle = points[:, :2].mean(0)
    height, width = picture.shape[:2]
    return not (0 <= middle[0] <= width and 0 <= middle[1] <= height)


def carry(matrix: NDArray[Any], points: Array) -> Array:
    """Carry (N, 2) points by a (3, 3) matrix."""
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2], np.float32)
