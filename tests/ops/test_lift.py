import math

import pytest
import torch

from mien import mesh
from mien.ops.lift import to_mesh


def turned(yaw: float, roll: float = 0.0) -> torch.Tensor:
    a, b = math.radians(yaw), math.radians(roll)
    around = torch.tensor([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    lean = torch.tensor([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    return mesh.CANONICAL @ (lean @ around).T * 200 + torch.tensor([300.0, 250.0, 0.0])


@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (30, 0), (-45, 20), (10, -40)])
def test_the_mean_face_comes_back_from_its_68_points(yaw: float, roll: float) -> None:
    truth = turned(yaw, roll)
    lifted = to_mesh(mesh.to_ibug68(truth)[:, :2])
    assert (lifted[:, :2] - truth[:, :2]).norm(dim=1).max() < 1.0
    depth = truth[:, 2] - truth[:, 2].mean()
    assert (lifted[:, 2] - lifted[:, 2].mean() - depth).abs().max() < 8.0


def test_another_face_meets_its_points_and_stays_near_between_them() -> None:
    truth = turned(15)
    truth[:, 0] += 6 * torch.sin(truth[:, 1] / 60)
    truth[:, 1] += 5 * torch.cos(truth[:, 0] / 70)
    known = mesh.to_ibug68(truth)[:, :2]
    lifted = to_mesh(known)
    assert (mesh.to_ibug68(lifted)[:, :2] - known).norm(dim=1).mean() < 1.0
    low = mesh.CANONICAL[:, 1] > -0.3
    assert (lifted[:, :2] - truth[:, :2]).norm(dim=1)[low].mean() < 3.0


def test_an_open_mouth_is_followed() -> None:
    truth = turned(0)
    lower = [17, 84, 314, 14, 87, 317]
    truth[lower, 1] += 30
    lifted = to_mesh(mesh.to_ibug68(truth)[:, :2])
    opened = lifted[14, 1] - lifted[13, 1]
    assert opened > 15


def test_depth_in_the_points_is_not_needed() -> None:
    flat = mesh.to_ibug68(turned(20))
    assert torch.equal(to_mesh(flat), to_mesh(flat[:, :2]))
    with pytest.raises(ValueError, match="68"):
        to_mesh(torch.zeros(67, 2))
