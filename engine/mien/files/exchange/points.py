"""Points that an artist placed by hand on one face in one frame, as JSON.

Five named points, the least that says where a face is; left and right are those of the picture::

    {
      "person": "anna",
      "scheme": "five",
      "origin": "top left",
      "points": {
        "left eye": [912.5, 430.0],
        "right eye": [1010.0, 428.5],
        "nose": [960.2, 490.1],
        "left mouth": [925.0, 541.0],
        "right mouth": [998.3, 540.2]
      }
    }

``person`` may be left out where the plate shows one face. ``scheme`` is ``five`` (the default), ``ibug68`` or
``mesh``. The points of the latter two have numbers for names, at least five of them: ``{"36": [912, 430]}``.
``points`` may also be a list of all points of the scheme in its order. ``origin`` is ``top left``, the default,
with x right, y down and the first pixel's center at (0.5, 0.5), or ``bottom left``, as Nuke's viewer shows it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mien.files.whole import read_small
from mien.types import MienError, PlacedPoints

FIVE = ("left eye", "right eye", "nose", "left mouth", "right mouth")
"""Names of the five points in their order: centers of the eyes, tip of the nose, corners of the mouth."""

COUNTS = {"five": 5, "ibug68": 68, "mesh": 468}
LEAST = 5
FARTHEST = 1e6
LARGEST = 4 << 20


def key_argument(text: str) -> tuple[int, Path]:
    """The frame and the file of ``FRAME:points.json``.

    Raises:
        MienError: The text has another form.
    """
    frame, colon, path = text.partition(":")
    try:
        number = int(frame)
    except ValueError:
        colon = ""
    if not colon or not path:
        raise MienError(f"Cannot read the key {text!r}. Write FRAME:points.json, such as 1001:anna.json.")
    return number, Path(path)


def read_points(path: Path, height: int) -> PlacedPoints:
    """Read points placed by hand; ``height`` of the plate turns ``bottom left`` positions over.

    Raises:
        MienError: The file is missing or does not say where at least five points are.
    """
    content = read_small(path, LARGEST, "file of points")
    try:
        text = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise MienError(f"{path} is not readable as JSON ({reason}). Mend the file.") from error
    if not isinstance(text, dict):
        raise MienError(f'{path} holds no points. Write {{"scheme": "five", "points": {{...}}}}.')
    strange = sorted(set(text) - {"person", "scheme", "origin", "points"})
    if strange:
        raise MienError(f"{path}: {strange[0]!r} is not known. Known are person, scheme, origin and points.")
    scheme = text.get("scheme", "five")
    if not isinstance(scheme, str) or scheme not in COUNTS:
        raise MienError(f"{path}: scheme {str(scheme)[:40]!r} is not known. Use one of {', '.join(COUNTS)}.")
    origin = text.get("origin", "top left")
    if origin not in ("top left", "bottom left"):
        raise MienError(f"{path}: origin {str(origin)[:40]!r} is not known. Use 'top left' or 'bottom left'.")
    person = text.get("person")
    if person is not None and not isinstance(person, str):
        raise MienError(f"{path}: the person is no name. Put it in quotes.")
    placed = _placed(path, scheme, text.get("points"))
    positions = torch.tensor(list(placed.values()), dtype=torch.float32)
    if origin == "bottom left":
        positions = torch.stack((positions[:, 0], height - positions[:, 1]), -1)
    return PlacedPoints(scheme, tuple(placed), positions, person)


def point_index(scheme: str, name: str) -> int | None:
    """Index of a point by its name or number in a scheme; None where the scheme has no such point."""
    plain = " ".join(name.replace("_", " ").split()).lower()
    if scheme == "five" and plain in FIVE:
        return FIVE.index(plain)
    if plain.isascii() and plain.isdecimal() and len(plain) < 5 and int(plain) < COUNTS[scheme]:
        return int(plain)
    return None


def _placed(path: Path, scheme: str, points: Any) -> dict[int, tuple[float, float]]:
    if isinstance(points, list):
        if len(points) != COUNTS[scheme]:
            raise MienError(
                f"{path} lists {len(points)} points; {scheme} has {COUNTS[scheme]}. Give all in order, or some by name."
            )
        return {index: _position(path, str(index), value) for index, value in enumerate(points)}
    if not isinstance(points, Mapping):
        raise MienError(f"{path}: points are missing. Give a list, or positions by name.")
    placed: dict[int, tuple[float, float]] = {}
    for name, value in points.items():
        index = point_index(scheme, name)
        if index is None:
            names = ", ".join(FIVE) if scheme == "five" else f"0 to {COUNTS[scheme] - 1}"
            raise MienError(f"{path}: {scheme} has no point {name[:40]!r}. It has {names}.")
        if index in placed:
            raise MienError(f"{path}: point {name!r} is given twice. Keep one.")
        placed[index] = _position(path, name, value)
    if len(placed) < LEAST:
        raise MienError(f"{path} has {len(placed)} points. Place at least {LEAST}.")
    return placed


def _position(path: Path, name: str, value: Any) -> tuple[float, float]:
    fits = isinstance(value, list) and len(value) in (2, 3)
    if not fits or any(isinstance(entry, bool) or not isinstance(entry, int | float) for entry in value):
        raise MienError(f"{path}: point {name!r} is no [x, y]. Give two numbers in plate pixels.")
    if any(abs(entry) > FARTHEST or not math.isfinite(entry) for entry in value):
        raise MienError(f"{path}: point {name!r} is far from any plate: {str(value)[:60]}. Use pixels.")
    return float(value[0]), float(value[1])
