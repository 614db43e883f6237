"""The dense landmark scheme ``mesh``: 468 points in three dimensions.

A point's number means the same place on the face as in MediaPipe's FaceMesh, so that either can check the
other; its exact place is a fixed spot on the topology of the ICT Face Model, from which training pictures
take their labels. x points right, y down, z away from the viewer, all in one scale. *Left* and *right* are
the person's own: the right eye is on the left of a picture.
"""

import json
from importlib.resources import files
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

_data: dict[str, Any] = json.loads(files(__package__).joinpath("mesh.json").read_text("utf-8"))

POINTS = 468

CANONICAL: Tensor = torch.tensor(_data["canonical"])
"""(468, 3) mean shape, frontal. Unit: distance between the outer eye corners; origin midway between them."""

MIRROR: Tensor = torch.tensor(_data["mirror"])
"""(468,) the point that takes each point's place when a picture is flipped left to right."""

TRIANGLES: Tensor = torch.tensor(_data["triangles"])
"""(T, 3) every triangle, openings included; corners run clockwise on the picture of a frontal face."""

_openings = _data["eye_triangles"] + _data["mouth_triangles"]

SKIN_TRIANGLES: Tensor = TRIANGLES[:-_openings]
"""Triangles of skin and lips, without the eye and mouth openings."""

EYE_TRIANGLES: Tensor = TRIANGLES[-_openings : -_data["mouth_triangles"]]
"""Triangles that span the openings between the lids."""

MOUTH_TRIANGLES: Tensor = TRIANGLES[-_data["mouth_triangles"] :]
"""Triangles that span the opening between the lips."""

OVAL: list[int] = _data["oval"]
"""Outline of the face in order, from the top of the forehead toward the person's left; closed."""

RIGHT_EYE = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]
"""Rim of the right lids in order: outer corner, lower lid, inner corner, upper lid."""

LEFT_EYE = [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466]
"""Rim of the left lids, in the same order."""

RIGHT_BROW = [46, 53, 52, 65, 55, 107, 66, 105, 63, 70]
"""Outline of the right brow: lower edge from the temple inward, then back along the upper edge."""

LEFT_BROW = [276, 283, 282, 295, 285, 336, 296, 334, 293, 300]
"""Outline of the left brow, in the same order."""

LIPS_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
"""Outer edge of the lips: right corner, along the lower lip to the left corner, back along the upper lip."""

LIPS_INNER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
"""Inner edge of the lips, in the same order."""

IBUG68_POINTS: Tensor = torch.tensor(_data["ibug68_points"])
"""(68, 3) mesh points from which each ``ibug68`` point is blended."""

IBUG68_WEIGHTS: Tensor = torch.tensor(_data["ibug68_weights"])
"""(68, 3) their weights, which sum to 1."""

FACEKIT_VERTICES: Tensor = torch.tensor(_data["facekit_vertices"])
"""(468, 3) vertices of the ICT Face Model between which each point lies."""

FACEKIT_WEIGHTS: Tensor = torch.tensor(_data["facekit_weights"])
"""(468, 3) their weights, which sum to 1."""


def _rigid() -> list[int]:
    # Skin over bone: expression moves the rest, and a pose solved from it would nod when the jaw drops.
    height = CANONICAL[:, 1]
    lips_and_jaw = height > 0.50
    lids = ((CANONICAL[:, 0].abs() - 0.36).abs() < 0.20) & (height.abs() < 0.10)
    return torch.nonzero(~lips_and_jaw & ~lids).flatten().tolist()


RIGID: list[int] = _rigid()
_RIGID = torch.tensor(RIGID)
"""Points that expression moves least: forehead, temples, nose, cheekbones."""


class Pose(NamedTuple):
    """How heads are turned, moved and sized: ``points = scale * CANONICAL @ rotation.T + translation``.

    Attributes:
        yaw: Degrees; positive when the face turns toward the right edge of the picture.
        pitch: Degrees; positive when the face looks up.
        roll: Degrees; positive when the head leans clockwise on the picture.
        rotation: (..., 3, 3) turns CANONICAL into the picture's axes.
        scale: (...,) distance between the outer eye corners of a face seen frontally.
        translation: (..., 3) place of the midpoint between the eyes.
    """

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor


def to_ibug68(points: Tensor) -> Tensor:
    """The 68 points that face-alignment, DeepFaceLab and faceswap speak, from the mesh.

    Args:
        points: (..., 468, D) positions, or any other value per point.

    Returns:
        (..., 68, D).
    """
    if points.shape[-2:-1] != (POINTS,):
        raise ValueError(f"expected points (..., {POINTS}, D), got {tuple(points.shape)}")
    corners = points[..., IBUG68_POINTS.to(points.device), :]
    return (corners * IBUG68_WEIGHTS.to(corners)[..., None]).sum(-2)


def pose_of(points: Tensor, weight: Tensor | None = None) -> Pose:
    """Head pose under weak perspective: the similarity that best carries CANONICAL onto the points.

    Least squares over RIGID with the closed form of Umeyama (1991). The rotation splits as
    roll @ pitch @ yaw, yaw acting first.

    Args:
        points: (..., 468, 3) positions.
        weight: (..., 468) trust in each point, all equal if None.
    """
    rotation, scale, translation = similarity_of(points, weight)
    yaw, pitch, roll = angles_of(rotation)
    return Pose(yaw, pitch, roll, rotation, scale, translation)


def similarity_of(points: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation (..., 3, 3), scale and translation (..., 3) of ``pose_of``."""
    if points.shape[-2:] != (POINTS, 3):
        raise ValueError(f"expected points (..., {POINTS}, 3), got {tuple(points.shape)}")
    points, rigid = points if points.dtype == torch.float64 else points.float(), _RIGID.to(points.device)
    goal = points.index_select(-2, rigid)
    share = torch.ones_like(goal[..., :1]) if weight is None else weight.to(goal)[..., rigid, None]
    share = share / share.sum(-2, keepdim=True).clamp_min(1e-12)
    source = CANONICAL[_RIGID].to(goal).expand_as(goal)
    source_mean = (share * source).sum(-2, keepdim=True)
    goal_mean = (share * goal).sum(-2, keepdim=True)
    source_offset, goal_offset = source - source_mean, goal - goal_mean
    covariance = (share * goal_offset).transpose(-1, -2) @ source_offset
    left, size, right = cast(tuple[Tensor, Tensor, Tensor], torch.linalg.svd(covariance))
    proper = torch.ones_like(size)
    proper[..., 2] = torch.sign(torch.linalg.det(left @ right))
    rotation = (left * proper[..., None, :]) @ right
    spread = (share * source_offset.square()).sum((-2, -1))
    scale = (size * proper).sum(-1) / spread
    translation = goal_mean[..., 0, :] - scale[..., None] * (rotation @ source_mean[..., 0, :, None])[..., 0]
    return rotation, scale, translation


def angles_of(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Yaw, pitch and roll in degrees, as Pose defines them, of rotations (..., 3, 3)."""
    yaw = torch.atan2(rotation[..., 2, 0], rotation[..., 2, 2])
    pitch = torch.asin(-rotation[..., 2, 1].clamp(-1, 1))
    roll = torch.atan2(-rotation[..., 0, 1], rotation[..., 1, 1])
    return torch.rad2deg(yaw), torch.rad2deg(pitch), torch.rad2deg(roll)


def rotation_of(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotations (..., 3, 3) from angles in degrees, the inverse of angles_of."""
    y, p, r = (torch.deg2rad(angle) for angle in (yaw, pitch, roll))
    one, zero = torch.ones_like(y), torch.zeros_like(y)

    def matrix(*values: Tensor) -> Tensor:
        return torch.stack(values, -1).reshape(*yaw.shape, 3, 3)

    turn = matrix(y.cos(), zero, -y.sin(), zero, one, zero, y.sin(), zero, y.cos())
    nod = matrix(one, zero, zero, zero, p.cos(), p.sin(), zero, -p.sin(), p.cos())
    lean = matrix(r.cos(), -r.sin(), zero, r.sin(), r.cos(), zero, zero, zero, one)
    return lean @ nod @ turn
