"""One face out of a frame: the crop, its matte, and what the index says of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien import mesh
from mien.color import Colors
from mien.files.faceset import SetFace
from mien.models.aligned import aligned_matrix, as_mesh, in_crop
from mien.ops.hull import surface_matte
from mien.ops.warp import inside, positions, transform, warp
from mien.tracking.appearance import describe
from mien.types import Face, Image, Matte, Points

BRIGHTEST = 65504.0
"""Light that stands for infinity: the largest half."""
OPENINGS = torch.cat([mesh.EYE_TRIANGLES, mesh.MOUTH_TRIANGLES])


@dataclass(frozen=True)
class CropShape:
    """Side of crops in pixels, and over the height of a face."""

    size: int = 256
    coverage: float = 1.6


@dataclass(frozen=True)
class Taken:
    """One face as it was cut out of its source.

    Attributes:
        crop, matte: (3, S, S) scene-linear and (1, S, S).
        entry: What the index says of it.
        points: (468, 3) in crop pixels.
        weight: (468,) trust in each.
        look: What tells people apart.
    """

    crop: Image
    matte: Matte
    entry: SetFace
    points: Points
    weight: Tensor
    look: Tensor


@dataclass
class Gathered:
    """What the index needs of the faces taken so far; their pixels are on disk.

    Numbers lie one after the other: between pictures that come and go, thousands of small arrays would hold memory
    many times their size.
    """

    entries: list[SetFace] = field(default_factory=list)
    points: bytearray = field(default_factory=bytearray)
    weight: bytearray = field(default_factory=bytearray)
    looks: bytearray = field(default_factory=bytearray)

    def add(self, one: Taken) -> None:
        """Take note of one more."""
        self.entries.append(one.entry)
        for kept, values in zip(self._kept(), (one.points, one.weight, one.look)):
            kept.extend(values.float().contiguous().numpy().data.cast("B"))

    def arrays(self) -> tuple[Points, Tensor, Tensor]:
        """Points (N, 468, 3), trust in them (N, 468), and looks (N, L)."""
        points, weight, looks = (torch.frombuffer(kept, dtype=torch.float32) for kept in self._kept())
        count = len(self.entries)
        return points.view(count, mesh.POINTS, 3), weight.view(count, mesh.POINTS), looks.view(count, -1)

    def _kept(self) -> tuple[bytearray, bytearray, bytearray]:
        return self.points, self.weight, self.looks


def take(
    image: Image,
    face: Face,
    shape: CropShape,
    colors: Colors,
    file: str,
    source: int,
    frame: int,
    drawn: Matte | None = None,
) -> Taken:
    """Cut one face out of a (3, H, W) scene-linear frame, and measure it.

    ``file``, ``source`` and ``frame`` are what the index is to say of its place; ``drawn`` is the face's matte on the
    frame where one is known, else it is the outline of the points.
    """
    size = shape.size
    points = as_mesh(face.points, face.scheme)
    matrix = aligned_matrix(points, size, shape.coverage, face.aspect)
    crop = warp(image.nan_to_num(0.0, BRIGHTEST, -BRIGHTEST), matrix, (size, size))
    there = in_crop(points, matrix)
    matte = surface_matte(there, mesh.TRIANGLES, (0, 0), (size, size))
    if drawn is not None:
        place = transform(positions((size, size)).double(), torch.linalg.inv(matrix)).float()
        matte = (warp(drawn, matrix, (size, size)) * inside(place, (drawn.shape[-2], drawn.shape[-1]))).clamp(0, 1)
    shown = colors.encoding.encode(crop)
    skin = matte * (1 - surface_matte(there, OPENINGS, (0, 0), (size, size)))
    tone = _mean(shown, skin)
    left, right = (float(_mean(half[0], half[1]).mean()) for half in _halves(shown, skin))
    level, square = mesh.pose_of(there), points * points.new_tensor([face.aspect, 1.0, 1.0])
    entry = SetFace(
        file=file,
        source=source,
        frame=frame,
        yaw=round(float(level.yaw), 2),
        pitch=round(float(level.pitch), 2),
        roll=round(float(mesh.pose_of(square).roll), 2),
        width=round(face.width, 1),
        confidence=round(face.confidence, 4),
        sharpness=round(sharpness(shown, matte), 5),
        mouth=round(opening(there, mesh.LIPS_INNER), 4),
        eyes=round((opening(there, mesh.RIGHT_EYE) + opening(there, mesh.LEFT_EYE)) / 2, 4),
        tone=(round(float(tone[0]), 4), round(float(tone[1]), 4), round(float(tone[2]), 4)),
        key=round((left - right) / max(left + right, 1e-3), 4),
    )
    edge = int(size * (1 - 1 / shape.coverage) / 2)
    inner = (shown.movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8)[edge : size - edge, edge : size - edge]
    look: Any = describe(np.ascontiguousarray(inner))
    weight = face.weight if len(face.weight) == mesh.POINTS else torch.ones(mesh.POINTS)
    return Taken(crop, matte, entry, there, weight.float(), torch.from_numpy(look))


def _halves(shown: Tensor, skin: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    half = shown.shape[-1] // 2
    return (shown[..., :half], skin[..., :half]), (shown[..., half:], skin[..., half:])


def _mean(shown: Tensor, skin: Tensor) -> Tensor:
    """(3,) mean of a crop where it shows skin."""
    return (shown * skin).sum((-2, -1)) / skin.sum().clamp(min=1)


def sharpness(shown: Tensor, matte: Tensor) -> float:
    """How much of a display-like (3, S, S) crop's contrast inside the (1, S, S) matte is fine detail."""
    gray = shown.mean(0)
    around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    inner, weight = gray[1:-1, 1:-1], matte[0, 1:-1, 1:-1]
    total = weight.sum().clamp(min=1)
    fine = ((around / 4 - inner).square() * weight).sum() / total
    mean = (inner * weight).sum() / total
    contrast = ((inner - mean).square() * weight).sum() / total
    return float(fine.sqrt() / contrast.sqrt().clamp(min=0.02))


def opening(points: Points, rim: list[int]) -> float:
    """Distance between the middles of the lids or lips over the distance of their corners."""
    half = len(rim) // 2
    across = (points[rim[half]] - points[rim[0]]).norm().clamp(min=1e-6)
    return float((points[rim[half // 2]] - points[rim[half + half // 2]]).norm() / across)
