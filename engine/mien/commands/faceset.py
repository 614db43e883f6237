"""``mien faceset``: crops of one person from movies, sequences, pictures and other face sets."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.color import Colors
from mien.color import load as load_colors
from mien.commands.convert import make_folder, tracked
from mien.commands.plate import OpenPlate
from mien.commands.track import TrackArguments, open_finder
from mien.facesets.extract import CropShape, Gathered, Taken, take
from mien.facesets.foreign import ForeignFace, count_foreign_faces, is_foreign, list_sources, read_foreign_faces
from mien.facesets.report import write_report
from mien.facesets.selection import Selection, select
from mien.facesets.sheets import clear_sheets, write_sheets
from mien.files.faceset import FaceSet, SetFace, is_faceset, read_faceset, write_face, write_faceset
from mien.files.shot import MOVIES, STILLS, Shot, open_shot, read_region
from mien.files.tracks import read_tracks
from mien.footage import plate_space
from mien.heap import trim
from mien.job import ENGINE
from mien.models.aligned import as_mesh
from mien.models.backends import FaceFinder
from mien.models.crops import crop_from_detection, crop_from_points
from mien.performer import prominent, read_photo
from mien.pipeline import overlap
from mien.progress import Advance, Failure, Note, Outcome, Tell
from mien.recipe import RecipeError, plain_name
from mien.tracking import face_at
from mien.tracking.faces import single_widths
from mien.types import Face, FaceTrack, MienError

Wanted = TypeVar("Wanted", Face, ForeignFace)
TRIM = 64
"""Faces after which free memory is given back."""


@dataclass(frozen=True)
class FacesetArguments:
    """What ``mien faceset`` was asked for.

    Attributes:
        sources: Movies, sequences, pictures, folders of pictures; or face sets, which are joined and filtered.
        folder: Where the set goes.
        shape: Size and coverage of the crops.
        every: Take every n-th frame of moving sources.
        person: Whose face in the tracks of moving sources; else the most prominent.
        choice: Which faces are kept, and their order.
        like: Photograph of the person; others are left out.
        against: Face set to compare with.
        colorspace: Color space of the sources.
        tracking: How faces are found.
        force: Track sources again.
        sheets: Write contact sheets too.
    """

    sources: tuple[str, ...]
    folder: Path
    shape: CropShape = field(default_factory=CropShape)
    every: int = 1
    person: str | None = None
    choice: Selection = field(default_factory=Selection)
    like: Path | None = None
    against: Path | None = None
    colorspace: str | None = None
    ocio: str | None = None
    tracking: TrackArguments = field(default_factory=TrackArguments)
    force: bool = False
    sheets: bool = False


def make_faceset(arguments: FacesetArguments, tell: Tell) -> Outcome:
    """Extract, choose, write and report on a face set.

    Raises:
        RecipeError: Arguments that cannot be.
        MienError: No face in any source, or something cannot be written.
    """
    if not 32 <= arguments.shape.size <= 4096 or not 0.8 <= arguments.shape.coverage <= 4:
        raise RecipeError("Crops can have --size 32 to 4096 and --coverage 0.8 to 4.")
    if arguments.every < 1:
        raise RecipeError("--every is at least 1.")
    colors = load_colors(arguments.ocio)
    other = None if arguments.against is None else read_faceset(arguments.against)
    folder = make_folder(arguments.folder)
    failed: dict[int, str] = {}
    if any(is_faceset(Path(source)) for source in arguments.sources):
        found = _joined(arguments.sources)
    else:
        found, failed = _extracted(arguments, folder, colors, tell)
    choice = arguments.choice
    if arguments.like is not None:
        choice = replace(choice, like=_look(arguments, colors))
    rows, reasons = select(found, choice)
    for reason, left_out in reasons.items():
        tell(Note(f"{left_out} faces left out: {reason}."))
    if not rows:
        raise MienError(f"Of {len(found.faces)} faces none is left. Loosen the filters, or give other sources.")
    kept = found.chosen(rows)
    if found.folder.absolute() != folder.absolute():
        kept = _copied(kept, folder)
    write_faceset(kept)
    wanted = {kept.picture(row).name for row in range(len(kept.faces))}
    for path in (folder / "faces").glob("*.exr"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    kept = read_faceset(folder)
    report, advice = write_report(folder / "report.html", kept, other, colors)
    for line in advice:
        tell(Note(line, "warning"))
    clear_sheets(folder)
    pages = []
    for done, page in write_sheets(kept, colors) if arguments.sheets else ():
        pages.append(str(page))
        tell(Advance("faceset", done, len(kept.faces), done))
    return Outcome((str(folder / "faceset.json"), str(report), *pages[:1]), done=len(kept.faces), failed=failed)


def _joined(sources: tuple[str, ...]) -> FaceSet:
    """Face sets as one, whose pictures stay where they are.

    Raises:
        RecipeError: Some source is no face set, or they were extracted differently.
    """
    if strangers := [source for source in sources if not is_faceset(Path(source))]:
        raise RecipeError(f"{strangers[0]} is no face set: extract it first, then join the sets.")
    sets = [read_faceset(Path(source)) for source in sources]
    first = sets[0]
    if len(sets) == 1:
        return first
    if any((one.size, one.coverage, one.space) != (first.size, first.coverage, first.space) for one in sets):
        raise RecipeError("These face sets differ in size, coverage or color space. Extract them alike.")
    faces: list[SetFace] = []
    names: list[str] = []
    for one in sets:
        begun = len(names)
        faces += [
            replace(face, file=str((one.folder / face.file).absolute()), source=face.source + begun)
            for face in one.faces
        ]
        names += one.sources
    points, weight, looks = (torch.cat([getattr(one, name) for one in sets]) for name in ("points", "weight", "looks"))
    return FaceSet(
        Path("/"), first.size, first.coverage, first.space, tuple(names), tuple(faces), points, weight, looks
    )


def _copied(kept: FaceSet, folder: Path) -> FaceSet:
    """The set with its pictures copied into a folder of their own."""
    faces = []
    (folder / "faces").mkdir(exist_ok=True)
    for number, face in enumerate(kept.faces):
        name = f"faces/{number:06d}.exr"
        try:
            shutil.copyfile(kept.folder / face.file, folder / name)
        except OSError as error:
            raise MienError(f"Cannot copy {kept.folder / face.file}: {error.strerror}. Check the disk.") from error
        faces.append(replace(face, file=name))
    return replace(kept, folder=folder, faces=tuple(faces))


def _extracted(arguments: FacesetArguments, folder: Path, colors: Colors, tell: Tell) -> tuple[FaceSet, dict[int, str]]:
    """The faces of all sources, and what was wrong with frames that could not be read."""
    foreign = [Path(source) for source in arguments.sources if is_foreign(Path(source))]
    shots = [shot for source in arguments.sources if Path(source) not in foreign for shot in open_sources(source, tell)]
    taken = Gathered()
    failed: dict[int, str] = {}
    names = (f"faces/{number:06d}.exr" for number in count())
    for number, shot in enumerate(shots):
        try:
            faces = _faces(arguments, shot, number, folder, colors, tell)
        except MienError as error:
            tell(Note(f"Skipped {shot.path}: {error}", "warning"))
            failed[number] = f"{shot.path}: {error}"
            continue
        failed |= _cut(arguments, shot, number, faces, names, taken, folder, colors, tell)
    for number, path in enumerate(foreign, start=len(shots)):
        failed |= _brought(arguments, path, number, names, taken, folder, colors, tell)
    if not taken.entries:
        raise MienError(
            f"No face in {', '.join(arguments.sources)}. Lower --set track_faces.confidence, or give other sources."
        )
    points, weight, looks = taken.arrays()
    return FaceSet(
        folder=folder,
        size=arguments.shape.size,
        coverage=arguments.shape.coverage,
        space=colors.working,
        sources=(*(str(shot.path) for shot in shots), *map(str, foreign)),
        faces=tuple(taken.entries),
        points=points,
        weight=weight,
        looks=looks,
    ), failed


def _cut(
    arguments: FacesetArguments,
    shot: Shot,
    source: int,
    faces: list[tuple[int, Face]],
    names: Iterator[str],
    taken: Gathered,
    folder: Path,
    colors: Colors,
    tell: Tell,
) -> dict[int, str]:
    """Cut and write the faces of one source, and add them to ``taken``; what was wrong, by frame."""
    to_working = colors.to_working(plate_space(shot, colors, arguments.colorspace))

    def read(job: tuple[int, Face]) -> Tensor:
        return torch.from_numpy(read_region(shot, job[0], shot.display)).movedim(-1, 0)

    def cut(job: tuple[int, Face], stored: Tensor) -> Taken:
        frame, face = job
        return take(to_working(stored), face, arguments.shape, colors, next(names), source, frame)

    return _kept(faces, read, cut, len(faces), taken, folder, colors, tell)


def _brought(
    arguments: FacesetArguments,
    path: Path,
    source: int,
    names: Iterator[str],
    taken: Gathered,
    folder: Path,
    colors: Colors,
    tell: Tell,
) -> dict[int, str]:
    """Cut anew and write the faces that another program extracted, and add them to ``taken``."""
    finder = open_finder(arguments.tracking)
    to_working = colors.to_working(colors.resolve(arguments.colorspace, kind="integer"))
    origins: dict[str, str] = {}

    def skip(reason: str) -> None:
        tell(Note(f"Skipped {reason}", "warning"))

    def find(picture: NDArray[np.uint8]) -> Tensor:
        return as_mesh(*single_face(picture, finder))

    def read(job: tuple[int, ForeignFace]) -> Tensor:
        return torch.from_numpy(job[1].picture.astype(np.float32) / 255).movedim(-1, 0).contiguous()

    def cut(job: tuple[int, ForeignFace], stored: Tensor) -> Taken:
        frame, face = job
        width = float(single_widths(face.points[None], "mesh", 1.0))
        known = Face(face.points, torch.ones(len(face.points)), 1.0, width)
        one = take(to_working(stored), known, arguments.shape, colors, next(names), source, frame, face.matte)
        origins[one.entry.file] = face.source
        return one

    jobs = enumerate(read_foreign_faces(path, find, skip))
    failed = _kept(jobs, read, cut, count_foreign_faces(path), taken, folder, colors, tell)
    list_sources(folder, origins)
    return failed


def _kept(
    jobs: Iterable[tuple[int, Wanted]],
    read: Callable[[tuple[int, Wanted]], Tensor],
    cut: Callable[[tuple[int, Wanted], Tensor], Taken],
    total: int,
    taken: Gathered,
    folder: Path,
    colors: Colors,
    tell: Tell,
) -> dict[int, str]:
    """Read, cut and write faces, by frame, at once, and add them to ``taken``; what was wrong, by frame."""
    interop = colors.interop_id(colors.working)
    failed: dict[int, str] = {}

    def keep(_: object, one: Taken) -> None:
        write_face(folder / one.entry.file, one.crop, one.matte, interop, {"engine": f"mien {ENGINE}"})
        taken.add(one)

    for done, ((frame, _), error) in enumerate(overlap(jobs, read, cut, keep), start=1):
        if error is not None:
            failed[frame] = str(error)
            tell(Failure("faceset", frame, str(error)))
        tell(Advance("faceset", done, total, frame))
        if done % TRIM == 0:
            trim()
    return failed


def single_face(picture: NDArray[np.uint8], finder: FaceFinder) -> tuple[Tensor, str]:
    """Landmarks, and their scheme, of the largest face of a picture.

    Raises:
        MienError: There is none.
    """
    found = finder.detect(picture, 0.2 * min(picture.shape[:2]))
    if not len(found.scores):
        raise MienError("no face is found in it")
    largest = int((found.boxes[:, 2] - found.boxes[:, 0]).argmax())
    crop = crop_from_detection(found.boxes[largest], found.five[largest])
    for _ in range(3):
        points = finder.landmarks(picture, crop[None]).points[0]
        crop = crop_from_points(points, finder.scheme)
    return points, finder.scheme


def open_sources(source: str, tell: Tell) -> list[Shot]:
    """The shots of a source: itself, or every movie and picture of a folder that is not one sequence.

    Raises:
        MienError: Nothing that can be read.
    """
    path = Path(source)
    if not path.is_dir():
        return [open_shot(source)]
    try:
        return [open_shot(source)]
    except MienError:
        # A folder of unrelated pictures: each is a source of its own.
        pass
    shots = []
    for entry in sorted(path.iterdir()):
        if entry.suffix.lower() in STILLS | MOVIES and not entry.name.startswith("."):
            try:
                shots.append(open_shot(entry))
            except MienError as error:
                tell(Note(f"Skipped {entry}: {error}", "warning"))
    if not shots:
        raise MienError(f"{path} holds no picture and no movie that can be read. Name other sources.")
    return shots


def _faces(
    arguments: FacesetArguments, shot: Shot, number: int, folder: Path, colors: Colors, tell: Tell
) -> list[tuple[int, Face]]:
    """Frames of a source with the face that is wanted in each.

    Raises:
        MienError: Nobody is found.
    """
    space = plate_space(shot, colors, arguments.colorspace)
    if len(shot.frames) == 1:
        return [(shot.first, _portrait(arguments, shot, colors, space))]
    path = folder / "tracks" / f"{number:03d}.{plain_name(shot.path.stem)}.track.json"
    tracked(OpenPlate(shot, colors, space), arguments.tracking, path, arguments.force, tell)
    tracks = read_tracks(path)
    person = tracks.person(arguments.person) if arguments.person else prominent(tracks.tracks)
    if person is None:
        raise MienError("Every face of the track is ignored.")
    if len(tracks.tracks) > 1 and not arguments.person:
        names = ", ".join(track.name for track in tracks.tracks)
        tell(Note(f"{shot.path.name} shows {names}: taking {person.name}. Say whom with --person.", "warning"))
    found = [(frame, face_at(person, frame)) for frame in shot.frames[:: arguments.every]]
    return [(frame, face) for frame, face in found if face is not None]


def _portrait(arguments: FacesetArguments, shot: Shot, colors: Colors, space: str) -> Face:
    """The one face of a still."""
    photo = read_photo(shot, colors, space, open_finder(arguments.tracking))
    scheme = "mesh" if len(photo.points) == 468 else "ibug68"
    never = torch.zeros(1, dtype=torch.bool)
    track = FaceTrack(
        "A", shot.first, photo.points[None], photo.weight[None], torch.ones(1), never, scheme, photo.aspect
    )
    face = face_at(track, shot.first)
    assert face is not None
    return face


def _look(arguments: FacesetArguments, colors: Colors) -> Tensor:
    """What the person of the photograph ``like`` looks like."""
    assert arguments.like is not None
    shot = open_shot(arguments.like)
    space = plate_space(shot, colors, arguments.colorspace)
    face = _portrait(arguments, shot, colors, space)
    image = colors.to_working(space)(torch.from_numpy(read_region(shot, shot.first, shot.display)).movedim(-1, 0))
    return take(image, face, arguments.shape, colors, "", 0, shot.first).look
