"""``mien crop``: every face of a video as a small video of its own, in a square that stands still."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.commands.convert import make_folder, shot_name, tracked
from mien.commands.plate import OpenPlate, PlateArguments, open_plate
from mien.commands.track import TrackArguments
from mien.files.delivery import sound_of, writing_movie
from mien.files.tracks import read_tracks
from mien.footage import ShotFootage
from mien.models.aligned import as_mesh, level_square
from mien.models.crops import cut_crop
from mien.movie import USUAL_RATE
from mien.progress import Advance, Note, Outcome, Tell
from mien.recipe import RecipeError
from mien.tracking import face_at
from mien.types import FaceTrack

ROOM = 1.6
"""Side of the square that holds a moving face, over that around the face itself, beyond which a new one begins."""


@dataclass(frozen=True)
class CropArguments:
    """What ``mien crop`` was asked for.

    Attributes:
        plate: The video.
        folder: Where the crops go.
        size: Side of the crops in pixels.
        coverage: Side of the square around a face over its height.
        least: Frames that a crop has at least.
    """

    plate: PlateArguments
    folder: Path
    size: int = 256
    coverage: float = 1.7
    least: int = 24
    tracking: TrackArguments = field(default_factory=TrackArguments)
    force: bool = False


@dataclass(frozen=True)
class Tube:
    """A square of a plate that holds one face for a while.

    Attributes:
        name: Whose face.
        first, last: Frames, both included.
        square: Center x and y and side, in pixels of a picture with square pixels.
    """

    name: str
    first: int
    last: int
    square: tuple[float, float, float]


def crop_video(arguments: CropArguments, tell: Tell) -> Outcome:
    """Follow every face and write each as a movie.

    Raises:
        RecipeError: A size that cannot be.
        MienError: The video cannot be read, or shows nobody.
    """
    if not 16 <= arguments.size <= 4096 or not 0.5 <= arguments.coverage <= 8 or arguments.least < 1:
        raise RecipeError("--size is 16 to 4096, --coverage 0.5 to 8, --least 1 or more.")
    plate = open_plate(arguments.plate)
    folder = make_folder(arguments.folder)
    path = folder / f"{shot_name(plate.shot)}.track.json"
    tracked(plate, arguments.tracking, path, arguments.force, tell)
    found = [tube for track in read_tracks(path).tracks for tube in tubes(track, arguments.coverage)]
    kept = [tube for tube in found if tube.last - tube.first + 1 >= arguments.least]
    if len(kept) < len(found):
        tell(Note(f"{len(found) - len(kept)} crops shorter than {arguments.least} frames are left out (--least)."))
    written = [str(_write(plate, tube, arguments.size, folder, row, tell)) for row, tube in enumerate(kept, start=1)]
    return Outcome((str(path), *written), done=sum(tube.last - tube.first + 1 for tube in kept))


def tubes(track: FaceTrack, coverage: float) -> Iterator[Tube]:
    """Squares that stand still while a face moves in them; where it has left, or moved too far, a new one begins."""
    squares: list[Tensor] = []
    begun = track.first
    for frame in range(track.first, track.last + 2):
        face = face_at(track, frame) if frame <= track.last else None
        square = None
        if face is not None and not track.ignored:
            points = as_mesh(face.points, face.scheme)
            square = level_square(points * points.new_tensor([face.aspect, 1.0, 1.0]), coverage)
        if squares and (square is None or _around([*squares, square])[2] > ROOM * _typical([*squares, square])):
            yield Tube(track.name, begun, frame - 1, _around(squares))
            squares = []
        if square is not None:
            begun = begun if squares else frame
            squares.append(square)


def _typical(squares: Sequence[Tensor]) -> float:
    return float(torch.stack(list(squares))[:, 2].median())


def _around(squares: Sequence[Tensor]) -> tuple[float, float, float]:
    """The square that holds the middle of all, and the typical one at each of their places."""
    all_of = torch.stack(list(squares)).double()
    low, high = all_of[:, :2].amin(0), all_of[:, :2].amax(0)
    side = float(all_of[:, 2].median() + (high - low).amax())
    x, y = ((low + high) / 2).tolist()
    return x, y, side


def cut(footage: ShotFootage, tube: Tube, size: int) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """The pictures of a tube, (size, size, 3); None where a frame cannot be read."""
    x, y, side = tube.square
    scale = size / side
    matrix = np.array([[scale, 0, size / 2 - scale * x], [0, scale, size / 2 - scale * y], [0, 0, 1]])
    for frame in range(tube.first, tube.last + 1):
        picture = footage.picture(frame)
        yield frame, None if picture is None else cut_crop(picture, matrix, side, size)


def _write(plate: OpenPlate, tube: Tube, size: int, folder: Path, number: int, tell: Tell) -> Path:
    shot = plate.shot
    path = folder / f"{shot_name(shot)}.{number:02d}.{tube.first}-{tube.last}.mp4"
    footage = ShotFootage(shot, plate.colors, plate.space)
    total = tube.last - tube.first + 1
    x, y, side = tube.square
    tell(Note(f"{tube.name}: frames {tube.first}-{tube.last}, {side:.0f} pixels around {x:.0f}, {y:.0f}: {path.name}"))
    before: Any = np.zeros((size, size, 3), np.uint8)
    with writing_movie(
        path,
        "h264",
        size=(size, size),
        fps=shot.fps or USUAL_RATE,
        sound=sound_of(shot, tube.first, tube.last),
        provenance={"source": shot.name, "shows": "crop"},
    ) as append:
        for count, (frame, picture) in enumerate(cut(footage, tube, size), start=1):
            before = before if picture is None else picture
            append(before.astype(np.float32) / np.float32(255))
            tell(Advance("movie", count, total, frame))
    return path
