"""FAN through the face-alignment package, for work whose licence allows its research-only weights.

The package downloads its weights itself at first use; we say so before it does. Its three-dimensional variant
reads a pickle, so we take the projected points (its "2.5D") and derive depth from the pose.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien import mesh
from mien.models.backends import Detections, Landmarked, Picture
from mien.models.crops import SCALE, cut_crops, to_picture
from mien.models.detector import shrink_factor, suppress
from mien.types import MienError

SIZE = 384
"""Side in pixels of the crops shown to FAN, which itself looks at 256 pixels around the face."""
SMALLEST = 16.0
"""Narrowest face in working pixels that its detector finds well."""
FIVE = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (30,), (48,), (54,))
"""The points of ibug68 whose means are the eyes, the nose tip and the mouth corners."""


@dataclass(frozen=True)
class FanFinder:
    """The package's S3FD detector and FAN landmarks."""

    network: Any
    scheme: str = "ibug68"

    def detect(self, picture: Picture, smallest: float) -> Detections:
        """Find faces with S3FD, and with FAN the five points in each."""
        height, width = picture.shape[:2]
        factor = min(1.0, shrink_factor(height, width, smallest, SMALLEST))
        whole = torch.tensor([[width / 2, height / 2, max(height, width), 0.0]])
        size = round(max(height, width) * factor)
        shrunk = cut_crops(picture, whole, size)[0]
        found = np.asarray(self.network.face_detector.detect_from_image(shrunk.copy()), np.float32).reshape(-1, 5)
        rows = torch.from_numpy(found)
        flat = torch.cat((rows[:, :4].reshape(1, -1, 2), torch.zeros(1, 2 * len(rows), 1)), -1)
        boxes = to_picture(flat, whole, size)[0, :, :2].reshape(-1, 4)
        kept = suppress(boxes, rows[:, 4], 0.4)
        boxes, scores = boxes[kept], rows[kept, 4]
        crops = torch.cat(
            (
                (boxes[:, :2] + boxes[:, 2:]) / 2,
                SCALE * (boxes[:, 2:] - boxes[:, :2]).amax(-1, keepdim=True),
                torch.zeros(len(boxes), 1),
            ),
            1,
        )
        points = self.landmarks(picture, crops).points[..., :2]
        five = torch.stack([points[:, list(indices)].mean(1) for indices in FIVE], 1)
        return Detections(boxes, five, scores)

    def landmarks(self, picture: Picture, crops: Tensor) -> Landmarked:
        """Find the 68 points in each crop; the heights of FAN's heat maps are the trust in them."""
        edge = SIZE / 2 * (1 - 1 / SCALE)
        box = np.array([edge, edge, SIZE - edge, SIZE - edge])
        found = torch.zeros(len(crops), 68, 3)
        confidence = torch.zeros(len(crops), 68)
        for row, cut in enumerate(cut_crops(picture, crops, SIZE)):
            points, scores, _ = self.network.get_landmarks_from_image(
                cut, detected_faces=[box], return_landmark_score=True
            )
            found[row, :, :2] = torch.from_numpy(np.asarray(points[0], np.float32)[:, :2])
            confidence[row] = torch.from_numpy(np.asarray(scores[0], np.float32)).clamp(0, 1)
        found[..., 2] = depth(found[..., :2])
        return Landmarked(
            to_picture(found, crops.float(), SIZE), confidence, torch.ones_like(confidence), confidence.mean(1)
        )


def depth(points: Tensor) -> Tensor:
    """Depth (N, 68) of (N, 68, 2) points, read from the mean face turned as they are.

    The affine camera that best carries the mean face onto the points shows two rows of its rotation; their
    cross product is the third.
    """
    mean = mesh.to_ibug68(mesh.CANONICAL)
    mean = mean - mean.mean(0)
    camera = torch.linalg.lstsq(mean.expand(len(points), -1, -1), points - points.mean(1, keepdim=True)).solution
    scale = torch.linalg.vector_norm(camera, dim=1, keepdim=True)
    rows = camera / scale.clamp(min=1e-6)
    forward = functional.normalize(torch.linalg.cross(rows[..., 0], rows[..., 1]), dim=-1)
    turned: Tensor = (mean @ forward[..., None])[..., 0]
    depth: Tensor = turned * scale[:, 0].mean(-1, keepdim=True)
    return depth


def load(weights: Path | None, device: str) -> FanFinder:
    """Open the face-alignment package; says on stderr what it is about to download, and whence."""
    if weights is not None:
        raise MienError("The face-alignment detector brings its own weights. Leave --weights out.")
    try:
        import face_alignment
        from face_alignment.api import models_urls as fan_addresses
        from face_alignment.detection.sfd.sfd_detector import models_urls as detector_addresses
    except ImportError as error:
        raise MienError(
            f'The face-alignment package is not here ({error}). Install it with pip install "face-alignment>=1.5", '
            "or use --detector builtin."
        ) from error
    addresses = (detector_addresses["s3fd"], fan_addresses["3DFAN-4"])
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for address in addresses:
        if not (folder / address.rsplit("/", 1)[-1]).is_file():
            print(f"face-alignment downloads {address} into {folder}", file=sys.stderr, flush=True)
    try:
        # Its compile cache is another file it would run; plain execution needs none.
        network = face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_HALF_D, device=device, flip_input=False, compile=False
        )
    except (OSError, TypeError, RuntimeError) as error:
        raise MienError(
            f"face-alignment could not start: {error}. It needs version 1.5 and, once, the network for "
            f"{' and '.join(addresses)}; put those files into {folder} by hand, or use --detector builtin."
        ) from error
    return FanFinder(network)
