"""ST maps that hold a face still, and that put back what was painted on the still face."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.files.exchange.rigid import affine_move, affine_moves
from mien.types import FaceTrack

Coordinates = NDArray[np.float32]


def stabilize_and_restore(
    track: FaceTrack, reference: int, size: tuple[int, int]
) -> Iterator[tuple[int, Coordinates, Coordinates]]:
    """Every frame with the face, a map that holds it where it is on the reference frame, one that undoes that.

    Each map is (height, width, 2): where in its input a pixel comes from, from 0 to 1 and with y upward, as an
    ST map demands, for plates of ``size`` (width, height). The face as a whole moves by one affine map, so that
    the pair is exact: restoring what was stabilized gives the plate back, but for resampling.

    Raises:
        MienError: The face is lost on the reference frame.
    """
    for frame, move in affine_moves(track, reference):
        yield frame, _map(move, size), _map(torch.linalg.inv(move), size)


def maps_at(track: FaceTrack, reference: int, frame: int, size: tuple[int, int]) -> tuple[Coordinates, Coordinates]:
    """The pair of maps of ``stabilize_and_restore`` for one frame.

    Raises:
        MienError: The face is lost on the reference frame or on this one.
    """
    move = affine_move(track, reference, frame)
    return _map(move, size), _map(torch.linalg.inv(move), size)


def still_map(size: tuple[int, int]) -> Coordinates:
    """The map that moves nothing."""
    return _map(torch.eye(3, dtype=torch.float64), size)


def _map(move: Tensor, size: tuple[int, int]) -> Coordinates:
    width, height = size
    x = torch.arange(width, dtype=torch.float64) + 0.5
    y = (torch.arange(height, dtype=torch.float64) + 0.5)[:, None]
    u = (move[0, 0] * x + move[0, 1] * y + move[0, 2]) / width
    v = 1 - (move[1, 0] * x + move[1, 1] * y + move[1, 2]) / height
    coordinates: Coordinates = torch.stack((u, v), -1).float().numpy()
    return coordinates
