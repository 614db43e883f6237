"""From photographs, or a take, of the performer to an identity that nodes can put on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.color import Colors
from mien.converters import open_installed
from mien.files.identities import IdentityFile, Likeness
from mien.files.shot import Shot, open_shot, read_region
from mien.files.tracks import read_tracks
from mien.footage import plate_space
from mien.models.backends import FaceFinder
from mien.models.crops import crop_from_detection, crop_from_points
from mien.models.photograph import WarpSource, warp_source
from mien.models.warp import WarpTake, warp_identity
from mien.reenacted import BOUND, KIND, open_reenacted
from mien.tracking import face_at, face_widths
from mien.trained import TRAINED
from mien.types import FaceTrack, Identity, MienError

IdentityAt = Callable[[int], Identity | None]
SURE = 0.5
"""Detections below this are no second face in a portrait."""
RIVAL = 1 / 3
"""A second face narrower than this share of the largest is somebody in the background."""
LOOKS = ((0.0, 0.0, 1.0), (0.02, 0.01, 1.05), (-0.02, 0.01, 0.95), (0.01, -0.02, 1.1), (-0.01, -0.02, 0.97))
"""Shift x, y and scale of the crops whose landmarks are averaged for a still."""


@dataclass(frozen=True)
class Photo:
    """One photograph of the performer.

    Attributes:
        image: (3, H, W) scene-linear, working space.
        points: (468, 3) mesh or (68, 3) ibug68 landmarks in its pixels.
        weight: (468,) or (68,) trust in each.
        aspect: Pixel aspect.
    """

    image: Tensor
    points: Tensor
    weight: Tensor
    aspect: float


def read_photo(shot: Shot, colors: Colors, space: str, finder: FaceFinder) -> Photo:
    """The one face of a still, found and measured.

    Raises:
        MienError: No face, several faces, or a picture that cannot be read.
    """
    frame = shot.frames[0]
    pixels = torch.from_numpy(read_region(shot, frame, shot.display)).movedim(-1, 0)
    image = colors.to_working(space)(pixels)
    picture = colors.encoding.preview(image, colors.encoding.exposure(image)).numpy()
    if abs(shot.aspect - 1) > 1e-3:
        raise MienError(f"{shot.path} has pixels of aspect {shot.aspect:g}. Save the photograph with square pixels.")
    found = finder.detect(picture, 0.03 * min(picture.shape[:2]))
    widths = found.boxes[:, 2] - found.boxes[:, 0]
    sure = [i for i in range(len(widths)) if float(found.scores[i]) >= SURE]
    if not sure:
        raise MienError(
            f"No face in the source {shot.path}. Choose a picture that shows the performer's whole face, lit and sharp."
        )
    largest = max(sure, key=lambda i: float(widths[i]))
    rivals = [i for i in sure if float(widths[i]) > RIVAL * float(widths[largest])]
    if len(rivals) > 1:
        raise MienError(f"{len(rivals)} faces in the source {shot.path}. Crop it to the performer.")
    crop = crop_from_detection(found.boxes[largest], found.five[largest])
    for _ in range(3):
        crop = crop_from_points(finder.landmarks(picture, crop[None]).points[0], finder.scheme)
    crops = torch.stack([crop * crop.new_tensor([1, 1, s, 1]) + _shift(crop, x, y) for x, y, s in LOOKS])
    marks = finder.landmarks(picture, crops)
    points = marks.points.median(0).values
    weight = (marks.confidence * marks.visibility).mean(0)
    if float(marks.presence.mean()) < SURE:
        raise MienError(f"No clear face in the source {shot.path}. Choose a sharper or more frontal picture.")
    return Photo(image, points, weight, shot.aspect)


def _shift(crop: Tensor, x: float, y: float) -> Tensor:
    return crop.new_tensor([x, y, 0, 0]) * crop[2]


def photo_identity(photos: Sequence[Photo], names: Sequence[str], colors: Colors, likeness: Likeness) -> IdentityFile:
    """An identity file of kind ``warp`` from stills."""
    tensors = {}
    for index, photo in enumerate(photos):
        source = warp_source(photo.image, photo.points, photo.weight, photo.aspect)
        tensors[f"{index}.image"], tensors[f"{index}.points"] = source.image, source.points
        tensors[f"{index}.facing"] = source.facing
    facts = {"space": colors.working, "sources": list(names), "aspects": [photo.aspect for photo in photos]}
    return IdentityFile("warp", likeness, facts, tensors)


def take_identity(shot: Shot, space: str, track: Path, face: str, start: int, likeness: Likeness) -> IdentityFile:
    """An identity file of kind ``take``: another take of the performer, frame by frame.

    Args:
        shot: The take.
        space: Its color space.
        track: Track file of the take.
        face: Whose track.
        start: Take frame that goes onto plate frame 0.
        likeness: Whose face it is.
    """
    facts = {
        "take": str(shot.path.absolute()),
        "first": shot.first,
        "last": shot.last,
        "space": space,
        "track": str(track.absolute()),
        "track_digest": read_tracks(track).digest,
        "face": face,
        "start": start,
    }
    return IdentityFile("take", likeness, facts)


def open_identity(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> IdentityAt:
    """What an identity puts on in each plate frame.

    Raises:
        MienError: An unknown kind, or files that an identity refers to are gone or changed.
    """
    if file.kind == "warp":
        return _open_photos(file, path, colors, device)
    if file.kind == "take":
        return _open_take(file, path, colors, device)
    if file.kind == BOUND:
        bound = open_reenacted(file, path, colors, device)
        return lambda frame: bound
    if file.kind == KIND:
        raise MienError(
            f"{path} moves photographs and shows nobody by itself. Give it one: "
            f"mien convert PLATE --identity {path} --source PHOTO -o OUT."
        )
    if file.kind in TRAINED:
        trained = TRAINED[file.kind](file, path, colors, device)
        return lambda frame: trained
    if (other := open_installed(file, path, colors, device)) is not None:
        return lambda frame: other
    raise MienError(
        f"{path} is an identity of kind {file.kind[:40]!r}, which neither this version of mien nor an installed "
        "converter can run. Install the package that made it."
    )


def _open_photos(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> IdentityAt:
    transform = colors.between(_fact(file, path, "space", str), colors.working)
    sources = []
    for index, aspect in enumerate(_fact(file, path, "aspects", list)):
        try:
            image, points, facing = (file.tensors[f"{index}.{name}"].float() for name in ("image", "points", "facing"))
        except KeyError as error:
            raise MienError(f"{path} lacks the tensor {error}. Make the identity again.") from error
        if image.ndim != 3 or image.shape[0] != 3 or points.shape[1:] != (3,) or facing.shape != points.shape[:1]:
            raise MienError(f"{path} holds tensors of the wrong shape. Make the identity again.")
        if not isinstance(aspect, int | float) or not 0 < aspect < math.inf:
            raise MienError(f"{path} holds a picture of pixel aspect {str(aspect)[:40]}. Make the identity again.")
        sources.append(WarpSource(transform(image).to(device), points.to(device), facing.to(device), float(aspect)))
    identity = warp_identity(sources)
    return lambda frame: identity


def _open_take(file: IdentityFile, path: Path, colors: Colors, device: torch.device) -> IdentityAt:
    first, last = _fact(file, path, "first", int), _fact(file, path, "last", int)
    shot = open_shot(_fact(file, path, "take", str), (first, last))
    tracks = read_tracks(Path(_fact(file, path, "track", str)))
    if tracks.digest != file.facts.get("track_digest"):
        raise MienError(f"The track of the take that {path} uses has changed. Make the identity again.")
    track = tracks.person(_fact(file, path, "face", str))
    to_working = colors.to_working(plate_space(shot, colors, _fact(file, path, "space", str)))

    # A solve and a render ask for the same few frames around one another.
    @lru_cache(maxsize=2)
    def source(frame: int) -> WarpSource | None:
        face = face_at(track, frame)
        if face is None or not shot.first <= frame <= shot.last:
            return None
        image = to_working(torch.from_numpy(read_region(shot, frame, shot.display)).movedim(-1, 0))
        return warp_source(image.to(device), face.points.to(device), face.weight.to(device), shot.aspect)

    take = WarpTake(source, file.digest, _fact(file, path, "start", int))
    return take.at


def _fact(file: IdentityFile, path: Path, name: str, kind: type[Any]) -> Any:
    value = file.facts.get(name)
    if not isinstance(value, kind):
        raise MienError(f"{path} does not say its {name!r}. Make the identity again.")
    return value


def prominent(tracks: Sequence[FaceTrack]) -> FaceTrack | None:
    """The person seen longest and largest among those not ignored."""

    def presence(track: FaceTrack) -> float:
        return float((face_widths(track) * track.confidence).nansum())

    wanted = [track for track in tracks if not track.ignored]
    return wanted[0] if len(wanted) == 1 else max(wanted, key=presence, default=None)
