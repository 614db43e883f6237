# SPDX-License-Identifier: GPL-3.0-or-later
"""Points placed by hand: as the key files that tracking takes, and as trackers of Blender's name them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import documents

FIVE = ("left eye", "right eye", "nose", "left mouth", "right mouth")
"""The five points, left and right as in the picture."""
NUMBERED = re.compile(r"(mesh|ibug68)[ _.-]*(\d+)$", re.IGNORECASE)
MOST = {"mesh": 468, "ibug68": 68}
Point = tuple[float, float]


class LandmarkError(ValueError):
    """Points that make no key; the message says what to do."""


def key(points: Mapping[str, Point], person: str = "") -> dict[str, Any]:
    """A key file's document: plate pixels from the top left.

    Raises:
        LandmarkError: They are too few, or of different schemes.
    """
    schemes = {scheme_of(name) for name in points}
    if len(schemes) != 1 or None in schemes:
        raise LandmarkError(f"Name the points {', '.join(FIVE)}, or all 'mesh 33' or all 'ibug68 36'.")
    (scheme,) = schemes
    if len(points) < len(FIVE) or (scheme == "five" and set(map(named, points)) != set(FIVE)):
        lacking = [name for name in FIVE if name not in set(map(named, points))]
        wanted = f"place {', '.join(lacking)}" if scheme == "five" else "at least five are needed"
        raise LandmarkError(f"{len(points)} points are no face: {wanted}.")
    document: dict[str, Any] = {"scheme": scheme, "origin": "top left"}
    if person:
        document["person"] = person
    document["points"] = {named(name): [round(x, 4), round(y, 4)] for name, (x, y) in points.items()}
    return document


def scheme_of(name: str) -> str | None:
    """Which scheme a point's name belongs to."""
    if named(name) in FIVE:
        return "five"
    found = NUMBERED.fullmatch(name.strip())
    scheme = found.group(1).lower() if found else ""
    return scheme if found and int(found.group(2)) < MOST[scheme] else None


def named(name: str) -> str:
    """A point as key files name it: ``Left_Eye`` is ``left eye``, ``mesh 33`` is ``33``."""
    found = NUMBERED.fullmatch(name.strip())
    return str(int(found.group(2))) if found else re.sub(r"[ _.-]+", " ", name).strip().lower()


def write(folder: Path, frame: int, document: Mapping[str, Any]) -> Path:
    """Write the key of a frame; what was there is replaced."""
    person = str(document.get("person", ""))
    name = f"{person}@{frame}" if person and re.fullmatch(r"[\w-]+", person) else str(frame)
    return documents.write(folder / f"{name}.json", document)


def read(folder: Path, frame: int, person: str = "") -> dict[str, Point]:
    """The five points of a frame's key; none where there is no such key."""
    for path in (folder / f"{person}@{frame}.json", folder / f"{frame}.json"):
        try:
            document = json.loads(path.read_text("utf-8"))
            if document.get("scheme") == "five" and document.get("origin") == "top left":
                return {str(name): (float(x), float(y)) for name, (x, y) in document["points"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}


def near(points: Mapping[str, Point], at: Point, reach: float) -> str:
    """The point nearest to a place; empty where none is within reach."""
    distances = {name: ((x - at[0]) ** 2 + (y - at[1]) ** 2) ** 0.5 for name, (x, y) in points.items()}
    name = min(distances, key=lambda one: distances[one], default="")
    return name if name and distances[name] <= reach else ""


def next_unplaced(points: Mapping[str, Point], names: Sequence[str] = FIVE) -> str:
    """Which point is placed next; empty where all are."""
    return next((name for name in names if name not in points), "")


def by_frame(
    tracks: Mapping[str, Iterable[tuple[int, float, float]]], size: tuple[int, int]
) -> dict[int, dict[str, Point]]:
    """Trackers as points of each frame that has all of them.

    Args:
        tracks: By name: frame, and position from 0 to 1 with the lowest row at 0, as Blender holds markers.
        size: Width and height of the plate.

    Raises:
        LandmarkError: No tracker has the name of a point.
    """
    known = {name: list(markers) for name, markers in tracks.items() if scheme_of(name) is not None}
    if not known:
        raise LandmarkError(f"No tracker is called {', '.join(FIVE)}, 'mesh 33' or 'ibug68 36': rename five of them.")
    frames: dict[int, dict[str, Point]] = {}
    for name, markers in known.items():
        for frame, x, y in markers:
            frames.setdefault(frame, {})[name] = (x * size[0], (1 - y) * size[1])
    whole = {frame: points for frame, points in sorted(frames.items()) if len(points) == len(known)}
    if not whole:
        raise LandmarkError("In no frame are all of the trackers there: track them over the same frames.")
    return whole
