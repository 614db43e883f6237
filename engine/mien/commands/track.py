"""``mien track``: where every face of a shot is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien import tracking
from mien.chain import declaration
from mien.commands.plate import OpenPlate, PlateArguments, open_plate
from mien.files.exchange import placed_in, read_foreign, write_foreign
from mien.files.tracks import read_tracks, write_tracks
from mien.footage import ShotFootage
from mien.job import choose_device
from mien.models import backends
from mien.models.backends import FaceFinder
from mien.preview import write_preview
from mien.progress import Advance, Note, Outcome, Tell, ranges
from mien.recipe import RecipeError
from mien.types import FaceTrack, MienError


@dataclass(frozen=True)
class TrackArguments:
    """How to track.

    Attributes:
        detector: Which networks find faces.
        weights: Folder of networks, for detectors that bring none.
        keys: ``[NAME@]FRAME:FILE`` of points placed by hand.
        source: File of another program to take points from.
        settings: ``track_faces.NAME`` and ``smooth_track.NAME`` to values.
        names: (found name, new name) pairs.
        ignore: Faces to leave alone.
        preview: Movie to draw the track into.
        exports: Files for other programs.
        device: Where networks run.
    """

    detector: str = "builtin"
    weights: Path | None = None
    keys: tuple[str, ...] = ()
    source: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    preview: Path | None = None
    exports: tuple[Path, ...] = ()
    device: str = "auto"


def open_finder(arguments: TrackArguments) -> FaceFinder:
    """The networks that find faces.

    Raises:
        MienError: Their weights are not to be had.
    """
    name: Any = arguments.detector
    return backends.open(name, arguments.weights, str(choose_device(arguments.device)))


def node_settings(node: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The checked settings of one node, defaults included, from ``NODE.PARAM`` assignments.

    Raises:
        RecipeError: The node has no such setting, or not this value.
        DeclarationError: As above, from the declaration.
    """
    declared = declaration(node)
    given = {}
    for path, value in settings.items():
        target, _, name = path.partition(".")
        if target == node:
            declared.param(name)
            given[name] = value
    return {p.name: p.check(given.get(p.name, p.default), f"{node}.{p.name}") for p in declared.params}


def track_plate(
    plate: OpenPlate, arguments: TrackArguments, tell: Tell
) -> tuple[tuple[FaceTrack, ...], dict[int, str]]:
    """Every face of a shot, and what was wrong with frames that could not be read.

    Raises:
        MienError: Nothing could be tracked.
    """
    shot = plate.shot
    if arguments.source is not None and arguments.source.suffix.lower() != ".nk":
        return read_foreign(arguments.source, plate.facts), {}
    footage = ShotFootage(shot, plate.colors, plate.space)
    keys = placed_in(arguments.keys, arguments.source, shot.size[1])
    settings = node_settings("track_faces", {**arguments.settings, "track_faces.detector": arguments.detector})

    def progress(done: int, total: int) -> None:
        tell(Advance("track", done, total, shot.first + done - 1))

    tracks = tracking.track(
        footage,
        open_finder(arguments),
        confidence=settings["confidence"],
        smallest=settings["smallest"],
        every=settings["every"],
        keys=keys,
        progress=progress,
    )
    return tracks, footage.failures


def track_shot(plate: PlateArguments, output: Path, arguments: TrackArguments, tell: Tell) -> Outcome:
    """Track a shot and write the track, a preview and exports.

    Raises:
        MienError: The plate cannot be opened, or something cannot be written.
    """
    for name in arguments.settings:
        if name.partition(".")[0] not in ("track_faces", "smooth_track"):
            raise RecipeError(f"Cannot set {name!r} here: mien track has track_faces and smooth_track.")
    smoothing = node_settings("smooth_track", arguments.settings)
    opened = open_plate(plate)
    if output.suffix != ".json":
        raise RecipeError(f"A track file ends in .json: write -o {output}.json.")
    tracks, failures = track_plate(opened, arguments, tell)
    for old, new in arguments.names:
        tracks = tracking.rename(tracks, old, new)
    tracks = tracking.ignore(tracks, arguments.ignore) if arguments.ignore else tracks
    write_tracks(output, tracks, opened.facts)
    written = [str(output)]
    tell_faces(tracks, opened, tell)
    smooth = tuple(tracking.smooth(track, **smoothing) for track in tracks)
    for path in arguments.exports:
        written += [str(made) for made in write_foreign(path, smooth, opened.facts)]
    if arguments.preview is not None:
        footage = ShotFootage(opened.shot, opened.colors, opened.space)
        write_preview(arguments.preview, opened.shot, footage, smooth, tell)
        written.append(str(arguments.preview))
    if not tracks:
        failures = {**dict.fromkeys(opened.shot.frames, "No face was found."), **failures}
    done = sum(1 for frame in opened.shot.frames if frame not in failures)
    absent = opened.shot.missing
    missing = {frame: f"Frame {frame} of {opened.shot.path} is missing. Render or copy it." for frame in absent}
    return Outcome(tuple(written), done=done, failed={**missing, **failures})


def export_track(track: Path, outputs: Sequence[Path], face: str | None, settings: Mapping[str, Any]) -> Outcome:
    """Write what a track file holds for other programs, smoothed as ``smooth_track.NAME`` settings say.

    Args:
        track: Track file.
        outputs: Files to write, of the endings that ``write_foreign`` knows.
        face: Name of the only person to write; None for all who are not ignored.
        settings: ``smooth_track.NAME`` to values.

    Raises:
        MienError: There is no such person, or a file cannot be read or written.
    """
    smoothing = node_settings("smooth_track", settings)
    held = read_tracks(track)
    tracks = tuple(each for each in held.tracks if face in (None, each.name))
    if not tracks:
        names = ", ".join(each.name for each in held.tracks) or "nobody"
        raise MienError(f"{track} has no face called {face!r}. It has {names}.")
    smooth = tuple(tracking.smooth(each, **smoothing) for each in tracks)
    written = [str(made) for path in outputs for made in write_foreign(path, smooth, held.plate)]
    return Outcome(tuple(written), done=len(outputs))


def tell_faces(tracks: tuple[FaceTrack, ...], plate: OpenPlate, tell: Tell) -> None:
    """Say who was found, where they are lost, and what to do where nobody was."""
    if not tracks:
        tell(
            Note(
                f"No face was found in {plate.shot.name}, frames {plate.shot.first}-{plate.shot.last}. Lower "
                "--set track_faces.confidence, or place points by hand with --key FRAME:points.json.",
                "warning",
            )
        )
    for track in tracks:
        gone = [frame for a, b in tracking.lost(track) for frame in range(a, b + 1)]
        seen = len(track.points) - len(gone)
        lost = f", lost in {ranges(gone)}" if gone else ""
        tell(Note(f"{track.name}: frames {track.first}-{track.last}, {seen} seen{lost}"))


def refuse_nobody(tracks: tuple[FaceTrack, ...], plate: OpenPlate) -> None:
    """Refuse a shot in which nobody was found.

    Raises:
        MienError: Nobody was found.
    """
    if not tracks:
        raise MienError(
            f"No face in {plate.shot.name}, frames {plate.shot.first}-{plate.shot.last}. Lower "
            "--set track_faces.confidence, or place points by hand with mien track --key FRAME:points.json."
        )
