"""Points placed by hand: truth where they stand, and a pull on the frames around them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from mien import mesh
from mien.models.crops import crop_from_points, turn
from mien.tracking.faces import seen, single_widths
from mien.tracking.shape import Array
from mien.types import FaceTrack, MienError, PlacedPoints

FADE = 24
"""Frames over which the pull of the first and of the last key fades."""
SPREAD = 0.35
"""Distance in face widths over which a placed point moves its neighbors."""

Keys = Mapping[str, Mapping[int, PlacedPoints]]
"""Points placed by hand, by person and frame."""

IBUG_FIVE: tuple[list[int], ...] = (list(range(36, 42)), list(range(42, 48)), [30], [48], [54])
"""The five points as means of ``ibug68`` points: eyes and mouth corners left in picture first."""


def table(placed: PlacedPoints, scheme: str) -> Tensor:
    """Rows (K, N) that blend the points of a track's scheme into the placed ones.

    Raises:
        MienError: The track has no such points.
    """
    ibug = torch.eye(68)
    if scheme == "mesh":
        ibug = mesh.to_ibug68(torch.eye(mesh.POINTS))
    if placed.scheme == "ibug68":
        return ibug[list(placed.indices)]
    if placed.scheme == "five":
        return torch.stack([ibug[IBUG_FIVE[index]].mean(0) for index in placed.indices])
    if scheme != "mesh":
        raise MienError(
            f"The key holds points of scheme {placed.scheme}, the track is {scheme}. Place the five points or ibug68."
        )
    return torch.eye(mesh.POINTS)[list(placed.indices)]


def posed(placed: PlacedPoints, scheme: str, aspect: float) -> Tensor:
    """A whole face (N, 3) in square pixels whose placed points are where they were placed.

    The mean shape is posed under weak perspective, with a weak liking for looking at the viewer, and then bent.
    """
    mean = mesh.CANONICAL if scheme == "mesh" else mesh.to_ibug68(mesh.CANONICAL)
    rows = table(placed, scheme)
    held = (rows @ mean).double()
    goal = (placed.positions.float() * torch.tensor([aspect, 1.0])).double()
    size = (goal - goal.mean(0)).norm() / (held[:, :2] - held[:, :2].mean(0)).norm().clamp(min=1e-3)

    def place(values: Array) -> Tensor:
        yaw, pitch, roll, growth, x, y = torch.as_tensor(values, dtype=torch.float64)
        rotation = mesh.rotation_of(yaw, pitch, roll).double()
        moved = torch.stack((x, y, torch.zeros_like(x))) * size
        shift = torch.cat((goal.mean(0), torch.zeros(1, dtype=torch.float64))) + moved
        return torch.cat((rotation.mT * size * torch.exp(growth), shift[None]))

    def apart(values: Array) -> Array:
        camera = place(values)
        there = held @ camera[:3] + camera[3]
        prior = torch.as_tensor(values, dtype=torch.float64)[:2] / torch.tensor([150.0, 60.0])
        return torch.cat((((there[:, :2] - goal) / size).flatten() * 5, prior)).numpy()

    line = goal[1] - goal[0] if placed.scheme == "five" and placed.indices[:2] == (0, 1) else torch.tensor([1.0, 0.0])
    roll = float(torch.rad2deg(torch.atan2(line[1], line[0])))
    found = least_squares(apart, np.array([0.0, 0.0, roll, 0.0, 0.0, 0.0]))
    camera = place(found.x)
    whole = (mean.double() @ camera[:3] + camera[3]).float()
    return bend(whole, rows, goal.float(), float(single_widths(whole[None], scheme, 1.0)[0]))


def bend(points: Tensor, rows: Tensor, goal: Tensor, width: float) -> Tensor:
    """Move (N, 3) points so that ``rows @ points`` lie at ``goal`` (K, 2); the rest follows smoothly, depth stays.

    All move by the nearest similarity; what is left is spread by an exponential kernel.
    """
    held = rows @ points[:, :2]
    center, target = held.mean(0), goal.mean(0)
    a = torch.view_as_complex((held - center).contiguous())
    b = torch.view_as_complex((goal - target).contiguous())
    factor = (b * a.conj()).sum() / (a.abs() ** 2).sum().clamp(min=1e-6)
    flat = torch.view_as_real(torch.view_as_complex((points[:, :2] - center).contiguous()) * factor) + target
    for _ in range(4):
        held = rows @ flat
        near = torch.exp(-torch.cdist(held, held) / (SPREAD * width))
        amount = torch.linalg.solve(near + 1e-4 * torch.eye(len(near)), goal - held)
        flat = flat + torch.exp(-torch.cdist(flat, held) / (SPREAD * width)) @ amount
    return torch.cat((flat, points[:, 2:] * factor.abs()), -1)


def correct(track: FaceTrack, placed: Mapping[int, PlacedPoints]) -> FaceTrack:
    """Make placed points the truth on their frames and let them pull the frames between.

    The correction is seen from the face (in its size and lean), runs smoothly from key to key and fades over FADE
    frames before the first and after the last. Frames with keys must not be lost.
    """
    points = track.points.double() * torch.tensor([track.aspect, 1.0, 1.0], dtype=torch.float64)
    there = seen(track)
    rows = sorted(frame - track.first for frame in placed)
    fields, truths = [], []
    for row in rows:
        key = placed[row + track.first]
        base = points[row].float()
        width = float(single_widths(base[None], track.scheme, 1.0)[0])
        goal = key.positions.float() * torch.tensor([track.aspect, 1.0])
        truth = bend(base, table(key, track.scheme), goal, width)
        truths.append(truth.double())
        fields.append(in_face(truth.double() - points[row], points[row], track.scheme, 1))
    corrected = points.clone()
    for row in torch.nonzero(there).flatten().tolist():
        pull = weights(row, rows)
        total = sum(weight * field for weight, field in zip(pull, fields))
        corrected[row] = points[row] + in_face(torch.as_tensor(total), points[row], track.scheme, -1)
    confidence, weight, keyed = track.confidence.clone(), track.weight.clone(), track.keyed.clone()
    for row, truth in zip(rows, truths):
        corrected[row] = truth
        confidence[row], keyed[row] = 1.0, True
        weight[row] = weight[row].clamp(min=0.5)
    corrected = corrected / torch.tensor([track.aspect, 1.0, 1.0], dtype=torch.float64)
    return replace(track, points=corrected.to(track.points.dtype), confidence=confidence, weight=weight, keyed=keyed)


def weights(row: int, rows: Sequence[int]) -> list[float]:
    """How much each key of sorted ``rows`` has a say in a row."""
    pull = [0.0] * len(rows)
    if row <= rows[0]:
        pull[0] = ease(1 - (rows[0] - row) / FADE)
    elif row >= rows[-1]:
        pull[-1] = ease(1 - (row - rows[-1]) / FADE)
    else:
        for index, (before, after) in enumerate(pairwise(rows)):
            if before <= row <= after:
                part = ease((row - before) / (after - before))
                pull[index], pull[index + 1] = 1 - part, part
                break
    return pull


def ease(part: float) -> float:
    """A smooth step from 0 at 0 to 1 at 1."""
    part = min(max(part, 0.0), 1.0)
    return part * part * (3 - 2 * part)


def in_face(field: Tensor, points: Tensor, scheme: str, way: int) -> Tensor:
    """Vectors (N, 3) from the picture into the axes and size of a face (``way`` 1), or back (-1)."""
    _, _, side, angle = crop_from_points(points, scheme)
    flat = turn(field[:, :2], -angle if way == 1 else angle)
    scale: Tensor = side if way < 0 else 1 / side
    return torch.cat((flat, field[:, 2:]), -1) * scale
