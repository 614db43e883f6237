"""Which format a foreign file has, and what it brings: whole tracks, or points to track from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from mien.files.exchange import deepfacelab, faceswap, nuke, stmap, table
from mien.files.exchange.points import FIVE, key_argument, read_points
from mien.files.exchange.rigid import reference_frame, seen_rows
from mien.files.layers import write_plain
from mien.files.sequence import pattern_of
from mien.files.tracks import TrackedPlate
from mien.files.whole import write_whole
from mien.types import FaceTrack, MienError, PlacedPoints

Placed = Mapping[str, Mapping[int, PlacedPoints]]
"""Points placed by hand, by person and frame; the person is "" where it was not said."""


def placed_in(keys: Sequence[str], source: Path | None, height: int) -> Placed:
    """Points that are true on their frames: each of ``[NAME@]FRAME:FILE``, and what a Nuke script brings.

    The trackers of a script are either called after points of a face, or carry the one face that a key places
    to all their frames. Sources that hold whole faces bring none here: read them with ``read_foreign``.

    Raises:
        MienError: A key is malformed, a file is missing or damaged, or a script brings curves without a face.
    """
    placed: dict[str, dict[int, PlacedPoints]] = {}
    for key in keys:
        name, at, rest = key.rpartition("@") if "@" in key.partition(":")[0] else ("", "", key)
        frame, path = key_argument(rest)
        points = read_points(path, height)
        placed.setdefault(name if at else points.person or "", {})[frame] = points
    if source is None or source.suffix.lower() != ".nk":
        return placed
    carried: dict[str, dict[int, PlacedPoints]] = {}
    for curves in nuke.read_curves(source, height):
        for person, frames in _brought(source, curves, placed):
            carried.setdefault(person, {}).update(frames)
    return {person: {**carried.get(person, {}), **placed.get(person, {})} for person in {**carried, **placed}}


def read_foreign(path: Path, plate: TrackedPlate) -> tuple[FaceTrack, ...]:
    """Tracks that another program made: ``.csv``, faceswap's ``.json`` and ``.fsa``, or a folder of its faces.

    A folder, or one picture in it, holds faces that faceswap (PNG) or DeepFaceLab (JPEG) extracted. A Nuke
    script brings points to track from instead: see ``placed_in``.

    Raises:
        MienError: The file is none of these, or is damaged, or its frames are not those of the plate.
    """
    kind = path.suffix.lower()
    if path.is_dir():
        kind = ".png" if any(path.glob("*.png")) else ".jpg"
    folder = path if path.is_dir() else path.parent
    match kind:
        case ".csv":
            tracks = table.read_table(path, plate.aspect)
        case ".json" | ".fsa":
            tracks = faceswap.read_alignments(path, plate.aspect)
        case ".png":
            tracks = faceswap.read_faces(folder, plate.aspect)
        case ".jpg" | ".jpeg":
            tracks = deepfacelab.read_faces(folder, plate.aspect)
        case _:
            raise MienError(
                f"Cannot import {path}: {kind or 'this'} is not known. Known are .csv, faceswap's .json and .fsa, "
                "and folders of faces that faceswap (.png) or DeepFaceLab (.jpg) extracted."
            )
    first, last = min(track.first for track in tracks), max(track.last for track in tracks)
    if last < plate.first or first > plate.last:
        raise MienError(
            f"{path} has faces in frames {first} to {last}, but {plate.path} runs from {plate.first} to "
            f"{plate.last}. Number both alike."
        )
    return tracks


def write_foreign(path: Path, tracks: Sequence[FaceTrack], plate: TrackedPlate) -> tuple[Path, ...]:
    """Write tracks for another program, by the ending of ``path``; returns what was written.

    ``.csv`` is a table of all points. ``.nk`` holds a CornerPin2D and a Transform for each person.
    ``NAME.####.exr`` becomes two sequences of ST maps, NAME.stabilize and NAME.restore, of the first person who
    is not ignored.

    Raises:
        MienError: The ending is another, nobody is seen, or the files cannot be written.
    """
    seen = [track for track in tracks if not track.ignored and bool(seen_rows(track).any())]
    if not seen:
        raise MienError(f"Nobody is seen in {plate.path}, so there is nothing to put into {path}.")
    match path.suffix.lower():
        case ".csv":
            write_whole(path, table.table(seen).encode())
        case ".nk":
            nodes = chain.from_iterable(
                (nuke.corner_pin(track, at, plate.height), nuke.transform(track, at, plate.height))
                for track, at in ((track, reference_frame(track)) for track in seen)
            )
            write_whole(path, nuke.script(nodes).encode())
        case ".exr":
            return _write_maps(path, seen[0], plate)
        case other:
            raise MienError(f"Cannot export {path}: {other or 'no ending'} is not known. Use .csv, .nk or .####.exr.")
    return (path,)


def _brought(
    source: Path, curves: nuke.PointCurves, placed: Placed
) -> Iterator[tuple[str, Mapping[int, PlacedPoints]]]:
    """Whom the curves of one node place, and where."""
    try:
        named = nuke.named_points(curves)
    except MienError:
        named = {}
    if named:
        yield (next(iter(placed)) if len(placed) == 1 else ""), named
        return
    anchors = [(person, frame) for person, frames in placed.items() for frame in frames]
    if len({person for person, _ in anchors}) != 1:
        raise MienError(
            f"The curves of {curves.node} in {source} do not say where a face is. Place one face on a frame that "
            f"has keys, with --key FRAME:points.json, or call five trackers {', '.join(FIVE)}."
        )
    person, frame = next(((each, at) for each, at in anchors if curves.keyed(at)), anchors[0])
    yield person, nuke.carried_points(curves, placed[person][frame], frame)


def _write_maps(path: Path, track: FaceTrack, plate: TrackedPlate) -> tuple[Path, ...]:
    pattern = pattern_of(path)
    if pattern is None:
        raise MienError(f"{path} is one file, but ST maps are one per frame. Write {path.stem}.####.exr.")
    kinds = [replace(pattern, prefix=f"{pattern.prefix}{kind}.") for kind in ("stabilize", "restore")]
    reference = reference_frame(track)
    provenance = {"source": plate.path, "person": track.name, "reference": str(reference)}
    for frame, *maps in stmap.stabilize_and_restore(track, reference, (plate.width, plate.height)):
        for kind, coordinates in zip(kinds, maps):
            pixels = np.concatenate((coordinates, np.zeros_like(coordinates[..., :1])), 2)
            write_plain(kind.path(frame), pixels, provenance=provenance, pixel_type="float")
    return tuple(Path(str(kind)) for kind in kinds)
