"""YuNet and FaceMesh from ONNX files that the user has; the yardstick for the built-in networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien import mesh
from mien.models.backends import Detections, Landmarked, Picture
from mien.models.crops import crop_from_points, cut_crops, to_picture
from mien.models.detector import shrink_factor, suppress
from mien.types import MienError

DETECTORS = ("*yunet*dynamic*.onnx", "*yunet*.onnx", "*YuNet*.onnx")
MESHES = ("*FaceMesh*.onnx", "*facemesh*.onnx", "*face_mesh*.onnx", "*face_landmark*.onnx")
MESH_SIZE = 192
SMALLEST = 12.0
"""Narrowest face in working pixels that YuNet still finds well."""


@dataclass(frozen=True)
class OnnxFinder:
    """YuNet for detection and FaceMesh for landmarks, run by OpenCV."""

    detector: Any
    mesher: Any
    scheme: str = "mesh"

    def detect(self, picture: Picture, smallest: float) -> Detections:
        """Find faces with YuNet at its working size, and once more small with a wide border.

        YuNet loses near-profile heads that fill the frame; with space around them it finds them.
        """
        height, width = picture.shape[:2]
        factor = shrink_factor(height, width, smallest, SMALLEST)
        border = max(height, width) // 2
        wide = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_CONSTANT)
        near = self.look(picture, factor, 0)
        far = self.look(wide, 320 / max(wide.shape[:2]), border)
        boxes, five, scores = (torch.cat(pair) for pair in zip(near, far, strict=True))
        kept = suppress(boxes, scores, 0.4)
        return Detections(boxes[kept], five[kept], scores[kept])

    def look(self, picture: NDArray[Any], factor: float, border: int) -> tuple[Tensor, Tensor, Tensor]:
        """Run YuNet on ``picture`` times ``factor``; answer in pixels of the picture without its border."""
        size = max(32, round(picture.shape[1] * factor)), max(32, round(picture.shape[0] * factor))
        shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        self.detector.setInputSize(size)
        _, found = self.detector.detect(cv2.cvtColor(shrunk, cv2.COLOR_RGB2BGR))
        rows = torch.from_numpy(np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32))
        stretch = torch.tensor([picture.shape[1] / size[0], picture.shape[0] / size[1]])
        corner = rows[:, 0:2] * stretch - border
        boxes = torch.cat((corner, corner + rows[:, 2:4] * stretch), 1)
        five = rows[:, 4:14].reshape(-1, 5, 2) * stretch - border
        return boxes, five, rows[:, 14]

    def landmarks(self, picture: Picture, crops: Tensor) -> Landmarked:
        """Find the 468 FaceMesh points in each crop; presence is YuNet's score of the face around them."""
        cut = cut_crops(picture, crops, MESH_SIZE).astype(np.float32) / 255
        found = np.zeros((len(cut), 468, 3), np.float32)
        for row, one in enumerate(cut):
            self.mesher.setInput(one[None])
            found[row] = np.asarray(self.mesher.forward(), np.float32).reshape(468, 3)
        points = to_picture(torch.from_numpy(found), crops.float(), MESH_SIZE)
        presence = torch.tensor([self.presence(picture, face) for face in points])
        visibility = facing(points)
        confidence = presence[:, None] * (0.25 + 0.75 * visibility)
        return Landmarked(points, confidence, visibility, presence)

    def presence(self, picture: Picture, points: Tensor) -> float:
        """YuNet's best score for a face where the points are; FaceMesh itself always answers something."""
        crop = crop_from_points(points, "mesh")
        wide = (crop * torch.tensor([1, 1, 1.6, 1]))[None]
        boxes, _, scores = self.look(cut_crops(picture, wide, MESH_SIZE)[0], 1.0, 0)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - MESH_SIZE / 2
        near = middle.norm(dim=1) < MESH_SIZE / 6
        return float(scores[near].max()) if bool(near.any()) else 0.0


def facing(points: Tensor) -> Tensor:
    """How far each of (N, 468, 3) mesh points faces the viewer: (N, 468), 0 turned away to 1."""
    triangles = mesh.TRIANGLES.to(points.device)
    corners = points[:, triangles]
    normals = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    summed = torch.zeros_like(points)
    for corner in range(3):
        summed = summed.index_add(1, triangles[:, corner], normals)
    # Triangles wind clockwise on the picture of a frontal face, where y points down.
    return (functional.normalize(summed, dim=-1)[..., 2] * 4).clamp(0, 1)


def load(weights: Path | None, device: str) -> OnnxFinder:
    """Open YuNet and FaceMesh from the folder ``weights`` (searched with its sub-folders); runs on the CPU."""
    if weights is None:
        raise MienError("The onnx detector needs YuNet and FaceMesh files. Name their folder with --weights DIR.")
    folder = Path(weights)
    if not folder.is_dir():
        raise MienError(f"There is no folder {folder}. Name the folder with YuNet and FaceMesh with --weights DIR.")
    detector = open_network(folder, "YuNet", DETECTORS)
    mesher = open_network(folder, "FaceMesh", MESHES)
    try:
        finder = cv2.FaceDetectorYN.create(str(detector), "", (320, 320), 0.3, 0.4, 5000)
        network = cv2.dnn.readNetFromONNX(str(mesher))
    except cv2.error as error:
        raise MienError(f"OpenCV cannot read {detector} or {mesher}: {error.err}. Get the files again.") from error
    return OnnxFinder(finder, network)


def open_network(folder: Path, name: str, patterns: tuple[str, ...]) -> Path:
    """The first file under ``folder`` that matches one of ``patterns``, tried in order."""
    for pattern in patterns:
        found = sorted(folder.rglob(pattern))
        if found:
            return found[0]
    raise MienError(
        f"There is no {name} network ({', '.join(patterns)}) in {folder}. Put it there or name another --weights."
    )
