"""The mesh scheme: its tables agree with one another, and head pose is exact on known motion."""

from collections import Counter

import pytest
import torch

from mien import mesh


def sides(triangle: list[int]) -> list[tuple[int, int]]:
    a, b, c = triangle
    return [(a, b), (b, c), (c, a)]


def test_mirror_is_the_reflection_of_the_mean_shape() -> None:
    assert torch.equal(mesh.MIRROR[mesh.MIRROR], torch.arange(mesh.POINTS))
    flipped = mesh.CANONICAL * torch.tensor([-1.0, 1.0, 1.0])
    assert (flipped[mesh.MIRROR] - mesh.CANONICAL).abs().max() < 1e-3


def test_mean_shape_has_the_promised_unit_origin_and_axes() -> None:
    right, left = mesh.CANONICAL[33], mesh.CANONICAL[263]
    assert torch.linalg.norm(left - right).item() == pytest.approx(1.0, abs=1e-3)
    assert ((left + right) / 2).abs().max() < 1e-3
    assert right[0] < 0 < left[0]
    nose, chin, forehead, ear = (mesh.CANONICAL[k] for k in (1, 152, 10, 234))
    assert forehead[1] < 0 < nose[1] < chin[1]
    assert nose[2] < 0 < ear[2]


def test_triangles_form_one_sheet_bounded_by_the_oval() -> None:
    edges = Counter((a, b) for t in mesh.TRIANGLES.tolist() for a, b in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0])))
    assert max(edges.values()) == 1
    border = {edge for edge in edges if edge[::-1] not in edges}
    ring = list(zip(mesh.OVAL, mesh.OVAL[1:] + mesh.OVAL[:1], strict=True))
    assert border == set(ring)
    assert set(mesh.TRIANGLES.flatten().tolist()) == set(range(mesh.POINTS))
    assert len(mesh.SKIN_TRIANGLES) + len(mesh.EYE_TRIANGLES) + len(mesh.MOUTH_TRIANGLES) == len(mesh.TRIANGLES)


@pytest.mark.parametrize(
    ("triangles", "rings"),
    [
        (mesh.EYE_TRIANGLES, [mesh.RIGHT_EYE, mesh.LEFT_EYE]),
        (mesh.MOUTH_TRIANGLES, [mesh.LIPS_INNER]),
    ],
)
def test_openings_are_bounded_by_their_rims(triangles: torch.Tensor, rings: list[list[int]]) -> None:
    edges = Counter(frozenset(side) for triangle in triangles.tolist() for side in sides(triangle))
    border = {edge for edge, count in edges.items() if count == 1}
    expected = {frozenset(pair) for ring in rings for pair in zip(ring, ring[1:] + ring[:1], strict=True)}
    assert border == expected


def test_ibug68_takes_well_known_points_and_blends_the_rest() -> None:
    assert torch.allclose(mesh.IBUG68_WEIGHTS.sum(-1), torch.ones(68), atol=1e-3)
    points = torch.randn(2, mesh.POINTS, 3, generator=torch.Generator().manual_seed(1))
    derived = mesh.to_ibug68(points)
    assert derived.shape == (2, 68, 3)
    assert torch.allclose(derived[:, [36, 39, 42, 45, 48, 54]], points[:, [33, 133, 362, 263, 61, 291]], atol=1e-6)
    with pytest.raises(ValueError, match="468"):
        mesh.to_ibug68(points[:, :67])


def test_ibug68_is_symmetric_on_the_mean_shape() -> None:
    derived = mesh.to_ibug68(mesh.CANONICAL)
    jaw = derived[:17]
    assert (jaw.flip(0) * torch.tensor([-1.0, 1.0, 1.0]) - jaw).abs().max() < 2e-3
    nose = derived[27:31, 0]
    assert nose.abs().max() < 0.01


def test_pose_recovers_a_known_similarity() -> None:
    generator = torch.Generator().manual_seed(2)
    yaw, pitch, roll = ((torch.rand(50, generator=generator) * 2 - 1) * limit for limit in (85.0, 40.0, 60.0))
    rotation = mesh.rotation_of(yaw, pitch, roll)
    scale = torch.rand(50, generator=generator) * 300 + 20
    shift = torch.randn(50, 3, generator=generator) * 500
    points = scale[:, None, None] * mesh.CANONICAL @ rotation.transpose(-1, -2) + shift[:, None]
    pose = mesh.pose_of(points)
    for found, truth in ((pose.yaw, yaw), (pose.pitch, pitch), (pose.roll, roll)):
        assert (found - truth).abs().max() < 0.05
    assert (pose.scale / scale - 1).abs().max() < 1e-3
    assert (pose.translation - shift).abs().max() < 0.1


def test_pose_signs_are_what_an_artist_expects() -> None:
    zero = torch.zeros(())
    nose = torch.tensor([0.0, 0.0, -1.0])
    assert (mesh.rotation_of(torch.tensor(30.0), zero, zero) @ nose)[0] > 0
    assert (mesh.rotation_of(zero, torch.tensor(30.0), zero) @ nose)[1] < 0
    crown = torch.tensor([0.0, -1.0, 0.0])
    assert (mesh.rotation_of(zero, zero, torch.tensor(30.0)) @ crown)[0] > 0


def test_pose_ignores_points_without_weight() -> None:
    points = mesh.CANONICAL.clone() * 100
    weight = torch.ones(mesh.POINTS)
    points[::7] += 80
    weight[::7] = 0
    pose = mesh.pose_of(points, weight)
    assert abs(pose.yaw) < 0.01
    assert abs(pose.scale - 100) < 0.01
