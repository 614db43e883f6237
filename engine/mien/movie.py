"""A movie of a shot: the rendered layers laid over the plate, frame after frame."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.deliver import Destination
from mien.files.delivery import DELIVERIES, sound_of, times_of, writing_movie
from mien.files.layers import read_provenance
from mien.files.region import Region
from mien.files.shot import frame_timecode, open_shot, read_channels, read_header, read_region
from mien.job import Job
from mien.pipeline import overlap
from mien.progress import Advance, Failure, Tell
from mien.recipe import digest
from mien.types import MienError

USUAL_RATE = Fraction(24)
"""Frames per second of plates that do not say."""
Picture = NDArray[np.float32]


def movie_path(job: Job) -> Path:
    """Where the movie of a job goes."""
    output = job.recipe.output
    wanted = job.shot.path.suffix.lower() if job.shot.movie is not None else ".mov"
    endings = DELIVERIES[output.codec].endings
    return job.folder / f"{output.name}{wanted if wanted in endings else endings[0]}"


def write_movie(
    job: Job,
    first: int,
    last: int,
    tell: Tell,
    *,
    force: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Lay the rendered layers of a range of frames over the plate, as a movie; skipped where nothing changed.

    Frames without a layer show the plate; frames without a plate repeat the one before. The movie appears
    when it is whole, with the plate's sound where it has any.

    Raises:
        MienError: The movie cannot be written.
    """
    destination = Destination(job)
    path = movie_path(job)
    frames = range(first, last + 1)
    key = _key(destination, frames)
    if not force and path.is_file() and _made_from(path) == key:
        return path
    shot, output = job.shot, job.recipe.output
    size = _size(job)
    latest: list[Picture] = [np.zeros((size[1], size[0], 3), np.float32)]

    def read(frame: int) -> tuple[Picture, Picture | None] | str:
        try:
            return _read(destination, frame)
        except MienError as error:
            return str(error)

    def show(frame: int, pair: tuple[Picture, Picture | None] | str) -> Picture:
        # A frame that cannot be read still takes its time, or picture and sound part.
        if isinstance(pair, str):
            tell(Failure("movie", frame, pair))
        else:
            latest[0] = _shown(job, *pair, size)
        return latest[0]

    with (
        torch.inference_mode(),
        writing_movie(
            path,
            output.codec,
            size=size,
            fps=shot.fps or USUAL_RATE,
            times=times_of(shot, frames),
            timecode=frame_timecode(shot, first),
            sound=sound_of(shot, first, last),
            provenance={**job.provenance, "movie_key": key},
        ) as append,
    ):
        run = overlap(frames, read, show, lambda frame, picture: append(picture))
        for count, (frame, error) in enumerate(run, start=1):
            if error is not None:
                raise error
            tell(Advance("movie", count, len(frames), frame))
            if cancelled():
                run.close()
                raise MienError(f"Stopped before {path} was whole; its layers are kept.")
    return path


def _key(destination: Destination, frames: range) -> str:
    """Key of a movie: the keys of all frames in it, and how it is coded."""
    job = destination.job
    output = job.recipe.output
    keys = [(frame, _made_from(destination.files(frame)["layer"], "frame_key")) for frame in frames]
    return digest(keys, output.codec, output.side_by_side, output.height)


def _made_from(path: Path, name: str = "movie_key") -> str | None:
    try:
        return read_provenance(path).get(name)
    except MienError:
        return None


def _read(destination: Destination, frame: int) -> tuple[Picture, Picture | None]:
    """The plate's display window as stored, and the layer's (h, w, 4) R G B A there, if there is one."""
    job = destination.job
    plate = read_region(job.shot, frame, job.shot.display)
    path = destination.files(frame)["layer"]
    if not path.is_file():
        return plate, None
    layer = open_shot(path)
    data = read_header(layer, layer.first).data
    if data.width * data.height <= 1:
        return plate, None
    part = read_channels(layer, layer.first, job.shot.display, ("R", "G", "B", "A"))
    return plate, part


def _shown(job: Job, plate: Picture, layer: Picture | None, size: tuple[int, int]) -> Picture:
    destination = Destination(job)
    show = job.colors.for_viewing(job.space)
    before = _viewed(show(_planar(plate)))
    after = before
    if layer is not None:
        rows, columns = np.nonzero(layer[..., 3] > 0)
        if len(rows):
            box = Region(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
            where = box.within(Region(0, 0, plate.shape[1], plate.shape[0]))
            after = before.copy()
            after[where] = _laid(job, destination.layer_space, plate[where], layer[where], before[where])
    if job.recipe.output.side_by_side:
        half = (size[0] // 2, size[1])
        return np.concatenate([_resized(before, half), _resized(after, half)], axis=1)
    return _resized(after, size)


def _laid(job: Job, space: str, plate: Picture, layer: Picture, before: Picture) -> Picture:
    """The premultiplied layer over the plate in its own linear space, as a viewer sees it."""
    behind = job.colors.between(job.space, space)(_planar(plate))
    front = _planar(layer)
    laid = front[:3] + behind * (1 - front[3:])
    seen = _viewed(job.colors.for_viewing(space, like=job.space)(laid))
    return np.where(layer[..., 3:] > 0, seen, before)


def _planar(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(picture).movedim(-1, 0)


def _viewed(picture: torch.Tensor) -> Picture:
    shown: Picture = picture.clamp(0, 1).nan_to_num(0.0).movedim(0, -1).contiguous().numpy()
    return shown


def _size(job: Job) -> tuple[int, int]:
    """Width and height of the movie: square pixels, the asked-for height, doubled side by side."""
    width, height = round(job.shot.size[0] * job.shot.aspect), job.shot.size[1]
    wanted = job.recipe.output.height or height
    width = round(width * wanted / height)
    return width * (2 if job.recipe.output.side_by_side else 1), wanted


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    smaller = size[1] < picture.shape[0]
    resized: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return resized
