"""Landmarks that faceswap found: alignments as JSON or ``.fsa``, and the faces that it extracted as PNG.

An extracted face carries its alignment in a text chunk, as a Python literal; an ``.fsa`` is a compressed pickle,
read without running anything. Faces that an artist deleted from the folder of extracted faces do not come in.
faceswap counts positions from the center of the first pixel.
"""

import ast
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.files.exchange.people import Landmarks, people
from mien.files.exchange.pickled import PickleRefused, read_pickle
from mien.files.whole import read_small
from mien.types import FaceTrack, MienError

LARGEST_ALIGNMENTS = 1 << 30
LARGEST_PICTURE = 256 << 20
LARGEST_CHUNK = 8 << 20


def read_alignments(path: Path, aspect: float = 1.0) -> tuple[FaceTrack, ...]:
    """People from an alignments file, ``.json`` or ``.fsa``.

    Raises:
        MienError: The file is none, holds no faces, or its landmarks are not 68 points.
    """
    content = read_small(path, LARGEST_ALIGNMENTS, "file of alignments")
    text = _fsa(path, content) if path.suffix.lower() == ".fsa" else _json(path, content)
    frames = text.get("__data__", text)
    if not isinstance(frames, Mapping):
        raise _strange(path)
    faces: dict[int, list[Landmarks]] = {}
    for name, entry in frames.items():
        listed = entry.get("faces", []) if isinstance(entry, Mapping) else entry
        if name.startswith("__") or not isinstance(listed, list):
            raise _strange(path)
        faces.setdefault(frame_number(path, name), []).extend(_landmarks(path, face) for face in listed)
    return _found(path, faces, aspect)


def read_faces(folder: Path, aspect: float = 1.0) -> tuple[FaceTrack, ...]:
    """People from a folder of extracted faces.

    Raises:
        MienError: No picture in the folder carries an alignment, or one is damaged.
    """
    faces: dict[int, list[Landmarks]] = {}
    for path in sorted(folder.glob("*.png")):
        text = face_text(path)
        if text is not None:
            source, alignment = text.get("source"), text.get("alignments")
            name = source.get("source_filename") if isinstance(source, Mapping) else None
            if not isinstance(name, str):
                raise _strange(path)
            faces.setdefault(frame_number(path, name), []).append(_landmarks(path, alignment))
    return _found(folder, faces, aspect)


def face_text(path: Path) -> Mapping[str, Any] | None:
    """What faceswap wrote into an extracted face, None where it wrote nothing.

    Raises:
        MienError: The file is no PNG, or what is in it is no plain literal.
    """
    for kind, chunk in _chunks(path, read_small(path, LARGEST_PICTURE, "picture of a face")):
        keyword, _, rest = chunk.partition(b"\0")
        if kind == b"iTXt" and keyword == b"faceswap":
            try:
                text = ast.literal_eval(_international_text(rest))
            except (ValueError, SyntaxError, MemoryError, RecursionError, IndexError, zlib.error) as error:
                raise MienError(f"{path} carries an alignment that is damaged. Extract the face again.") from error
            if not isinstance(text, dict):
                raise _strange(path)
            return text
    return None


def frame_number(path: Path, name: str) -> int:
    """The frame that a name of a picture ends with: ``shot_000123.png`` or ``plate.1001.exr``.

    Raises:
        MienError: The name has no number.
    """
    digits = re.findall(r"\d{1,9}", Path(name).stem)
    if not digits:
        raise MienError(f"{path}: the frame {name[:80]!r} has no number in its name. Number the frames.")
    return int(digits[-1])


def _json(path: Path, content: bytes) -> Mapping[str, Any]:
    try:
        text = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MienError(f"{path} is not readable as JSON. Export the alignments again.") from error
    if not isinstance(text, dict):
        raise _strange(path)
    return text


def _fsa(path: Path, content: bytes) -> Mapping[str, Any]:
    hint = "In faceswap's Alignments tool, export them as JSON and import that."
    unpacker = zlib.decompressobj()
    try:
        text = read_pickle(unpacker.decompress(content, LARGEST_ALIGNMENTS))
    except (zlib.error, PickleRefused) as error:
        raise MienError(f"{path} cannot be read: {error}. {hint}") from error
    if unpacker.unconsumed_tail or not isinstance(text, dict):
        raise MienError(f"{path} holds no alignments of faceswap. {hint}")
    return text


def _landmarks(path: Path, face: Any) -> Landmarks:
    values = face.get("landmarks_xy", face.get("landmarksXY")) if isinstance(face, Mapping) else None
    try:
        points = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _strange(path) from error
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise _strange(path)
    if len(points) != 68:
        raise MienError(f"{path} holds landmarks of {len(points)} points; only 68 can be read. Extract with 68.")
    return points + 0.5


def _found(path: Path, faces: Mapping[int, list[Landmarks]], aspect: float) -> tuple[FaceTrack, ...]:
    tracks = people(faces, aspect)
    if not tracks:
        raise MienError(f"{path} holds no faces of faceswap. Give its alignments, or a folder of extracted faces.")
    return tracks


def _strange(path: Path) -> MienError:
    return MienError(f"{path} holds no alignments of faceswap that can be understood. Export them again as JSON.")


def _chunks(path: Path, content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise MienError(f"{path} is no PNG. Give the folder that faceswap extracted faces into.")
    position = 8
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if position + 12 + length > len(content):
            raise MienError(f"{path} is cut short. Extract the face again.")
        if kind == b"iTXt" and length <= LARGEST_CHUNK:
            yield kind, content[position + 8 : position + 8 + length]
        position += 12 + length


def _international_text(rest: bytes) -> str:
    """Text of an iTXt chunk behind its keyword: two flags, language, translated keyword, the text itself."""
    compressed = rest[0]
    _language, _keyword, text = rest[2:].split(b"\0", 2)
    if compressed:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(text, LARGEST_CHUNK)
        if unpacker.unconsumed_tail:
            raise ValueError("too long")
    return text.decode("utf-8")
