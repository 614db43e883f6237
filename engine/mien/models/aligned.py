"""The square that trained identities look at: level, as large as the head, indifferent to expression.

A jaw that drops or a head that turns does not move or resize it, as it would a box around the points.
"""

import torch

from mien import mesh
from mien.ops import hull
from mien.ops.lift import to_mesh
from mien.ops.warp import transform
from mien.types import Matrix, Matte, Points

FACE = float(mesh.CANONICAL[:, 1].max() - mesh.CANONICAL[:, 1].min())
"""Height of the mean face from chin to hairline, in distances between the outer eye corners."""
MIDDLE = (0.0, float(mesh.CANONICAL[:, 1].max() + mesh.CANONICAL[:, 1].min()) / 2, 0.1)
"""The point of the mean face that lies in the middle of the square."""


def as_mesh(points: Points, scheme: str) -> Points:
    """(468, 3) mesh points of a face in either landmark scheme."""
    return to_mesh(points) if scheme == "ibug68" else points


def aligned_matrix(
    points: Points, size: int, coverage: float, aspect: float = 1.0, middle: tuple[float, float, float] = MIDDLE
) -> Matrix:
    """(..., 3, 3), float64, from plate positions to a crop of ``size`` pixels.

    Args:
        points: (..., 468, 3) mesh points on the plate.
        size: Side of the crop in pixels.
        coverage: Side of the crop over the height of the face.
        aspect: Pixel aspect of the plate; crops have square pixels.
        middle: The point of the mean face that lies in the middle of the crop.
    """
    square = points.double() * torch.tensor([aspect, 1.0, 1.0], dtype=torch.float64, device=points.device)
    pose = mesh.pose_of(square)
    there = torch.tensor(middle, dtype=torch.float64, device=points.device)
    center = pose.scale[..., None] * (pose.rotation @ there) + pose.translation
    zoom = size / (coverage * FACE * pose.scale)
    roll = torch.deg2rad(pose.roll)
    cosine, sine = torch.cos(roll) * zoom, torch.sin(roll) * zoom
    matrix = torch.zeros(*roll.shape, 3, 3, dtype=torch.float64, device=points.device)
    matrix[..., 0, 0], matrix[..., 0, 1] = cosine * aspect, sine
    matrix[..., 1, 0], matrix[..., 1, 1] = -sine * aspect, cosine
    matrix[..., 0, 2] = size / 2 - cosine * center[..., 0] - sine * center[..., 1]
    matrix[..., 1, 2] = size / 2 + sine * center[..., 0] - cosine * center[..., 1]
    matrix[..., 2, 2] = 1
    return matrix


def level_square(points: Points, coverage: float, middle: tuple[float, float, float] = MIDDLE) -> torch.Tensor:
    """(..., 3) center x and y and side of the upright square that ``aligned_matrix`` levels, for square pixels."""
    pose = mesh.pose_of(points.double())
    there = torch.tensor(middle, dtype=torch.float64, device=points.device)
    center = pose.scale[..., None] * (pose.rotation @ there) + pose.translation
    return torch.cat([center[..., :2], (coverage * FACE * pose.scale)[..., None]], -1)


def in_crop(points: Points, matrix: Matrix) -> Points:
    """(468, 3) plate points carried into a crop; depth scales along."""
    zoom = float(torch.linalg.det(matrix[:2, :2]).abs().sqrt())
    flat = transform(points[:, :2].double(), matrix.to(points.device))
    return torch.cat([flat, points[:, 2:].double() * zoom], 1).float()


def part_mattes(points: Points, size: int) -> Matte:
    """(2, size, size): eyes and brows, and mouth, of a face whose (468, 3) points lie in a crop."""
    parts = ((mesh.RIGHT_EYE, mesh.LEFT_EYE), (mesh.LIPS_OUTER,))
    drawn = []
    for rims in parts:
        total = torch.zeros(size, size, device=points.device)
        for rim in rims:
            outline = points[rim, :2].double()
            # Lids and lips frame what matters: show some of the skin around them.
            outline = outline.mean(0) + 1.3 * (outline - outline.mean(0))
            total = torch.maximum(total, hull.coverage(outline, outline.roll(-1, 0), (0, 0), (size, size)))
        drawn.append(total)
    return torch.stack(drawn)


LINES = (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.RIGHT_BROW, mesh.LEFT_BROW, mesh.LIPS_OUTER, mesh.LIPS_INNER, mesh.OVAL)
"""Closed outlines of a face, as somebody would draw them."""


def outlines(points: Points, size: int) -> torch.Tensor:
    """(4, size, size) drawing of a face whose (468, 3) points lie in a crop: white lines on black, soft at the edge.

    Eyes and brows are in the first channel, the mouth in the second, the oval in the third; the fourth is filled
    where the face is.
    """
    place = torch.stack(torch.meshgrid(*[torch.arange(size, dtype=torch.float32) + 0.5] * 2, indexing="xy"), -1)
    width = 0.006 * size + 0.5
    drawn = torch.zeros(3, size, size)
    for number, rim in enumerate(LINES):
        channel = 0 if number < 4 else 1 if number < 6 else 2
        ends = points[rim, :2].cpu().float()
        for a, b in zip(ends, ends.roll(-1, 0)):
            along = b - a
            share = (((place - a) @ along) / along.square().sum().clamp(min=1e-6)).clamp(0, 1)
            apart = (place - a - share[..., None] * along).norm(dim=-1)
            drawn[channel] = torch.maximum(drawn[channel], (width - apart + 0.5).clamp(0, 1))
    filled = hull.surface_matte(points.cpu().float(), mesh.TRIANGLES, (0, 0), (size, size))
    return torch.cat([drawn, filled])
