"""The networks that ship with mien: nothing to download, nothing that forbids commercial work."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mien.models import detector, landmarks
from mien.models.backends import Detections, Landmarked, Picture
from mien.models.crops import crop_from_detection, cut_crops, to_picture
from mien.types import MienError

SURE = 0.93
"""Detector scores from which no second opinion is asked for."""
FAIR = 8.6
"""Log-odds of presence at which the landmark network neither raises nor lowers a detector's score."""
MOST = 32
"""Faces in one picture at most."""
TRUST = 0.3
"""Weight of its opinion, in log-odds, beside the detector's."""
REPORTED = 0.2
"""Least score that is reported."""


@dataclass(frozen=True)
class BuiltinFinder:
    """mien's own detector and landmark network."""

    detector: detector.Detector
    landmarker: landmarks.Landmarks
    device: torch.device
    scheme: str = "mesh"

    def detect(self, picture: Picture, smallest: float) -> Detections:
        """Find faces, from ``smallest`` pixels wide to one that fills the frame.

        Where the detector is not sure, the landmark network says whether it sees a face there: the two err on
        different things.
        """
        boxes, five, scores = detector.find(self.detector, picture, smallest, self.device)
        boxes, five, scores = boxes[:MOST], five[:MOST], scores[:MOST]
        doubted = scores < SURE
        opinion = torch.full_like(scores, FAIR)
        seen = self.landmarks(picture, crop_from_detection(boxes[doubted], five[doubted])).presence
        opinion[doubted] = torch.logit(seen, 1e-5)
        settled = torch.sigmoid(torch.logit(scores, 1e-5) + TRUST * (opinion - FAIR))
        order = detector.suppress(boxes, settled, 0.3)
        order = order[settled[order] > REPORTED]
        return Detections(boxes[order], five[order], settled[order])

    def landmarks(self, picture: Picture, crops: Tensor) -> Landmarked:
        """Find the mesh points in each crop."""
        size = landmarks.SIZE
        cut = torch.from_numpy(cut_crops(picture, crops, size)).to(self.device)
        with torch.inference_mode():
            found = landmarks.both_ways(self.landmarker, cut.permute(0, 3, 1, 2).float() / 255)
        points = to_picture(found.points.float().cpu(), crops.float().cpu(), size)
        return Landmarked(
            points, found.confidence.float().cpu(), found.visibility.float().cpu(), found.presence.float().cpu()
        )


def load(weights: Path | None, device: str) -> BuiltinFinder:
    """Open the networks in the package, or ``detector.safetensors`` and ``landmarks.safetensors`` in ``weights``."""
    if weights is not None and not Path(weights).is_dir():
        raise MienError(f"There is no folder {weights}. Leave --weights out to use the networks in the package.")
    place = torch.device(device)
    folder = Path(weights) if weights is not None else detector.WEIGHTS.parent
    finder = detector.load(folder / detector.WEIGHTS.name).to(place)
    landmarker = landmarks.load() if weights is None else landmarks.load(folder / "landmarks.safetensors")
    return BuiltinFinder(finder, landmarker.to(place), place)
