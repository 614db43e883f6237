"""The dense mesh from the 68 points that other tools speak."""

from functools import cache

import torch
from torch import Tensor

from mien import mesh
from mien.types import Points

HOLD = 1e3
"""How much more meeting the points counts than staying smooth."""
REST = 1e-3
"""How much the mean face counts against staying smooth, where no point is near."""


def to_mesh(points: Points) -> Points:
    """(468, 3) mesh points of a face whose (68, 2 or 3) ``ibug68`` points are known.

    The mean face is laid on the points by an affine camera, then bent along its skin to meet them as smoothly
    as it can (least squares on the mesh's Laplacian; Sorkine et al., 2004), so that lips part. The
    forehead, of which the 68 know nothing, follows the camera. Depth is the camera's, in the scale of x, y.
    """
    if points.ndim != 2 or points.shape[0] != 68 or points.shape[1] not in (2, 3):
        raise ValueError(f"expected points (68, 2 or 3), got {tuple(points.shape)}")
    goal = points[:, :2].double()
    mean = torch.cat([mesh.CANONICAL, torch.ones(mesh.POINTS, 1)], 1).to(goal)
    known = mesh.to_ibug68(mean)
    camera = torch.linalg.lstsq(known, goal).solution
    across, down = camera[:3].unbind(1)
    scale = (across.norm() * down.norm()).sqrt().clamp(min=1e-12)
    depth = mean[:, :3] @ (torch.linalg.cross(across, down) / scale)
    place = mean @ camera + _bend().to(goal) @ (goal - known @ camera)
    return torch.cat([place, depth[:, None]], 1).to(points)


@cache
def _bend() -> Tensor:
    """(468, 68) how every mesh point moves when one of the 68 moves."""
    count = mesh.POINTS
    a, b, c = mesh.SKIN_TRIANGLES.unbind(1)
    joined = torch.zeros(count, count, dtype=torch.float64)
    for one, other in ((a, b), (b, c), (c, a)):
        joined[one, other] = joined[other, one] = 1.0
    laplacian = torch.eye(count, dtype=torch.float64) - joined / joined.sum(1, keepdim=True).clamp(min=1)
    meets = mesh.to_ibug68(torch.eye(count, dtype=torch.float64))
    rest = REST * torch.eye(count, dtype=torch.float64)
    bend: Tensor = torch.linalg.solve(laplacian.T @ laplacian + HOLD * meets.T @ meets + rest, HOLD * meets.T)
    return bend
