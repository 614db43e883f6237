"""Mattes drawn elsewhere: read from disk under the same display window as the plate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mien.files.region import Region
from mien.files.sequence import pattern_of
from mien.files.shot import MOVIES
from mien.files.stills import Header, choose_channels, read_headers, read_pixels
from mien.ops.warp import warp
from mien.types import Matte, MienError

ALPHA = ("a", "alpha")
NAMED = {"red": ("r", "red"), "green": ("g", "green"), "blue": ("b", "blue"), "alpha": ALPHA}
MARGIN = 4
"""Pixels read around a region that is resampled."""


def chosen(file: str) -> bool:
    """Whether a setting names a file at all."""
    return file not in ("", ".")


def file_at(file: str, frame: int) -> Path:
    """The file of one frame of a sequence (``####`` or ``%04d``), or the one still that serves all frames.

    Raises:
        MienError: It is a movie, or it is not there; a sequence says which frame it lacks.
    """
    path = Path(file)
    if path.suffix.lower() in MOVIES:
        raise MienError(f"{path} is a movie: mattes are read from stills such as roto.####.exr.")
    pattern = pattern_of(path)
    there = path if pattern is None else pattern.path(frame)
    if there.is_file():
        return there
    if pattern is None:
        raise MienError(f"There is no matte {path}. Check the path.")
    raise MienError(f"Frame {frame} of {pattern} is missing{_near(pattern.frames(), frame)}. Render or copy it.")


def read_roto(
    plate: tuple[int, int],
    frame: int,
    scale: float,
    file: str,
    channel: str,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> Matte:
    """The (1, height, width) matte under a region of a frame, 0 to 1.

    Args:
        plate: Width and height of the plate's display window.
        frame: Number of the frame.
        scale: Size of the region's pictures over the plate's.
        file: Sequence or still.
        channel: ``auto``, ``alpha``, ``red``, ``green``, ``blue``, or ``luminance``.
        corner: Top-left pixel (x, y) of the region.
        size: Its height and width.

    A matte drawn on a picture of another size is scaled to the plate's display window. What the file does not
    store is 0; NaN is 0.

    Raises:
        MienError: The file is missing or damaged, or has no such channel.
    """
    path = file_at(file, frame)
    headers = read_headers(path)
    part, names, weights = _channels(path, headers, channel)
    header = headers[part]
    across, down = (there / (here * scale) for there, here in zip(header.size, plate))
    if across == down == 1:
        matte = _read(path, header, part, names, weights, Region(*corner, size[1], size[0]))
        return matte.clamp(0, 1)
    left, top = int(np.floor(corner[0] * across)) - MARGIN, int(np.floor(corner[1] * down)) - MARGIN
    right = int(np.ceil((corner[0] + size[1]) * across)) + MARGIN
    bottom = int(np.ceil((corner[1] + size[0]) * down)) + MARGIN
    stored = _read(path, header, part, names, weights, Region(left, top, right - left, bottom - top))
    matrix = torch.tensor(
        [[1 / across, 0, left / across - corner[0]], [0, 1 / down, top / down - corner[1]], [0, 0, 1]],
        dtype=torch.float64,
    )
    return warp(stored, matrix, size).clamp(0, 1)


def _read(
    path: Path, header: Header, part: int, names: Sequence[str], weights: Sequence[float], region: Region
) -> Matte:
    pixels = torch.from_numpy(read_pixels(path, header, part, names, region)).nan_to_num(0.0, 1.0, 0.0)
    return (pixels * pixels.new_tensor(weights)).sum(-1)[None]


def _channels(path: Path, headers: Sequence[Header], channel: str) -> tuple[int, tuple[str, ...], tuple[float, ...]]:
    """Part, channels and the weights by which these make the matte."""
    if channel in NAMED:
        for part, header in enumerate(headers):
            for name in header.channels:
                if name.lower() in NAMED[channel]:
                    return part, (name,), (1.0,)
        raise MienError(f"{path} has no {channel} channel. It has: {', '.join(headers[0].channels)[:400]}.")
    if channel == "auto":
        # A layer's alpha is its matte; where a picture says it is opaque all over, its brightness is.
        for part, header in enumerate(headers):
            alpha = next((name for name in header.channels if name.lower() in ALPHA), None)
            if alpha is not None and not _opaque(path, header, part, alpha):
                return part, (alpha,), (1.0,)
    picture = choose_channels(path, headers, None)
    count = len(picture.channels)
    return picture.part, picture.channels, (1 / count,) * count


def _opaque(path: Path, header: Header, part: int, alpha: str) -> bool:
    """Whether an alpha is 1 all over a picture that shows something beside it."""
    if len(header.channels) == 1 or header.data.overlap(header.display) != header.display:
        return False
    return bool((read_pixels(path, header, part, (alpha,), header.data) >= 1).all())


def _near(frames: Sequence[int], frame: int) -> str:
    if not frames:
        return ", as are all others"
    return f": there are {frames[0]} to {frames[-1]}" if not frames[0] <= frame <= frames[-1] else ""
