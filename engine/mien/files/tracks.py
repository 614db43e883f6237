"""Track files: what is worth reading as JSON, the points as arrays beside it.

``shot.track.json`` holds the plate, the people, and for every person the confidence of each frame, ten to a
line, and the frames placed by hand. ``shot.track.<digest>.safetensors`` holds points and weights. The JSON
names the arrays by the hash of their bytes and is written last: whoever is killed while writing leaves the
former pair whole.
"""

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.files.whole import read_small, write_whole
from mien.types import FaceTrack, MienError

VERSION = 1
POINTS = {"mesh": 468, "ibug68": 68}
"""Number of points of each landmark scheme."""

MOST_PEOPLE = 1_000
MOST_FRAMES = 1_000_000
LARGEST_TEXT = 512 << 20
LONGEST_NAME = 200
FARTHEST = 10**12
"""No number of a track is larger."""
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TrackedPlate:
    """The plate that a track was made on.

    Attributes:
        path: As the artist gave it: a pattern, a movie or a single file.
        width, height: Size of the display window in pixels.
        first, last: Frames that were looked at.
        aspect: Pixel aspect.
        rate: Frames per second, None where the plate does not say.
    """

    path: str
    width: int
    height: int
    first: int
    last: int
    aspect: float = 1.0
    rate: Fraction | None = None


@dataclass(frozen=True)
class TrackFile:
    """What a track file holds.

    Attributes:
        plate: The plate it was made on.
        tracks: The people, in the order of the file.
        digest: Hash of everything in both files that determines a result.
    """

    plate: TrackedPlate
    tracks: tuple[FaceTrack, ...]
    digest: str

    def person(self, name: str) -> FaceTrack:
        """The track of one person.

        Raises:
            MienError: Nobody has this name.
        """
        for track in self.tracks:
            if track.name == name:
                return track
        names = ", ".join(track.name for track in self.tracks) or "nobody"
        raise MienError(f"No person {name!r} in the track of {self.plate.path}. It holds: {names}.")


def write_tracks(path: Path, tracks: tuple[FaceTrack, ...], plate: TrackedPlate) -> str:
    """Write a track file and its arrays; returns its digest.

    Raises:
        MienError: Two people share a name, or the files cannot be written.
        ValueError: A track is not whole: shapes, scheme or frame numbers do not fit together.
    """
    arrays: dict[str, Tensor] = {}
    people = []
    for index, track in enumerate(tracks):
        _check(track)
        arrays[f"{index}.points"] = track.points.to("cpu", torch.float32).contiguous()
        arrays[f"{index}.weight"] = track.weight.to("cpu", torch.float32).contiguous()
        people.append(_person_text(track))
    names = [track.name for track in tracks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MienError(f"Two people are called {twice[0]!r} in {path.name}. Give each a name of their own.")
    if path.suffix != ".json":
        raise MienError(f"A track file ends in .json, which {path.name} does not. Call it {path.name}.json.")
    content = save(arrays)
    digest = hashlib.sha256(content).hexdigest()
    beside = path.with_name(f"{path.stem}.{digest[:16]}.safetensors")
    text = {
        "mien": "track",
        "version": VERSION,
        "plate": _plate_text(plate),
        "arrays": {"file": beside.name, "sha256": digest},
        "people": people,
    }
    write_whole(beside, content)
    write_whole(path, (_readable(text) + "\n").encode())
    _remove_former(beside)
    return _digest(text)


def read_tracks(path: Path) -> TrackFile:
    """Read a track file and its arrays.

    Raises:
        MienError: A file is missing, damaged, changed by hand beyond sense, or of another version.
    """
    text = _read_text(path)
    plate = _plate(path, _part(path, text, "plate", dict))
    people = _part(path, text, "people", list)
    if len(people) > MOST_PEOPLE:
        raise _damaged(path, f"it lists {len(people)} people, more than {MOST_PEOPLE}")
    shapes: dict[str, tuple[int, ...]] = {}
    for index, person in enumerate(people):
        frames, points = _extent(path, person)
        shapes[f"{index}.points"] = (frames, points, 3)
        shapes[f"{index}.weight"] = (frames, points)
    arrays = _read_arrays(path, _part(path, text, "arrays", dict), shapes)
    tracks = tuple(
        _track(path, person, arrays[f"{index}.points"], arrays[f"{index}.weight"], plate.aspect)
        for index, person in enumerate(people)
    )
    if len({track.name for track in tracks}) < len(tracks):
        raise MienError(f"Two people share a name in {path}. Give each person a name of their own.")
    return TrackFile(plate, tracks, _digest(text))


def track_path(path: Path) -> bool:
    """Whether a file says of itself that it is a track, judged by its first lines."""
    try:
        with path.open("rb") as stream:
            return re.match(rb'\s*\{\s*"mien"\s*:\s*"track"', stream.read(200)) is not None
    except OSError:
        return False


def _check(track: FaceTrack) -> None:
    count = POINTS.get(track.scheme)
    frames = len(track.points)
    if count is None:
        raise ValueError(f"unknown landmark scheme {track.scheme!r}; one of {', '.join(POINTS)}")
    if track.points.shape != (frames, count, 3) or track.weight.shape != (frames, count):
        raise ValueError(
            f"points {tuple(track.points.shape)} and weight {tuple(track.weight.shape)} of {track.name!r}: "
            f"expected (F, {count}, 3) and (F, {count})"
        )
    if track.confidence.shape != (frames,) or track.keyed.shape != (frames,):
        raise ValueError(
            f"confidence {tuple(track.confidence.shape)} and keyed {tuple(track.keyed.shape)} "
            f"of {track.name!r}: expected ({frames},)"
        )
    if not torch.isfinite(track.confidence).all():
        raise ValueError(f"confidence of {track.name!r} is not finite")


def _person_text(track: FaceTrack) -> dict[str, Any]:
    confidence = track.confidence.tolist()
    rows = {
        str(track.first + start): [_short(value) for value in confidence[start : start + 10]]
        for start in range(0, len(confidence), 10)
    }
    return {
        "name": track.name,
        "ignored": track.ignored,
        "scheme": track.scheme,
        "first": track.first,
        "last": track.last,
        "keyed": [track.first + row for row in torch.nonzero(track.keyed).flatten().tolist()],
        "confidence": rows,
    }


def _short(value: float) -> float:
    """The number with the fewest digits that is the same in single precision."""
    return float(str(np.float32(value)))


def _plate_text(plate: TrackedPlate) -> dict[str, Any]:
    return {
        "path": plate.path,
        "width": plate.width,
        "height": plate.height,
        "first": plate.first,
        "last": plate.last,
        "aspect": plate.aspect,
        "rate": None if plate.rate is None else str(plate.rate),
    }


def _readable(value: Any, indent: str = "") -> str:
    """JSON in which a list of plain values takes one line, and everything else one line per entry."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{deeper}{json.dumps(key)}: {_readable(entry, deeper)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + "\n" + indent + "}"
    if isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        entries = [deeper + _readable(entry, deeper) for entry in value]
        return "[\n" + ",\n".join(entries) + "\n" + indent + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _digest(text: Mapping[str, Any]) -> str:
    """Hash of what determines a result: not of names of files, nor of spaces and line ends."""
    core = {key: value for key, value in text.items() if key not in ("arrays", "plate")}
    core["arrays"] = text["arrays"]["sha256"]
    core["plate"] = {key: value for key, value in text["plate"].items() if key != "path"}
    return hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()


def _remove_former(current: Path) -> None:
    """Remove arrays that earlier versions of the same track file named."""
    stem = current.name.split(".")[:-2]
    former = re.compile(re.escape(".".join(stem)) + r"\.[0-9a-f]{16}\.safetensors")
    for file in current.parent.iterdir():
        if file.name != current.name and former.fullmatch(file.name):
            with contextlib.suppress(OSError):
                file.unlink()


def _read_text(path: Path) -> dict[str, Any]:
    content = read_small(path, LARGEST_TEXT, "track")
    try:
        text = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise _damaged(path, f"it is not readable as JSON ({reason})") from error
    if not isinstance(text, dict) or text.get("mien") != "track":
        raise MienError(f"{path} is no mien track. Give the file that `mien track -o` wrote.")
    version = text.get("version")
    if version != VERSION:
        raise MienError(
            f"{path} is a track of version {repr(version)[:40]}; this mien reads version {VERSION}. "
            "Track the shot again, or use the mien that wrote it."
        )
    return text


def _part(path: Path, text: Mapping[str, Any], key: str, kind: type) -> Any:
    value = text.get(key) if isinstance(text, dict) else None
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (isinstance(value, int) and abs(value) > FARTHEST):
        raise _damaged(path, f"{key!r} is missing or not what it should be")
    return value


def _number(path: Path, text: Mapping[str, Any], key: str) -> float:
    value = text.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:
        raise _damaged(path, f"{key!r} is no number")
    return float(value)


def _plate(path: Path, text: Mapping[str, Any]) -> TrackedPlate:
    rate = text.get("rate")
    try:
        fraction = None if rate is None else Fraction(str(rate)[:40])
    except (ValueError, ZeroDivisionError) as error:
        raise _damaged(path, f"frame rate {str(rate)[:40]!r}") from error
    aspect = _number(path, text, "aspect")
    width, height = _part(path, text, "width", int), _part(path, text, "height", int)
    if aspect <= 0 or width <= 0 or height <= 0:
        raise _damaged(path, f"a plate of {width} x {height}, aspect {aspect}")
    return TrackedPlate(
        path=_part(path, text, "path", str),
        width=width,
        height=height,
        first=_part(path, text, "first", int),
        last=_part(path, text, "last", int),
        aspect=aspect,
        rate=fraction,
    )


def _extent(path: Path, person: Any) -> tuple[int, int]:
    """Number of frames and of points that a person claims, within bounds."""
    frames = _part(path, person, "last", int) - _part(path, person, "first", int) + 1
    if not 0 <= frames <= MOST_FRAMES:
        raise _damaged(path, f"a person of {frames} frames")
    scheme = _part(path, person, "scheme", str)
    if scheme not in POINTS:
        raise MienError(f"{path} has landmarks of scheme {scheme[:40]!r}; known are {', '.join(POINTS)}.")
    return frames, POINTS[scheme]


def _read_arrays(path: Path, link: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    name, digest = _part(path, link, "file", str), _part(path, link, "sha256", str)
    if not 0 < len(name) < LONGEST_NAME or Path(name).name != name or not DIGEST.fullmatch(digest):
        raise _damaged(path, "it names no arrays beside it")
    beside = path.with_name(name)
    if not beside.is_file():
        raise MienError(f"{beside} is missing: it holds the points of {path.name}. Copy both files together.")
    needed = 4 * sum(math.prod(shape) for shape in shapes.values())
    held = beside.stat().st_size
    if not needed <= held <= needed + 4096 + 512 * len(shapes):
        raise _strange(beside, path)
    with beside.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
            raise _strange(beside, path)
    try:
        with safe_open(beside, "pt") as file:
            arrays = {key: file.get_tensor(key) for key in shapes}
    except (SafetensorError, OSError, KeyError) as error:
        raise _damaged(beside, "it does not hold the arrays that the track names") from error
    for key, shape in shapes.items():
        if tuple(arrays[key].shape) != shape or arrays[key].dtype != torch.float32:
            raise _strange(beside, path)
    return arrays


def _track(path: Path, person: Mapping[str, Any], points: Tensor, weight: Tensor, aspect: float) -> FaceTrack:
    first = person["first"]
    confidence = torch.tensor(list(_confidences(path, person, first, len(points))), dtype=torch.float32)
    keyed = torch.zeros(len(points), dtype=torch.bool)
    for frame in _part(path, person, "keyed", list):
        if not isinstance(frame, int) or not 0 <= frame - first < len(points):
            raise _damaged(path, f"frame {str(frame)[:20]} is keyed but not in the track")
        keyed[frame - first] = True
    return FaceTrack(
        name=_part(path, person, "name", str),
        first=first,
        points=points,
        weight=weight,
        confidence=confidence,
        keyed=keyed,
        scheme=person["scheme"],
        aspect=aspect,
        ignored=_part(path, person, "ignored", bool),
    )


def _confidences(path: Path, person: Mapping[str, Any], first: int, frames: int) -> Iterator[float]:
    expected = first
    for key, values in _part(path, person, "confidence", dict).items():
        if key != str(expected) or not isinstance(values, list):
            raise _damaged(path, f"confidence of frame {expected} is missing")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise _damaged(path, f"confidence {str(value)[:20]} near frame {expected} is not 0 to 1")
            yield value
        expected += len(values)
    if expected != first + frames:
        raise _damaged(path, f"confidence ends at frame {expected - 1}")


def _damaged(path: Path, what: str) -> MienError:
    return MienError(f"{path} is damaged: {what}. Track the shot again, or take the file from a backup.")


def _strange(beside: Path, path: Path) -> MienError:
    return MienError(f"{beside} is not what {path.name} was written with. Copy both files together.")
