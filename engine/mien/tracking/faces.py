"""A face from a track: where it is in one frame, and how wide it is through the shot."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from mien import mesh
from mien.types import Face, FaceTrack

STEADY = 12.0
"""Standard deviation, in frames, over which the width of a face is averaged."""
LEAP = 0.75
"""Face widths that no face moves from one frame to the next."""
REACH = 36
"""Frames to either side that have a say in it."""


def face_at(track: FaceTrack, frame: int) -> Face | None:
    """The face in one frame, or None where it is lost or outside the track."""
    row = frame - track.first
    if not 0 <= row < len(track.points):
        return None
    low, high = max(0, row - REACH), row + REACH + 1
    near = replace(
        track,
        first=track.first + low,
        points=track.points[low:high],
        weight=track.weight[low:high],
        confidence=track.confidence[low:high],
        keyed=track.keyed[low:high],
    )
    if not seen(near)[row - low]:
        return None
    width = float(face_widths(near)[row - low])
    return Face(
        track.points[row],
        track.weight[row],
        float(track.confidence[row]),
        width,
        track.scheme,
        track.aspect,
        velocity_at(near, row - low, width),
    )


def velocity_at(track: FaceTrack, row: int, width: float) -> Tensor | None:
    """Plate pixels (N, 3) that each point moves from frame to frame around one row of a track.

    The mean of the steps to either side, or the only one there is. A leap of more than LEAP of the face's
    ``width`` is a cut and no motion.
    """
    there = seen(track)
    steps = [
        (track.points[other] - track.points[row]) * (other - row)
        for other in (row - 1, row + 1)
        if 0 <= other < len(there) and bool(there[other])
    ]
    steady = [step for step in steps if float(step[:, :2].norm(dim=-1).median()) < LEAP * width]
    return torch.stack(steady).mean(0) if steady else None


def seen(track: FaceTrack) -> Tensor:
    """(F,) bool: frames in which the face is not lost."""
    return (track.confidence > 0) & torch.isfinite(track.points).flatten(1).all(1)


def lost(track: FaceTrack) -> tuple[tuple[int, int], ...]:
    """Ranges of frames, both ends included, in which the face is lost."""
    gone = (~seen(track)).tolist()
    ranges: list[tuple[int, int]] = []
    for row, missing in enumerate(gone):
        frame = track.first + row
        if missing and ranges and ranges[-1][1] == frame - 1:
            ranges[-1] = (ranges[-1][0], frame)
        elif missing:
            ranges.append((frame, frame))
    return tuple(ranges)


def face_widths(track: FaceTrack) -> Tensor:
    """Width (F,) of the face in plate pixels along x, steady over neighboring frames; NaN where it is lost.

    The width is that of the mean shape under the best weak perspective, so that turning the head does not
    change it. A frame depends on those within REACH only, and not on those beyond a leap in size (a cut).
    """
    there = seen(track)
    widths = torch.full((len(track.points),), torch.nan)
    if not bool(there.any()):
        return widths
    width = single_widths(track.points[there].float(), track.scheme, track.aspect)
    logarithm = torch.zeros(len(widths)).masked_scatter(there, width.log())
    weight = torch.zeros(len(widths)).masked_scatter(there, track.confidence[there].float().clamp(min=0.05))
    offsets = torch.arange(-REACH, REACH + 1)
    nearness = torch.exp(-0.5 * (offsets / STEADY) ** 2)
    padded = functional.pad(logarithm, (REACH, REACH)).unfold(0, 2 * REACH + 1, 1)
    held = functional.pad(weight, (REACH, REACH)).unfold(0, 2 * REACH + 1, 1) * nearness
    center = logarithm
    for _ in range(2):
        alike = held / (1 + ((padded - center[:, None]) / 0.15) ** 4)
        center = (alike * padded).sum(1) / alike.sum(1).clamp(min=1e-9)
    return torch.where(there, center.exp(), widths)


def single_widths(points: Tensor, scheme: str, aspect: float) -> Tensor:
    """Width (F,) in plate pixels along x of faces (F, N, 3), each by itself."""
    square = points * torch.tensor([aspect, 1.0, 1.0])
    across = mesh.CANONICAL[:, 0].max() - mesh.CANONICAL[:, 0].min()
    if scheme == "mesh":
        return mesh.pose_of(square).scale * across / aspect
    mean = mesh.to_ibug68(mesh.CANONICAL)
    mean = mean - mean.mean(0)
    flat = square[..., :2] - square[..., :2].mean(-2, keepdim=True)
    # An affine camera seen under weak perspective scales the nearer of its two axes by the whole scale.
    camera = torch.linalg.pinv(mean) @ flat
    largest: Tensor = torch.linalg.svdvals(camera)[..., 0]
    return largest * across / aspect
