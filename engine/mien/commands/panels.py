"""How a photograph came to follow a performance, as a movie."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien.chain import face_in
from mien.files.delivery import sound_of, times_of, writing_movie
from mien.job import Job
from mien.models.reenact import Reenacted
from mien.movie import USUAL_RATE
from mien.progress import Advance, Tell
from mien.run import plate_at, solved
from mien.train.reenact import panels
from mien.types import MienError

SIDE = 256
"""Pixels that each of the pictures is at least wide."""
COUNT = 5


@torch.inference_mode()
def write_panels(job: Job, frames: tuple[int, int] | None, path: Path, tell: Tell) -> Path:
    """Source with keypoints, driving picture with keypoints, motion, what must be painted, result, side by side.

    Frames without a face are gray.

    Raises:
        MienError: The movie cannot be written.
    """
    job = solved(job, tell)
    first, last = frames or (job.shot.first, job.shot.last)
    numbers = [frame for frame in range(first, last + 1) if job.shot.first <= frame <= job.shot.last]
    side = max(SIDE, _identity(job, numbers[0]).view.size)
    with writing_movie(
        path,
        "h264",
        size=(COUNT * side, side),
        fps=job.shot.fps or USUAL_RATE,
        times=times_of(job.shot, range(numbers[0], numbers[-1] + 1)),
        sound=sound_of(job.shot, numbers[0], numbers[-1]),
        provenance={**job.provenance, "shows": "how a photograph follows"},
    ) as append:
        for count, frame in enumerate(numbers, start=1):
            append(_row(job, frame, side).astype(np.float32) / np.float32(255))
            tell(Advance("movie", count, len(numbers), frame))
    return path


def _identity(job: Job, frame: int) -> Reenacted:
    identity = job.chain.identity_at(frame)
    assert isinstance(identity, Reenacted)
    return identity


def _row(job: Job, frame: int, side: int) -> NDArray[np.uint8]:
    """(side, 5 side, 3) bytes."""
    identity = _identity(job, frame)
    try:
        face, plate = face_in(job.chain, frame), plate_at(job, frame)
    except MienError:
        face = plate = None
    if face is None or plate is None:
        return np.full((side, COUNT * side, 3), 48, np.uint8)
    look = identity.look(plate, face)
    drawn, motion = identity.draw(look)
    source = identity.source
    pictures = panels(source.picture, look.picture, source.keypoints, look.keypoints, motion, drawn, side)
    return np.concatenate(pictures, 1)
