"""Faces that other programs extracted: DeepFaceLab's aligned JPEGs and packs, faceswap's PNGs.

Their pictures, landmarks and masks become a face set. What they hold is read, never run; names and numbers in them
are checked before anything is made of them.
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien import mesh
from mien.files.exchange.deepfacelab import face_entries
from mien.files.exchange.faceswap import face_text
from mien.files.exchange.pickled import PickleRefused, read_pickle
from mien.files.whole import write_whole
from mien.ops.align import umeyama
from mien.ops.hull import polygon_matte
from mien.ops.lift import to_mesh
from mien.types import MienError

LARGEST_MASK = 4096
MOST_FACES = 200_000
TRIED = 8
"""Pictures of a folder that are looked at to tell what it is."""
Find = Callable[[NDArray[np.uint8]], Tensor]
"""Landmarks (468, 3) of the one face in an RGB picture."""


@dataclass(frozen=True)
class ForeignFace:
    """A face as another program left it.

    Attributes:
        name: Its file.
        source: The frame it was taken from, as that program named it.
        picture: (H, W, 3) uint8 RGB.
        points: (468, 3) mesh points in its pixels.
        matte: (1, H, W) where the program says the face is; None where it says nothing.
    """

    name: str
    source: str
    picture: NDArray[np.uint8]
    points: Tensor
    matte: Tensor | None


def is_foreign(path: Path) -> bool:
    """Whether a path is a DeepFaceLab pack, or a folder in which such a program left faces."""
    if path.suffix.lower() == ".pak":
        return path.is_file()
    if not path.is_dir():
        return False
    if (path / "faceset.pak").is_file():
        return True
    pictures = (entry for entry in sorted(path.iterdir()) if entry.suffix.lower() in (".jpg", ".png"))
    for picture in islice(pictures, TRIED):
        try:
            if _told(picture) is not None:
                return True
        except MienError:
            # Damaged, or no picture at all: the next one will tell.
            continue
    return False


def read_foreign_faces(path: Path, find: Find, skipped: Callable[[str], None]) -> Iterator[ForeignFace]:
    """The faces of a folder or a pack, in the order of their names; those that cannot be read are named.

    ``find`` finds landmarks in a picture of faceswap, whose own are those of the whole frame.

    Raises:
        MienError: A pack is damaged, or asks to run code.
    """
    if (pack := _pack(path)) is not None:
        yield from _packed(pack, skipped)
        return
    for entry in _pictures(path):
        try:
            told = _told(entry)
            if told is None:
                raise MienError("it carries nothing of DeepFaceLab or faceswap")
            content = entry.read_bytes()
            if entry.suffix.lower() == ".jpg":
                yield _of_deepfacelab(entry.name, content, told)
            else:
                yield _of_faceswap(entry.name, content, told, find)
        except (MienError, OSError) as error:
            skipped(f"{entry}: {error}")


def count_foreign_faces(path: Path) -> int:
    """How many faces a folder or a pack promises.

    Raises:
        MienError: A pack is damaged, or asks to run code.
    """
    if (pack := _pack(path)) is None:
        return len(_pictures(path))
    with _opened(pack) as (entries, _, _):
        return len(entries)


def _pack(path: Path) -> Path | None:
    """The pack of DeepFaceLab that a path names, or that lies in a folder."""
    pack = path / "faceset.pak" if path.is_dir() else path
    return pack if pack.suffix.lower() == ".pak" and pack.is_file() else None


def _pictures(folder: Path) -> list[Path]:
    pictures = (entry for entry in folder.iterdir() if entry.suffix.lower() in (".jpg", ".png"))
    return sorted(entry for entry in pictures if not entry.name.startswith("."))


def _told(path: Path) -> Mapping[str, Any] | None:
    return face_entries(path) if path.suffix.lower() == ".jpg" else face_text(path)


def _of_deepfacelab(name: str, content: bytes, told: Mapping[str, Any]) -> ForeignFace:
    picture = _decoded(content)
    height, width = picture.shape[:2]
    points = _numbers(told.get("landmarks"), (68, 2)) + 0.5
    matte = None
    if isinstance(told.get("xseg_mask"), bytes | np.ndarray):
        mask = _decoded(bytes(told["xseg_mask"]), cv2.IMREAD_GRAYSCALE)
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
        matte = torch.from_numpy(resized.astype(np.float32) / 255)[None]
    elif (outlines := _outlines(told.get("seg_ie_polys"))) and any(inside for inside, _ in outlines):
        matte = torch.zeros(1, height, width)
        for inside, outline in outlines:
            drawn = polygon_matte(torch.from_numpy(outline), (0, 0), (height, width))
            matte = torch.maximum(matte, drawn) if inside else matte * (1 - drawn)
    source = told.get("source_filename")
    return ForeignFace(name, source if isinstance(source, str) else name, picture, _mesh(points), matte)


def _outlines(told: Any) -> list[tuple[bool, NDArray[np.float64]]]:
    """Polygons that include (True) and exclude: drawn by hand, in the pixels of the face."""
    polygons = told.get("polys") if isinstance(told, Mapping) else told
    found = []
    for polygon in polygons if isinstance(polygons, Sequence) and not isinstance(polygons, str) else ():
        kind = polygon.get("type") if isinstance(polygon, Mapping) else None
        points = polygon.get("pts") if isinstance(polygon, Mapping) else None
        try:
            outline = np.asarray(points, np.float64)
        except (TypeError, ValueError):
            continue
        sound = outline.ndim == 2 and outline.shape[1:] == (2,) and np.isfinite(outline).all()
        if sound and 3 <= len(outline) <= 10_000:
            found.append((kind != 0, outline + 0.5))
    # What excludes comes last, whatever was drawn first.
    return sorted(found, key=lambda entry: not entry[0])


def _of_faceswap(name: str, content: bytes, told: Mapping[str, Any], find: Find) -> ForeignFace:
    picture = _decoded(content)
    face, source = told.get("alignments"), told.get("source")
    face = face if isinstance(face, Mapping) else {}
    found = find(picture)
    matte = None
    try:
        frame = _numbers(face.get("landmarks_xy"), (68, 2))
    except MienError:
        frame = None
    if frame is not None:
        # Their points are the frame's; ours tell where in the frame this crop was cut.
        here = mesh.to_ibug68(found)
        way = umeyama(torch.from_numpy(frame), here[:, :2].double())
        found = _mesh((torch.from_numpy(frame) @ way[:2, :2].T + way[:2, 2]).numpy())
        matte = _mask(face.get("mask"), way.numpy(), picture.shape[:2])
    told_source = source.get("source_filename") if isinstance(source, Mapping) else None
    return ForeignFace(name, told_source if isinstance(told_source, str) else name, picture, found, matte)


def _mask(masks: Any, way: NDArray[np.float64], size: tuple[int, ...]) -> Tensor | None:
    """The first mask of a face, laid on its picture; stored ones come with the way from the frame to them."""
    for mask in masks.values() if isinstance(masks, Mapping) else ():
        try:
            side = int(mask["stored_size"])
            if not 1 <= side <= LARGEST_MASK:
                continue
            unpacker = zlib.decompressobj()
            values = np.frombuffer(unpacker.decompress(bytes(mask["mask"]), side * side), np.uint8).reshape(side, side)
            to_mask = np.vstack([_numbers(mask["affine_matrix"], (2, 3)), [0, 0, 1]])
            back = way @ np.linalg.inv(to_mask)
        except (KeyError, TypeError, ValueError, zlib.error, MienError, np.linalg.LinAlgError):
            continue
        drawn = cv2.warpAffine(values, back[:2], (size[1], size[0]), flags=cv2.INTER_LINEAR)
        return torch.from_numpy(drawn.astype(np.float32) / 255)[None]
    return None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Sequence[Any], list[tuple[int, int]], BinaryIO]]:
    """What a ``faceset.pak`` says of its faces, where in it each lies, and the file.

    It holds a version, a list of entries, offsets, and JPEGs one after the other.

    Raises:
        MienError: It is damaged, or asks to run code.
    """
    try:
        length = path.stat().st_size
        with path.open("rb") as stream:
            version, size = struct.unpack("<QQ", stream.read(16))
            if version != 1 or not 0 < size < min(length, 1 << 30):
                raise ValueError("its head makes no sense")
            entries = read_pickle(stream.read(size))
            if not isinstance(entries, list | tuple) or len(entries) > MOST_FACES:
                raise ValueError("it holds no list of faces")
            offsets = struct.unpack(f"<{len(entries) + 1}Q", stream.read(8 * (len(entries) + 1)))
            begin = stream.tell()
            # The last offset counts from the beginning of the file, all others from that of the pictures.
            starts, ends = offsets[:-1], [*(begin + offset for offset in offsets[1:-1]), length]
            yield entries, [(begin + start, end) for start, end in zip(starts, ends)], stream
    except PickleRefused as error:
        raise MienError(f"{path} was not read: {error}. Take it from where it was made, or extract again.") from error
    except (OSError, ValueError, struct.error) as error:
        raise MienError(f"{path} is no pack of DeepFaceLab, or damaged: {error}.") from error


def _packed(path: Path, skipped: Callable[[str], None]) -> Iterator[ForeignFace]:
    """The faces of a ``faceset.pak``."""
    with _opened(path) as (entries, places, stream):
        first, length = stream.tell(), path.stat().st_size
        for entry, (start, end) in zip(entries, places):
            name = entry.get("filename") if isinstance(entry, Mapping) else None
            try:
                if not isinstance(name, str) or not first <= start < end <= length:
                    raise MienError("its place in the pack makes no sense")
                stream.seek(start)
                content = stream.read(end - start)
                with TemporaryDirectory() as folder:
                    face = Path(folder) / "face.jpg"
                    face.write_bytes(content)
                    told = face_entries(face) or {}
                yield _of_deepfacelab(Path(name).name, content, {**_unpacked(entry), **told})
            except MienError as error:
                skipped(f"{path}, {str(name)[:80]}: {error}")


def _unpacked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A pack's entry under the names that single faces use."""
    known = {"landmarks": "landmarks", "seg_ie_polys": "seg_ie_polys", "source_filename": "source_filename"}
    told = {new: entry[old] for old, new in known.items() if entry.get(old) is not None}
    if entry.get("xseg_mask_compressed") is not None:
        told["xseg_mask"] = entry["xseg_mask_compressed"]
    return told


def _decoded(content: bytes, flags: int = cv2.IMREAD_COLOR_RGB) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    if picture is None or picture.size > 1 << 28:
        raise MienError("the picture in it cannot be read")
    return np.asarray(picture, np.uint8)


def _numbers(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != shape or not np.isfinite(numbers).all() or float(np.abs(numbers).max()) > 1e6:
        raise MienError(f"its landmarks or matrices are not {' x '.join(map(str, shape))} numbers")
    return numbers


def _mesh(points: NDArray[np.float64]) -> Tensor:
    return to_mesh(torch.from_numpy(points).float())


def list_sources(folder: Path, sources: Mapping[str, str]) -> None:
    """Write down which frame each face came from, as its program named it."""
    write_whole(folder / "origins.json", (json.dumps(sources, indent=1) + "\n").encode())
