"""The networks that ship with mien: nothing to download, nothing that forbids commercial work."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mien.models import detector, landmarks
from mien.models.backends import Detections, Landmarked, Picture
from mien.models.crops import cut_crops, to_picture
from mien.types import MienError

SMALLEST = 10.0
"""Narrowest face in working pixels that the detector is trained for."""
CERTAIN = 0.3
"""Scores below this are not reported."""
LARGEST = 160
"""Faces wider than this many working pixels are left to the next smaller look."""


@dataclass(frozen=True)
class BuiltinFinder:
    """mien's own detector and landmark network."""

    detector: detector.Detector
    landmarker: landmarks.Landmarks
    device: torch.device
    scheme: str = "mesh"

    def detect(self, picture: Picture, smallest: float) -> Detections:
        """Find faces at the working size and at a quarter of it, and so on, until one could fill the frame."""
        height, width = picture.shape[:2]
        factor = detector.shrink_factor(height, width, smallest, SMALLEST)
        looks = [look(self.detector, picture, factor, self.device)]
        while factor * max(height, width) > LARGEST:
            factor /= 4
            looks.append(look(self.detector, picture, factor, self.device))
        boxes, five, scores = (torch.cat(parts) for parts in zip(*looks, strict=True))
        kept = detector.suppress(boxes, scores, 0.4)
        return Detections(boxes[kept], five[kept], scores[kept])

    def landmarks(self, picture: Picture, crops: Tensor) -> Landmarked:
        """Find the mesh points in each crop."""
        size = landmarks.SIZE
        cut = torch.from_numpy(cut_crops(picture, crops, size)).to(self.device)
        with torch.inference_mode():
            found = self.landmarker(cut.permute(0, 3, 1, 2).float() / 255)
        points = to_picture(found.points.float().cpu(), crops.float().cpu(), size)
        return Landmarked(
            points, found.confidence.float().cpu(), found.visibility.float().cpu(), found.presence.float().cpu()
        )


def look(
    network: detector.Detector, picture: Picture, factor: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the detector once on ``picture`` times ``factor``; boxes, points and scores in picture pixels.

    A border of half the largest face surrounds the picture, so that faces cut by its edge or filling it are
    seen whole, as in training.
    """
    height, width = picture.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    border = 32
    right, bottom = (border + -(length + 2 * border) % 32 for length in size)
    framed = cv2.copyMakeBorder(shrunk, border, bottom, border, right, cv2.BORDER_REPLICATE)
    batch = torch.from_numpy(np.ascontiguousarray(framed)).to(device).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        cells = network(batch.contiguous(memory_format=torch.channels_last))
    scores = cells.logits[0].sigmoid()
    sure = scores > CERTAIN
    stretch = torch.tensor([width / size[0], height / size[1]])
    boxes = (cells.boxes[0][sure].cpu().reshape(-1, 2, 2) - border) * stretch
    five = (cells.five[0][sure].cpu() - border) * stretch
    return boxes.reshape(-1, 4), five, scores[sure].cpu()


def load(weights: Path | None, device: str) -> BuiltinFinder:
    """Open the networks in the package, or ``detector.safetensors`` and ``landmarks.safetensors`` in ``weights``."""
    if weights is not None and not Path(weights).is_dir():
        raise MienError(f"There is no folder {weights}. Leave --weights out to use the networks in the package.")
    place = torch.device(device)
    folder = Path(weights) if weights is not None else detector.WEIGHTS.parent
    finder = detector.load(folder / detector.WEIGHTS.name).to(place)
    landmarker = landmarks.load() if weights is None else landmarks.load(folder / "landmarks.safetensors")
    return BuiltinFinder(finder, landmarker.to(place), place)
