"""The square around a face that landmark networks look at: its facts, its cutting, and the way back.

A crop is four numbers in picture pixels: center x, center y, side, and angle in radians, by which the crop's
x axis is turned clockwise on screen from the picture's (that is, from +x toward +y). Batches of crops are
float32 tensors (N, 4). Positions count from the outer corner of the first pixel.
"""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SCALE = 1.5
"""Side of a crop over the longer side of the box around the face's points, measured with the eyes level."""

LEVEL: dict[str, tuple[int, int, int]] = {"mesh": (33, 263, 152), "ibug68": (36, 45, 8)}
"""Outer corners of the eyes, left in picture first, and the chin, by landmark scheme."""

FOREHEAD: dict[str, float] = {"mesh": 0.0, "ibug68": 0.3}
"""Share of the points' height that the box reaches above them, for schemes that stop at the brows."""


def level_angle(left_eye: Tensor, right_eye: Tensor, below: Tensor) -> Tensor:
    """Angle (...,) in radians that levels a face, from (..., 2) eye corners and a point below the nose.

    The line of the eyes and the line down the face each vote with their length in the picture, so that in
    profile, where the eyes fall together, the line down the face decides.
    """
    across = right_eye - left_eye
    down = below - (left_eye + right_eye) / 2
    right = across + torch.stack((down[..., 1], -down[..., 0]), -1)
    return torch.atan2(right[..., 1], right[..., 0])


def crop_from_points(points: Tensor, scheme: str) -> Tensor:
    """Level crops (..., 4) around landmarks (..., P, 2 or 3) in picture pixels, of ``mesh`` or ``ibug68``."""
    if scheme not in LEVEL:
        raise ValueError(f"unknown landmark scheme {scheme!r}; one of {', '.join(LEVEL)}")
    flat = points[..., :2]
    left, right, chin = LEVEL[scheme]
    angle = level_angle(flat[..., left, :], flat[..., right, :], flat[..., chin, :])
    level = turn(flat, -angle[..., None])
    low, high = level.amin(-2), level.amax(-2)
    above = FOREHEAD[scheme] * (high[..., 1] - low[..., 1])
    low = torch.stack((low[..., 0], low[..., 1] - above), -1)
    center = turn((low + high) / 2, angle)
    side = SCALE * (high - low).amax(-1)
    return torch.cat((center, side[..., None], angle[..., None]), -1)


def crop_from_detection(boxes: Tensor, five: Tensor) -> Tensor:
    """Level crops (..., 4) from boxes (..., 4) and five points (..., 5, 2): eyes, nose, mouth corners."""
    angle = level_angle(five[..., 0, :], five[..., 1, :], (five[..., 3, :] + five[..., 4, :]) / 2)
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    side = SCALE * (boxes[..., 2:] - boxes[..., :2]).amax(-1)
    return torch.cat((center, side[..., None], angle[..., None]), -1)


def turn(points: Tensor, angle: Tensor) -> Tensor:
    """Turn (..., 2) positions about the origin by (...,) radians from +x toward +y."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    x, y = points[..., 0], points[..., 1]
    return torch.stack((cosine * x - sine * y, sine * x + cosine * y), -1)


def crop_matrices(crops: Tensor, size: int) -> Tensor:
    """Matrices (N, 3, 3) from picture pixels to the pixels of ``size`` x ``size`` crops, for crops (N, 4)."""
    x, y, side, angle = crops.unbind(-1)
    scale = size / side
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows = (
        torch.stack((cosine, sine, size / 2 - cosine * x - sine * y), -1),
        torch.stack((-sine, cosine, size / 2 + sine * x - cosine * y), -1),
        torch.stack((zero, zero, one), -1),
    )
    return torch.stack(rows, -2)


def to_picture(points: Tensor, crops: Tensor, size: int) -> Tensor:
    """Carry (N, P, 3) points from crops of ``size`` pixels to picture pixels; depth scales along."""
    scaled = points * (crops[:, 2] / size)[:, None, None]
    half = crops[:, None, 2:3] / 2
    placed = turn(scaled[..., :2] - half, crops[:, None, 3]) + crops[:, None, :2]
    return torch.cat((placed, scaled[..., 2:]), -1)


def cut_crops(picture: NDArray[np.uint8], crops: Tensor, size: int) -> NDArray[np.uint8]:
    """Cut crops (N, 4) from an RGB picture (H, W, 3) as (N, size, size, 3); outside the picture is black.

    Shrinking averages areas first: plain interpolation would alias, and aliasing makes landmarks crawl.
    """
    matrices = crop_matrices(crops.double(), size).numpy()
    cut = [cut_crop(picture, matrix, float(crop[2]), size) for crop, matrix in zip(crops, matrices, strict=True)]
    return np.stack(cut) if cut else np.zeros((0, size, size, 3), np.uint8)


def cut_crop(picture: NDArray[np.uint8], matrix: NDArray[Any], side: float, size: int) -> NDArray[np.uint8]:
    """Cut the one crop that ``matrix`` (3, 3) maps to ``size`` pixels and that is ``side`` picture pixels wide."""
    shrink = int(side / size)
    corners = np.linalg.inv(matrix) @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], float)
    height, width = picture.shape[:2]
    margin = 2 * max(shrink, 1)
    x0, y0 = (int(max(0, np.floor(c.min()) - margin)) for c in corners[:2])
    x1 = int(min(width, np.ceil(corners[0].max()) + margin))
    y1 = int(min(height, np.ceil(corners[1].max()) + margin))
    if x1 <= x0 or y1 <= y0:
        return np.zeros((size, size, 3), np.uint8)
    region: NDArray[Any] = picture[y0:y1, x0:x1]
    grown = np.array([[1.0, 0, x0], [0, 1, y0], [0, 0, 1]])
    if shrink >= 2:
        small = (max(1, (x1 - x0) // shrink), max(1, (y1 - y0) // shrink))
        region = cv2.resize(region, small, interpolation=cv2.INTER_AREA)
        grown = grown @ np.diag([(x1 - x0) / small[0], (y1 - y0) / small[1], 1.0])
    # OpenCV counts from the center of the first pixel, we from its corner.
    half = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    index = np.linalg.inv(half) @ matrix @ grown @ half
    return np.asarray(cv2.warpAffine(region, index[:2], (size, size), flags=cv2.INTER_LINEAR), np.uint8)
