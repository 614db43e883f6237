"""Face sets: crops of one person's face, and one index that says what each shows and where it is from.

``faceset.json`` holds one line per face: file, source, frame, pose, size, sharpness, light, expression.
``faceset.<digest>.safetensors`` beside it holds the arrays: points in crop pixels, trust in them, and what tells
faces apart. Each crop is a half float EXR in a scene-linear space, so that nothing of a float plate is lost:
R, G, B, and ``matte``, which anybody may repaint. The index is written last and names the arrays by their hash.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mien.files.layers import write_plain
from mien.files.region import Region
from mien.files.stills import read_headers, read_pixels
from mien.files.whole import read_small, write_whole
from mien.types import MienError, Points

VERSION = 1
INDEX = "faceset.json"
MOST_FACES = 200_000
LARGEST_TEXT = 256 << 20
LARGEST_ARRAYS = 8 << 30


@dataclass(frozen=True)
class SetFace:
    """What the index says of one face.

    Attributes:
        file: Picture, relative to the set's folder.
        source: Number of the source in the set's list.
        frame: Frame of the source.
        yaw, pitch, roll: Head pose in degrees, as ``mesh.Pose`` has them.
        width: Width of the face in source pixels.
        confidence: Trust of the track in this face.
        sharpness: Detail at the size of the crop; a defocused or enlarged face has little. No unit.
        mouth, eyes: How far the lips and the lids are apart, over their widths.
        tone: Mean display-like red, green and blue of the skin.
        key: How much brighter, in display-like light, the left of the picture is than the right; -1 to 1.
    """

    file: str
    source: int
    frame: int
    yaw: float
    pitch: float
    roll: float
    width: float
    confidence: float
    sharpness: float
    mouth: float
    eyes: float
    tone: tuple[float, float, float]
    key: float

    @property
    def light(self) -> float:
        """Mean display-like brightness of the skin."""
        return 0.2126 * self.tone[0] + 0.7152 * self.tone[1] + 0.0722 * self.tone[2]


@dataclass(frozen=True)
class FaceSet:
    """A face set.

    Attributes:
        folder: Where it lies.
        size: Side of its crops in pixels.
        coverage: Side of its crops over the height of a face.
        space: Color space of its crops, as the config names it.
        sources: Movies, sequences and pictures it was taken from.
        faces: One entry for each face.
        points: (N, 468, 3) landmarks in crop pixels.
        weight: (N, 468) trust in each.
        looks: (N, L) what tells people apart (``tracking.appearance``).
        digest: Hash of everything in the index and the arrays.
    """

    folder: Path
    size: int
    coverage: float
    space: str
    sources: tuple[str, ...]
    faces: tuple[SetFace, ...]
    points: Points
    weight: Tensor
    looks: Tensor
    digest: str = ""

    def picture(self, row: int) -> Path:
        """The picture file of a face."""
        return self.folder / self.faces[row].file

    def chosen(self, rows: Sequence[int]) -> "FaceSet":
        """The same set with only some of its faces, in the given order."""
        index = torch.tensor(list(rows), dtype=torch.long)
        return replace(
            self,
            faces=tuple(self.faces[row] for row in rows),
            points=self.points[index],
            weight=self.weight[index],
            looks=self.looks[index],
        )


def write_face(path: Path, crop: Tensor, matte: Tensor, color: str | None, provenance: dict[str, str]) -> None:
    """Write one crop: (3, S, S) scene-linear and (1, S, S).

    Raises:
        MienError: It cannot be written.
    """
    pixels = torch.cat([crop, matte]).movedim(0, -1).cpu().numpy()
    write_plain(path, pixels, channels=("R", "G", "B", "matte"), provenance=provenance, color=color)


def read_face(path: Path, size: int) -> NDArray[np.float32]:
    """(S, S, 4) scene-linear crop and matte.

    Raises:
        MienError: The file is missing, damaged, or not of this size.
    """
    header = read_headers(path)[0]
    if header.size != (size, size) or not {"R", "G", "B", "matte"} <= set(header.channels):
        raise MienError(f"{path} is no {size} x {size} crop with R, G, B and matte. Extract the face set again.")
    return read_pixels(path, header, 0, ("R", "G", "B", "matte"), Region(0, 0, size, size))


def write_faceset(faceset: FaceSet) -> str:
    """Write index and arrays; returns the digest.

    Raises:
        MienError: The folder cannot be written.
        ValueError: Arrays do not fit the faces.
    """
    count = len(faceset.faces)
    shapes = [tuple(array.shape) for array in (faceset.points, faceset.weight)]
    if shapes != [(count, 468, 3), (count, 468)] or len(faceset.looks) != count:
        raise ValueError(f"{count} faces, but arrays of {shapes} and {tuple(faceset.looks.shape)}")
    arrays = {"points": faceset.points.float(), "weight": faceset.weight.half(), "looks": faceset.looks.half()}
    content = save({name: array.contiguous().cpu() for name, array in arrays.items()})
    digest = hashlib.sha256(content).hexdigest()
    beside = faceset.folder / f"faceset.{digest[:16]}.safetensors"
    head = {
        "mien": "faceset",
        "version": VERSION,
        "size": faceset.size,
        "coverage": faceset.coverage,
        "space": faceset.space,
        "arrays": {"file": beside.name, "sha256": digest},
        "sources": list(faceset.sources),
    }
    lines = ",\n".join("  " + json.dumps(asdict(face)) for face in faceset.faces)
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "faces": [\n{lines}\n ]\n}}\n'
    write_whole(beside, content)
    write_whole(faceset.folder / INDEX, text.encode())
    for former in faceset.folder.glob("faceset.*.safetensors"):
        if former != beside:
            former.unlink(missing_ok=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_faceset(path: Path) -> bool:
    """Whether a folder is a face set, by its index."""
    return (path / INDEX).is_file()


def read_faceset(folder: Path) -> FaceSet:
    """Read index and arrays; pictures are not looked at.

    Raises:
        MienError: Missing, damaged, changed beyond sense, or of another version.
    """
    if folder.name == INDEX:
        folder = folder.parent
    path = folder / INDEX
    if not path.is_file():
        raise MienError(f"{folder} is no face set: it has no {INDEX}. Make one with mien faceset SOURCE -o {folder}.")
    content = read_small(path, LARGEST_TEXT, "face set")
    try:
        text = json.loads(content)
        if text["mien"] != "faceset" or text["version"] != VERSION:
            raise ValueError(f"version {text['version']!r}")
        faces = tuple(_face(entry) for entry in text["faces"])
        beside = str(text["arrays"]["file"])
        if Path(beside).name != beside or len(faces) > MOST_FACES:
            raise ValueError("impossible names or numbers")
        size, coverage = int(text["size"]), float(text["coverage"])
        if not (16 <= size <= 8192 and 0.5 <= coverage <= 8):
            raise ValueError(f"crops of {size} pixels and coverage {coverage}")
        arrays = load(read_small(folder / beside, LARGEST_ARRAYS, "face set"))
        points, weight, looks = (arrays[name].float() for name in ("points", "weight", "looks"))
        if points.shape != (len(faces), 468, 3) or weight.shape != points.shape[:2] or len(looks) != len(faces):
            raise ValueError("arrays that do not belong to the index")
        sources, space = tuple(map(str, text["sources"])), str(text["space"])
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
        SafetensorError,
    ) as error:
        raise MienError(f"{path} is no face set of mien, or damaged: {str(error)[:200]}. Extract it again.") from error
    digest = hashlib.sha256(content).hexdigest()
    return FaceSet(folder, size, coverage, space, sources, faces, points, weight, looks, digest)


def _face(entry: dict[str, Any]) -> SetFace:
    known = {one.name: entry[one.name] for one in fields(SetFace)}
    numbers = [known[name] for name in ("yaw", "pitch", "roll", "width", "sharpness", "mouth", "eyes", "key")]
    known["tone"] = tuple(float(value) for value in known["tone"])
    if not all(math.isfinite(float(value)) for value in (*numbers, *known["tone"])) or len(known["tone"]) != 3:
        raise ValueError("a face with impossible numbers")
    name = str(known["file"])
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise ValueError(f"a picture outside the folder, {name!r}")
    return SetFace(**known)
