"""Shots with known motion, made from two portraits in the public domain, and a finder that knows the truth."""

from dataclasses import dataclass, field
from functools import cache

import cv2
import matplotlib.cbook
import numpy as np
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from skimage import data
from torch import Tensor

from mien.models.backends import Detections, Landmarked
from mien.tracking.keys import posed
from mien.types import PlacedPoints

Matrices = NDArray[np.float64]

FIVE = {
    "collins": [[204.4, 101.6], [246.0, 104.2], [223.4, 127.1], [201.0, 138.7], [246.5, 141.6]],
    "hopper": [[221.2, 193.3], [306.6, 188.4], [267.6, 237.4], [231.8, 277.5], [304.4, 274.2]],
}


@cache
def picture(name: str) -> NDArray[np.uint8]:
    """The portrait of Eileen Collins or of Grace Hopper."""
    if name == "collins":
        return np.asarray(data.astronaut())
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        return np.array(imread(stream, format="jpg"))


@cache
def landmarks(name: str) -> Tensor:
    """(468, 3) mesh points on a portrait, from its five points."""
    return posed(PlacedPoints("five", (0, 1, 2, 3, 4), torch.tensor(FIVE[name])), "mesh", 1.0)


def placing(name: str, width: float, x: float, y: float, angle: float = 0.0) -> Matrices:
    """Matrix (3, 3) from portrait to plate pixels that puts a face of ``width`` with its middle at (x, y)."""
    points = landmarks(name).numpy()
    middle = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
    scale = width / np.ptp(points[:, 0])
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    matrix[:2, 2] = np.array([x, y]) - matrix[:2, :2] @ middle
    return matrix


def draw(name: str, matrix: Matrices, size: tuple[int, int]) -> NDArray[np.float32]:
    """A portrait in a plate of ``size`` (width, height); shrinking averages areas."""
    source = picture(name)
    scale = float(np.sqrt(np.linalg.det(matrix[:2, :2])))
    shrink = 1.0
    if scale < 0.5:
        source = cv2.resize(source, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        shrink = 2 * scale
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    index = np.linalg.inv(half) @ matrix @ np.diag([1 / shrink, 1 / shrink, 1]) @ half
    border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(source, index[:2], size, flags=cv2.INTER_CUBIC, borderMode=border).astype(np.float32)


def grain(image: NDArray[np.float32], level: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Add grain of a standard deviation of ``level`` 8-bit steps, a little wider than a pixel, as film has it."""
    noise = cv2.GaussianBlur(generator.normal(0, 1, image.shape).astype(np.float32), (0, 0), 0.7)
    return np.clip(image + noise * level / noise.std(), 0, 255).round().astype(np.uint8)


@dataclass
class Shot:
    """Footage in memory; counts how often each frame is read."""

    frames: list[NDArray[np.uint8] | None]
    first: int = 0
    aspect: float = 1.0
    reads: dict[int, int] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return self.first + len(self.frames) - 1

    def picture(self, frame: int) -> NDArray[np.uint8] | None:
        self.reads[frame] = self.reads.get(frame, 0) + 1
        return self.frames[frame - self.first]


@dataclass
class Surveyor:
    """A face finder that was told where the faces are, and errs by a seeded jitter of ``noise`` face widths;
    it is as ``sure`` of its points as told.

    ``truth`` holds (P, 468, 3) picture positions by frame, NaN for faces out of sight.
    """

    shot: Shot
    truth: list[NDArray[np.float64]]
    noise: float = 0.0
    sure: float = 1.0
    seed: int = 0
    scheme: str = "mesh"
    detected: int = 0

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        self.known = {id(frame): truth for frame, truth in zip(self.shot.frames, self.truth)}

    def faces(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        truth = self.known[id(picture)]
        return truth[np.isfinite(truth).all((1, 2))]

    def detect(self, picture: NDArray[np.uint8], smallest: float) -> Detections:
        self.detected += 1
        faces = self.faces(picture)
        five = faces[:, [159, 386, 4, 61, 291], :2] if len(faces) else np.zeros((0, 5, 2))
        low, high = faces[..., :2].min(1), faces[..., :2].max(1)
        boxes = torch.from_numpy(np.concatenate((low, high), 1)).float()
        return Detections(boxes, torch.from_numpy(five).float(), torch.ones(len(faces)))

    def landmarks(self, picture: NDArray[np.uint8], crops: Tensor) -> Landmarked:
        faces = self.faces(picture)
        points = np.zeros((len(crops), 468, 3))
        presence = np.zeros(len(crops))
        for row, (x, y, side, _) in enumerate(crops.tolist()):
            middles = (faces[..., :2].min(1) + faces[..., :2].max(1)) / 2
            away = np.linalg.norm(middles - [x, y], axis=1)
            if len(faces) and away.min() < 0.35 * side:
                points[row] = faces[away.argmin()]
                presence[row] = 1.0
            else:
                points[row] = landmarks("collins").numpy() + np.array([x, y, 0])
        width = np.ptp(points[..., 0], axis=1)[:, None, None]
        points += self.generator.normal(0, 1, points.shape) * self.noise * width
        ones = torch.ones(len(crops), 468)
        sure = torch.from_numpy(presence).float()
        return Landmarked(torch.from_numpy(points).float(), self.sure * ones * sure[:, None], ones, sure)


def moved(name: str, matrix: Matrices) -> NDArray[np.float64]:
    """Where the landmarks (468, 3) of a portrait lie in the plate."""
    points = landmarks(name).double().numpy()
    scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
    return np.concatenate((points[:, :2] @ matrix[:2, :2].T + matrix[:2, 2], points[:, 2:] * scale), 1)


def camera_shot(
    name: str, placings: list[Matrices], size: tuple[int, int], level: float = 3.0, seed: int = 0
) -> tuple[Shot, NDArray[np.float64]]:
    """A shot of one portrait under known affine motion with grain, and the truth (F, 468, 3)."""
    generator = np.random.default_rng(seed)
    shot = Shot([grain(draw(name, matrix, size), level, generator) for matrix in placings])
    return shot, np.stack([moved(name, matrix) for matrix in placings])
