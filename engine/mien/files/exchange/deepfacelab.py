"""Landmarks that DeepFaceLab keeps in its aligned faces: a pickle in a segment of the JPEG, never run.

DeepFaceLab counts positions from the center of the first pixel.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.files.exchange.faceswap import frame_number
from mien.files.exchange.people import Landmarks, people
from mien.files.exchange.pickled import PickleRefused, read_pickle
from mien.files.whole import read_small
from mien.types import FaceTrack, MienError

LARGEST_PICTURE = 256 << 20
SEGMENT = 0xEF
"""JPEG's APP15, the segment that DeepFaceLab writes into."""


def read_faces(folder: Path, aspect: float = 1.0) -> tuple[FaceTrack, ...]:
    """People from a folder of aligned faces; faces that were deleted from it do not come in.

    Raises:
        MienError: No picture in the folder carries landmarks, or one is damaged or asks to run code.
    """
    faces: dict[int, list[Landmarks]] = {}
    for path in sorted(folder.glob("*.jpg")):
        entries = face_entries(path)
        if entries is not None:
            name = entries.get("source_filename")
            points = _points(path, entries.get("source_landmarks"))
            frame = frame_number(path, name if isinstance(name, str) else path.stem.rpartition("_")[0])
            faces.setdefault(frame, []).append(points)
    if not faces:
        raise MienError(f"{folder} holds no aligned faces of DeepFaceLab. Give its folder 'aligned'.")
    return people(faces, aspect)


def face_entries(path: Path) -> Mapping[str, Any] | None:
    """What DeepFaceLab wrote into an aligned face, None where it wrote nothing.

    Raises:
        MienError: The file is no JPEG, or what is in it is damaged or asks to run code.
    """
    for marker, content in _segments(path, read_small(path, LARGEST_PICTURE, "picture of a face")):
        if marker == SEGMENT:
            try:
                entries = read_pickle(content)
            except PickleRefused as error:
                raise MienError(
                    f"{path} was not read: {error}. Take it out of the folder, or extract the face again."
                ) from error
            if isinstance(entries, dict):
                return entries
    return None


def _points(path: Path, values: Any) -> Landmarks:
    try:
        points = np.asarray(values, np.float64)
    except (ValueError, TypeError):
        points = np.empty(0)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise MienError(f"{path} carries no 68 landmarks of its frame. Extract the face again.")
    return points + 0.5


def _segments(path: Path, content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of the segments before the picture itself."""
    if content[:2] != b"\xff\xd8":
        raise MienError(f"{path} is no JPEG. Give the folder 'aligned' of DeepFaceLab.")
    position = 2
    while position + 4 <= len(content):
        lead, marker, length = struct.unpack_from(">BBH", content, position)
        if lead != 0xFF or length < 2:
            raise MienError(f"{path} is damaged. Extract the face again.")
        if marker == 0xDA:
            return
        if position + 2 + length > len(content):
            raise MienError(f"{path} is cut short. Extract the face again.")
        yield marker, content[position + 4 : position + 2 + length]
        position += 2 + length
