"""Joins faces that another program found frame by frame into people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mien.types import FaceTrack, MienError

Landmarks = NDArray[np.float64]

FARTHEST = 0.75
"""How far, in face sizes, a face may move from one frame to the next and still be the same person."""
LONGEST_GAP = 24
LONGEST = 1_000_000


def people(faces: Mapping[int, Sequence[Landmarks]], aspect: float = 1.0) -> tuple[FaceTrack, ...]:
    """Tracks of scheme ``ibug68``, the longest first, from the faces (68, 2) in each frame, in plate pixels.

    From frame to frame the faces are matched so that they move and grow least altogether. A face may be missing
    for a second; weight and confidence of what is there are 1.

    Raises:
        MienError: The frame numbers span more than a shot can.
    """
    if faces and max(faces) - min(faces) >= LONGEST:
        raise MienError(f"Frames {min(faces)} to {max(faces)} cannot be one shot. Check the frame numbers.")
    lines: list[_Line] = []
    for frame in sorted(faces):
        near = [line for line in lines if frame - line.last <= LONGEST_GAP]
        found = list(faces[frame])
        costs = np.array([[line.cost(frame, face) for face in found] for line in near]).reshape(len(near), len(found))
        taken = set()
        for row, column in zip(*linear_sum_assignment(np.minimum(costs, 1e3))):
            if costs[row, column] <= FARTHEST:
                near[row].add(frame, found[column])
                taken.add(column)
        for column, face in enumerate(found):
            if column not in taken:
                lines.append(_Line())
                lines[-1].add(frame, face)
    lines.sort(key=lambda line: -len(line.faces))
    return tuple(_track(f"person {number}", line.faces, aspect) for number, line in enumerate(lines, 1))


@dataclass
class _Line:
    faces: dict[int, Landmarks] = field(default_factory=dict)
    last: int = 0

    def add(self, frame: int, face: Landmarks) -> None:
        self.faces[frame] = face
        self.last = frame

    def cost(self, frame: int, face: Landmarks) -> float:
        """How much the face would have to move and grow, in sizes, over the square root of the frames passed."""
        former = self.faces[self.last]
        sizes = [float(np.ptp(points, axis=0).max()) + 1e-6 for points in (former, face)]
        moved = float(np.linalg.norm(face.mean(0) - former.mean(0)))
        grown = abs(float(np.log(sizes[0] / sizes[1])))
        return (moved / max(sizes) + grown) / float(np.sqrt(frame - self.last))


def _track(name: str, faces: Mapping[int, Landmarks], aspect: float) -> FaceTrack:
    first, last = min(faces), max(faces)
    points = torch.full((last - first + 1, 68, 3), torch.nan)
    for frame, face in faces.items():
        points[frame - first, :, :2] = torch.from_numpy(face)
        points[frame - first, :, 2] = 0
    there = torch.isfinite(points[:, 0, 0])
    return FaceTrack(
        name=name,
        first=first,
        points=points,
        weight=there[:, None].float().expand(-1, 68).contiguous(),
        confidence=there.float(),
        keyed=torch.zeros(len(points), dtype=torch.bool),
        scheme="ibug68",
        aspect=aspect,
    )
