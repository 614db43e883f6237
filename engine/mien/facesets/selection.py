"""Choosing among the faces of a set, and their order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mien.files.faceset import FaceSet, SetFace
from mien.recipe import RecipeError
from mien.tracking.appearance import distance

Range = tuple[float, float]

KEYS: Mapping[str, Callable[[SetFace], float]] = {
    "frame": lambda face: face.source * 1e9 + face.frame,
    "yaw": lambda face: face.yaw,
    "pitch": lambda face: face.pitch,
    "roll": lambda face: face.roll,
    "sharpness": lambda face: -face.sharpness,
    "size": lambda face: -face.width,
    "light": lambda face: face.light,
    "key": lambda face: face.key,
    "mouth": lambda face: face.mouth,
    "eyes": lambda face: face.eyes,
    "confidence": lambda face: -face.confidence,
}
"""What a set can be sorted by; sharpness, size and confidence with the best first."""


@dataclass(frozen=True)
class Selection:
    """Which faces of a set are kept.

    Attributes:
        yaw, pitch, light, mouth: Ranges that are kept; None keeps all.
        smallest: Least width of the face in source pixels.
        sharpest: Share of the faces that is kept, the sharpest of it; 1 keeps all.
        apart: Faces that differ less than this from one kept before, in look and points, are duplicates; 0 keeps all.
        like: What the person looks like, as ``describe`` puts it; others are left out.
        unlike: Largest difference from ``like``.
        most: At most so many faces, spread evenly over what is left.
        order: One of ``KEYS``.
    """

    yaw: Range | None = None
    pitch: Range | None = None
    light: Range | None = None
    mouth: Range | None = None
    smallest: float = 0.0
    sharpest: float = 1.0
    apart: float = 0.0
    like: torch.Tensor | None = None
    unlike: float = 0.42
    most: int | None = None
    order: str = "frame"


def select(faceset: FaceSet, choice: Selection) -> tuple[list[int], dict[str, int]]:
    """Rows that are kept, in order, and for each reason how many were left out for it.

    Raises:
        RecipeError: An order that does not exist.
    """
    if choice.order not in KEYS:
        raise RecipeError(f"Cannot sort by {choice.order!r}: choose {', '.join(KEYS)}.")
    rows = list(range(len(faceset.faces)))
    reasons: dict[str, int] = {}

    def keep(reason: str, fine: Callable[[int], bool]) -> None:
        nonlocal rows
        left = [row for row in rows if fine(row)]
        if len(left) < len(rows):
            reasons[reason] = len(rows) - len(left)
        rows = left

    faces = faceset.faces
    for name in ("yaw", "pitch", "light", "mouth"):
        limits: Range | None = getattr(choice, name)
        if limits is not None:
            inside = {row for row in rows if limits[0] <= getattr(faces[row], name) <= limits[1]}
            keep(f"{name} outside {limits[0]:g} to {limits[1]:g}", inside.__contains__)
    keep(f"narrower than {choice.smallest:g} pixels", lambda row: faces[row].width >= choice.smallest)
    if choice.like is not None:
        like = choice.like.float().numpy()
        looks = faceset.looks.float().numpy()
        keep("another person", lambda row: distance(like, looks[row]) <= choice.unlike)
    if choice.sharpest < 1 and rows:
        limit = float(np.quantile([faces[row].sharpness for row in rows], 1 - choice.sharpest))
        keep("not among the sharpest", lambda row: faces[row].sharpness >= limit)
    if choice.apart > 0:
        distinct = set(_distinct(faceset, rows, choice.apart))
        keep("like another", lambda row: row in distinct)
    if choice.most is not None and len(rows) > choice.most:
        even = {rows[int(place)] for place in np.linspace(0, len(rows) - 1, choice.most)}
        keep(f"more than {choice.most}", lambda row: row in even)
    return sorted(rows, key=lambda row: (KEYS[choice.order](faces[row]), row)), reasons


def _distinct(faceset: FaceSet, rows: list[int], apart: float) -> list[int]:
    """Rows of which none is nearer than ``apart`` to one before it, the sharpest of each cluster first."""
    facts = features(faceset)
    ordered = sorted(rows, key=lambda row: -faceset.faces[row].sharpness)
    kept: list[int] = []
    chosen = facts.new_zeros(len(ordered), facts.shape[1])
    for row in ordered:
        nearest = (chosen[: len(kept)] - facts[row]).square().sum(1)
        if not kept or float(nearest.min()) >= apart**2:
            chosen[len(kept)] = facts[row]
            kept.append(row)
    return kept


def features(faceset: FaceSet) -> torch.Tensor:
    """(N, D) what tells the pictures of a set apart: 1 is a plain difference in pose, expression or light.

    Pose counts 1 for 15 degrees, points 1 for a twentieth of a face on average, brightness 1 for a fifth.
    """
    faces = faceset.faces
    pose = torch.tensor([[face.yaw / 15, face.pitch / 15] for face in faces]).reshape(-1, 2)
    light = torch.tensor([[face.light * 5, face.key * 3] for face in faces]).reshape(-1, 2)
    points = faceset.points[:, ::13, :2] / faceset.size * faceset.coverage
    shape = (points / (0.05 * points.shape[1] ** 0.5)).flatten(1)
    return torch.cat([pose, light, shape], 1)
