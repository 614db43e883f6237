"""Finding faces: one interface, one module for each set of networks behind it.

A new one is a module here with ``load(weights, device) -> FaceFinder`` and a line in ``BACKENDS``.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mien.models.crops import crop_from_detection, crop_from_points
from mien.types import MienError

__all__ = [
    "BACKENDS",
    "BackendName",
    "Detections",
    "FaceFinder",
    "Landmarked",
    "crop_from_detection",
    "crop_from_points",
    "open",
]

Picture = NDArray[np.uint8]
BackendName = Literal["builtin", "face-alignment", "onnx"]

BACKENDS: dict[str, str] = {
    "builtin": "mien.models.backends.builtin",
    "face-alignment": "mien.models.backends.face_alignment",
    "onnx": "mien.models.backends.onnx",
}


@dataclass(frozen=True)
class Detections:
    """Faces found in one picture, best first; float32 on the CPU, in picture pixels.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 around forehead, chin and the fronts of the ears.
        five: (N, 5, 2) eyes, nose tip, mouth corners; left in picture first on an upright face.
        scores: (N,) 0 to 1.
    """

    boxes: Tensor
    five: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Landmarked:
    """Landmarks found in crops of one picture; float32 on the CPU.

    Attributes:
        points: (N, P, 3) in picture pixels, depth in the same scale and smaller toward the viewer.
        confidence: (N, P) trust in each position, 0 to 1.
        visibility: (N, P) 1 where the point is seen, 0 where the head itself or something else hides it.
        presence: (N,) 0 to 1, whether there is a face in the crop at all.
    """

    points: Tensor
    confidence: Tensor
    visibility: Tensor
    presence: Tensor


class FaceFinder(Protocol):
    """Networks that find faces in display-like 8-bit RGB pictures (H, W, 3) with square pixels."""

    scheme: str
    """Landmark scheme of the points: ``mesh`` or ``ibug68``."""

    def detect(self, picture: Picture, smallest: float) -> Detections:
        """Find faces in a picture; those narrower than ``smallest`` picture pixels may be missed."""
        ...

    def landmarks(self, picture: Picture, crops: Tensor) -> Landmarked:
        """Find the landmarks of the face in each crop (N, 4) as in ``mien.models.crops``."""
        ...


def open(name: BackendName, weights: Path | None = None, device: str = "cpu") -> FaceFinder:
    """Open a face finder; ``weights`` is the folder or file of networks where the backend needs one."""
    if name not in BACKENDS:
        raise MienError(f"There is no face detector called {name!r}. Choose one of {', '.join(BACKENDS)}.")
    finder: FaceFinder = import_module(BACKENDS[name]).load(weights, device)
    return finder
