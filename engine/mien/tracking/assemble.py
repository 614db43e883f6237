"""Tracklets made into the tracks of people."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from mien.tracking.people import Tracklet
from mien.tracking.shape import box, extent
from mien.types import FaceTrack, MienError


def tracks_of(people: Sequence[Sequence[Tracklet]], scheme: str, aspect: float) -> tuple[FaceTrack, ...]:
    """One track for each person, in plate pixels, the most prominent first; frames between tracklets are lost."""
    ordered = sorted(people, key=lambda person: -sum(prominence(tracklet) for tracklet in person))
    return tuple(track_of(f"person{index}", person, scheme, aspect) for index, person in enumerate(ordered, 1))


def prominence(tracklet: Tracklet) -> float:
    """Frames times size of a tracklet."""
    return sum(extent(box(points)) for points in tracklet.points[::8]) * min(8, len(tracklet.points))


def track_of(name: str, person: Sequence[Tracklet], scheme: str, aspect: float) -> FaceTrack:
    """The track of one person from tracklets that do not overlap."""
    first, last = min(t.first for t in person), max(t.last for t in person)
    frames, count = last - first + 1, person[0].points.shape[1]
    points = np.full((frames, count, 3), np.nan, np.float32)
    weight = np.zeros((frames, count), np.float32)
    confidence = np.zeros(frames, np.float32)
    for tracklet in person:
        rows = slice(tracklet.first - first, tracklet.last - first + 1)
        points[rows], weight[rows], confidence[rows] = tracklet.points, tracklet.weight, tracklet.confidence
    points[..., 0] /= aspect
    points[confidence <= 0] = np.nan
    weight[confidence <= 0] = 0
    return FaceTrack(
        name,
        first,
        torch.from_numpy(points),
        torch.from_numpy(weight),
        torch.from_numpy(confidence),
        torch.zeros(frames, dtype=torch.bool),
        scheme,
        aspect,
    )


def pick(tracks: Iterable[FaceTrack], names: Sequence[str]) -> tuple[FaceTrack, ...]:
    """The tracks of the named people, in that order.

    Raises:
        MienError: Nobody has one of the names.
    """
    return tuple(named(tuple(tracks), name) for name in names)


def rename(tracks: Iterable[FaceTrack], old: str, new: str) -> tuple[FaceTrack, ...]:
    """The tracks with one person called otherwise.

    Raises:
        MienError: Nobody is called ``old``, or somebody is called ``new`` already.
    """
    held = tuple(tracks)
    one = named(held, old)
    if any(track.name == new for track in held if track is not one):
        raise MienError(f"Somebody is called {new!r} already. Choose another name for {old!r}.")
    return tuple(replace(track, name=new) if track is one else track for track in held)


def ignore(tracks: Iterable[FaceTrack], names: Sequence[str]) -> tuple[FaceTrack, ...]:
    """The tracks with the named people marked so that nothing is done to them.

    Raises:
        MienError: Nobody has one of the names.
    """
    held = tuple(tracks)
    chosen = [named(held, name) for name in names]
    return tuple(replace(track, ignored=True) if any(track is one for one in chosen) else track for track in held)


def named(tracks: Sequence[FaceTrack], name: str) -> FaceTrack:
    """The track of the person called ``name``.

    Raises:
        MienError: Nobody is.
    """
    for track in tracks:
        if track.name == name:
            return track
    known = ", ".join(track.name for track in tracks) or "nobody"
    raise MienError(f"No person is called {name!r}. The track holds: {known}.")
