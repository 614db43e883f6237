"""How a face moves as a whole, from one frame to all others."""

import torch
from torch import Tensor

from mien.types import FaceTrack, MienError


def reference_frame(track: FaceTrack) -> int:
    """The frame to measure moves from: the first that was placed by hand, else the first most trusted one.

    Raises:
        MienError: The face is never seen.
    """
    found = seen_rows(track)
    if not found.any():
        raise MienError(f"The face of {track.name} is never seen. Track the shot again, or place it by hand.")
    trust = torch.where(found, track.confidence + track.keyed.float(), -1.0)
    return track.first + int(trust.argmax())


def seen_rows(track: FaceTrack) -> Tensor:
    """(F,) bool: frames in which the face is not lost."""
    return (track.confidence > 0) & torch.isfinite(track.points[..., :2]).flatten(1).all(1)


def affine_moves(track: FaceTrack, reference: int) -> list[tuple[int, Tensor]]:
    """For every frame with the face, the (3, 3) map of plate pixels that best carries it from ``reference``.

    Least squares over all points, each weighted by the lesser trust of both frames.

    Raises:
        MienError: The face is lost on the reference frame.
    """
    return [(frame, _affine(source, target, weight)) for frame, source, target, weight in _pairs(track, reference)]


def affine_move(track: FaceTrack, reference: int, frame: int) -> Tensor:
    """The (3, 3) map of ``affine_moves`` for one frame.

    Raises:
        MienError: The face is lost on the reference frame or on this one.
    """
    rows = torch.tensor([reference - track.first, frame - track.first])
    found = seen_rows(track)
    for row, number in zip(rows.tolist(), (reference, frame)):
        if not 0 <= row < len(found) or not found[row]:
            raise MienError(f"The face of {track.name} is lost on frame {number}. Choose another frame.")
    flat, weight = track.points[rows, :, :2].double(), track.weight[rows].double()
    trust = weight.amin(0).clamp_min(1e-3)
    return _affine(flat[0], flat[1], trust / trust.sum())


def similarity_moves(track: FaceTrack, reference: int) -> list[tuple[int, Tensor]]:
    """Like ``affine_moves``, but moving, turning and scaling only, in square pixels.

    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991; in the
    plane, where a turn and scale are one complex number.

    Raises:
        MienError: The face is lost on the reference frame.
    """
    square = torch.diag(torch.tensor([track.aspect, 1.0, 1.0], dtype=torch.float64))
    stretch = square[:2, :2]
    return [
        (frame, torch.linalg.inv(square) @ _similarity(source @ stretch, target @ stretch, weight) @ square)
        for frame, source, target, weight in _pairs(track, reference)
    ]


def _pairs(track: FaceTrack, reference: int) -> list[tuple[int, Tensor, Tensor, Tensor]]:
    found = seen_rows(track)
    row = reference - track.first
    if not 0 <= row < len(found) or not found[row]:
        frames = (torch.nonzero(found).flatten() + track.first).tolist()
        some = f"It is seen from frame {frames[0]} to {frames[-1]}." if frames else "It is never seen."
        raise MienError(f"The face of {track.name} is lost on frame {reference}. {some} Choose another frame.")
    flat = track.points[..., :2].double()
    weight = track.weight.double()
    pairs = []
    for other in torch.nonzero(found).flatten().tolist():
        trust = torch.minimum(weight[row], weight[other]).clamp_min(1e-3)
        pairs.append((track.first + other, flat[row], flat[other], trust / trust.sum()))
    return pairs


def _affine(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    move = torch.eye(3, dtype=torch.float64)
    center, middle = weight @ source, weight @ target
    root = weight.sqrt()[:, None]
    linear = torch.linalg.lstsq(root * (source - center), root * (target - middle)).solution.T
    move[:2, :2] = linear
    move[:2, 2] = middle - linear @ center
    return move


def _similarity(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    move = torch.eye(3, dtype=torch.float64)
    center, middle = weight @ source, weight @ target
    before, after = source - center, target - middle
    spread = weight @ before.square().sum(1)
    along = weight @ (before * after).sum(1) / spread
    across = weight @ (before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) / spread
    linear = torch.stack((torch.stack((along, -across)), torch.stack((across, along))))
    move[:2, :2] = linear
    move[:2, 2] = middle - linear @ center
    return move
