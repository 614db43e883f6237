"""Running a job: solve what holds for the shot, then render any frames of it, in any order."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import avg_pool2d

from mien.chain import (
    NOTHING,
    Alone,
    Call,
    call_node,
    declaration,
    evaluate,
    face_in,
    no_roto,
    region,
    solve,
    solves,
    with_solved,
)
from mien.deliver import Delivered, Destination, clear_leftovers, compute, numbered, up_to_date, write
from mien.files.cubes import write_cube
from mien.files.curves import read_curves, write_curves
from mien.files.region import Region
from mien.files.shot import Native, read_header, read_native, read_region, region_of
from mien.files.stills import Header
from mien.heap import set_aside, trim
from mien.job import ENGINE, Job, frame_key
from mien.neighbors import with_neighbors
from mien.ops.bake import cube
from mien.ops.grade import native
from mien.pipeline import overlap
from mien.planes import planar
from mien.progress import Advance, Failure, Note, Tell
from mien.together import drawn_together, lasts
from mien.types import Face, Grade, Layer, MienError, Plate, Series

PROXY_WIDTH = 256
"""Faces are measured for a solve at no more than about twice this width in pixels."""
WHOLE_SIZE = ("DetailSample",)
"""Measurements of what a smaller picture does not show: sharpness and grain."""


CallAt = Callable[[Job, int], Call]
"""How the steps of a job are computed in a frame."""


TRIM = 16
"""Frames after which free memory is given back."""
CUBE = 33
"""Steps of the .cube files that are written."""
NAMES_WIDTH = 16
"""Width in pixels of the face of a trial run that only tells the names of mattes."""


@dataclass(frozen=True)
class Rendered:
    """How a render ended.

    Attributes:
        done: Frames written.
        skipped: Frames that were up to date.
        failed: What was wrong, by frame.
    """

    done: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """What was read for one frame.

    Attributes:
        region: Plate pixels that the frame needs.
        pixels: (3, H, W) of them, as stored.
        header: What the frame says of itself.
        native: The whole frame, where a full frame is to be written.
        face: The face to replace.
        key: Hash of everything the frame depends on.
    """

    region: Region
    pixels: torch.Tensor
    header: Header
    native: Native | None
    face: Face | None
    key: str


def read_source(job: Job, frame: int, key: str, whole: bool) -> Source:
    """Read what a frame needs of the plate: the face's region, and all of it where ``whole``."""
    face = face_in(job.chain, frame)
    native = read_native(job.shot, frame) if whole else None
    header = read_header(job.shot, frame) if native is None else native.headers[native.chosen.part]
    box = (0, 0, 0, 0) if face is None else region(job.chain, frame, face)
    place = Region(*corners(box)).overlap(header.data)
    if not place.width or not place.height:
        # Where nothing is put on, a damaged frame is still told from one without a face.
        if native is None:
            read_region(job.shot, frame, Region(header.data.x, header.data.bottom - 1, 1, 1))
        return Source(Region(0, 0, 0, 0), torch.zeros(3, 0, 0), header, native, None, key)
    stored = read_region(job.shot, frame, place) if native is None else region_of(native, place)
    return Source(place, planar(stored), header, native, face, key)


def read_steady(job: Job, frame: int, key: str, whole: bool) -> Source:
    """``read_source`` of a frame whose key was made before.

    Raises:
        MienError: The plate's file is not the one any more that the key tells of.
    """
    source = read_source(job, frame, key, whole)
    if not job.prints.steady(job.shot.file(frame)):
        raise MienError(f"{job.shot.file(frame)} changed while it was read. Render frame {frame} again.")
    return source


def corners(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """x, y, width, height of x0, y0, x1, y1."""
    return box[0], box[1], max(0, box[2] - box[0]), max(0, box[3] - box[1])


def plate_of(job: Job, frame: int, source: Source) -> Plate:
    """The region of a frame in the working space, on the job's device."""
    image = job.colors.to_working(job.space)(source.pixels.to(job.device))
    return Plate(image, (source.region.x, source.region.y), frame)


def plate_at(job: Job, frame: int) -> Plate | None:
    """The region of a frame in the working space, at the chain's scale; None where there is no face."""
    full = replace(job, chain=replace(job.chain, scale=1.0))
    source = read_source(full, frame, "", whole=False)
    if source.face is None:
        return None
    plate = plate_of(full, frame, source)
    return plate if job.chain.scale == 1 else proxy(plate, round(1 / job.chain.scale))


def plainly(job: Job, frame: int) -> Call:
    """Steps are computed by calling their nodes."""
    return call_node


@dataclass(frozen=True)
class Ready:
    """What a frame is computed from.

    Attributes:
        job: The job, at the scale of the picture.
        plate: The region of the frame.
        known: Values of steps that were computed together with other frames.
    """

    job: Job
    plate: Plate
    known: Mapping[str, Any]


def prepared(asked: Mapping[int, tuple[Job, Plate]], call_at: CallAt) -> dict[int, Ready]:
    """Frames of one bench, their faces drawn at once where the identity can."""
    known: Mapping[int, Mapping[str, Any]] = {}
    if len(asked) > 1:
        # What fails is told by the frame that it is due to, when that is computed alone.
        with suppress(MienError):
            chains = {frame: (job.chain, plate) for frame, (job, plate) in asked.items()}
            known = drawn_together(chains, lambda frame: call_at(asked[frame][0], frame))
    return {frame: Ready(job, plate, known.get(frame, NOTHING)) for frame, (job, plate) in asked.items()}


def computed(ready: Ready | None, frame: int, name: str, call_at: CallAt) -> dict[str, Any] | None:
    """The values of a step and of those before it in a frame; None where there is no face."""
    if ready is None:
        return None
    return evaluate(ready.job.chain, frame, ready.plate, name, ready.known, call_at(ready.job, frame))


@torch.inference_mode()
def solved(
    job: Job,
    tell: Tell,
    cancelled: Callable[[], bool] = lambda: False,
    call_at: CallAt = plainly,
    kept: Callable[[Job], Job] = lambda job: job,
) -> Job:
    """The job with everything solved that holds for the shot; gathered values are kept on disk by key.

    A cancelled job comes back as far as it was solved. ``kept`` says what to keep of it after each step.
    """
    while True:
        step, names = next(solves(job.chain), (None, ()))
        if step is None:
            return job
        for name in names:
            values = gather(job, name, tell, cancelled, call_at)
            if cancelled():
                return job
            job = _with_gathered(job, name, values)
            del values
        # What measuring left free is not added to what solving takes.
        trim()
        job = replace(job, chain=solve(job.chain, step))
        for mapped in (job.chain.track.points, job.chain.track.weight):
            set_aside(mapped.data_ptr(), mapped.nbytes)
        value = job.chain.solved[step.name]
        if isinstance(value, Series):
            _keep_curves(job, step.name, value)
        job = kept(job)
        trim()


def _with_gathered(job: Job, name: str, values: Mapping[int, Any]) -> Job:
    first, last = job.recipe.plate.first, job.recipe.plate.last
    series = Series(first, tuple(values.get(frame) for frame in range(first, last + 1)))
    return replace(job, chain=with_solved(job.chain, name, series))


def without_measurements(job: Job) -> Job:
    """The job without what was gathered for steps that are solved: neither frames nor other steps look at it again."""
    chain = job.chain
    wanted = {source for step, _ in solves(chain) for source in step.inputs.values()}
    over = [
        step.name
        for step in job.recipe.steps
        if step.name in chain.solved and step.name not in wanted and not declaration(step.node).series
    ]
    bare: dict[str, Series[Any]] = {name: Series(chain.solved[name].first, ()) for name in over}
    return replace(job, chain=replace(chain, solved={**chain.solved, **bare}))


def gather(job: Job, name: str, tell: Tell, cancelled: Callable[[], bool], call_at: CallAt = plainly) -> dict[int, Any]:
    """The value of a step in every frame of the shot, at a proxy scale where the face is large.

    Frames whose key is known are taken from disk; frames that fail are left out.
    """
    job = with_neighbors(job, plate_at)
    path = job.folder / "solve" / f"{name}.json"
    kind = declaration(job.recipe.step(name).node).output
    known, values, todo = _remembered(job, name, tell)

    def read(item: tuple[int, str]) -> Source:
        return read_steady(job, *item, whole=False)

    ready: dict[int, Ready] = {}

    def begin(group: Sequence[tuple[tuple[int, str], Source]]) -> None:
        asked = {
            frame: at_proxy(job, source.face, plate_of(job, frame, source), name)
            for (frame, _), source in group
            if source.face is not None
        }
        ready.update(prepared(asked, call_at))

    def measure(item: tuple[int, str], source: Source) -> Any:
        values = computed(ready.pop(item[0], None), item[0], name, call_at)
        return None if values is None else values[name]

    def note(item: tuple[int, str], value: Any) -> None:
        values[item[0]] = (item[1], value)

    total = len(job.shot.frames)
    if todo:
        last = lasts([frame for frame, _ in todo], job.recipe.batch)
        run = overlap(todo, read, measure, note, begin, lambda item: item[0] in last)
        try:
            for count, (item, _) in enumerate(run, start=total - len(todo) + 1):
                tell(Advance("solve", count, total, item[0]))
                if count % TRIM == 0:
                    trim()
                if cancelled():
                    break
        finally:
            run.close()
            # A run that is stopped leaves what was known of the other frames.
            write_curves(path, kind, {**known, **values}, f"mien {ENGINE}")
    return {frame: value for frame, (_, value) in values.items()}


def _remembered(
    job: Job, name: str, tell: Tell
) -> tuple[dict[int, tuple[str, Any]], dict[int, tuple[str, Any]], list[tuple[int, str]]]:
    """What is on disk of a step's values with their keys, those that are still true, and frames to measure."""
    path = job.folder / "solve" / f"{name}.json"
    kind = declaration(job.recipe.step(name).node).output
    known: dict[int, tuple[str, Any]] = {}
    if path.is_file():
        try:
            there, before = read_curves(path)
            known = before if there == kind else {}
        except MienError as error:
            tell(Note(f"{error} Solving again.", "warning"))
    values: dict[int, tuple[str, Any]] = {}
    todo = []
    for frame in job.shot.frames:
        try:
            key = frame_key(job, frame, name)
        except MienError:
            continue
        if known.get(frame, ("", None))[0] == key:
            values[frame] = known[frame]
        else:
            todo.append((frame, key))
    job.prints.save()
    return known, values, todo


@torch.inference_mode()
def recalled(job: Job) -> Job | None:
    """The job as ``solved`` leaves it, if nothing has to be measured for that; None if something has."""
    job = with_neighbors(job, plate_at)
    while True:
        step, names = next(solves(job.chain), (None, ()))
        if step is None:
            return job
        for name in names:
            _, values, todo = _remembered(job, name, lambda event: None)
            if todo:
                return None
            job = _with_gathered(job, name, {frame: value for frame, (_, value) in values.items()})
        job = replace(job, chain=solve(job.chain, step))


@dataclass(frozen=True)
class Freshness:
    """Frames whose files are what a render would write now, are out of date, or are not all there."""

    fresh: tuple[int, ...]
    stale: tuple[int, ...]
    absent: tuple[int, ...]


def freshness(job: Job, frames: Sequence[int]) -> Freshness:
    """Which frames a render would write; nothing is computed or written.

    Where the shot would have to be measured again, no frame is fresh.
    """
    ready = recalled(job)
    destination = Destination(job if ready is None else ready)
    final = job.recipe.steps[-1].name
    found: dict[str, list[int]] = {"fresh": [], "stale": [], "absent": []}
    for frame in frames:
        if not all(path.is_file() for path in destination.files(frame).values()):
            found["absent"].append(frame)
        elif ready is not None and up_to_date(destination, frame, frame_key(ready, frame, final)):
            found["fresh"].append(frame)
        else:
            found["stale"].append(frame)
    return Freshness(*(tuple(found[name]) for name in ("fresh", "stale", "absent")))


def at_proxy(job: Job, face: Face, plate: Plate, name: str) -> tuple[Job, Plate]:
    """A job and a region at the scale at which a step is measured: a proxy's where the face is large."""
    whole = declaration(job.recipe.step(name).node).output in WHOLE_SIZE
    factor = 1 if whole else max(1, int(face.width / PROXY_WIDTH))
    if factor == 1:
        return job, plate
    return replace(job, chain=replace(job.chain, scale=1 / factor)), proxy(plate, factor)


def proxy(plate: Plate, factor: int) -> Plate:
    """A plate region shrunk by a whole factor, cut to whole pixels of the smaller grid."""
    x, y = (-(-corner // factor) for corner in plate.corner)
    left, top = x * factor - plate.corner[0], y * factor - plate.corner[1]
    return Plate(avg_pool2d(plate.image[..., top:, left:], factor), (x, y), plate.frame)


def _keep_curves(job: Job, name: str, series: Series[Any]) -> None:
    kind = declaration(job.recipe.step(name).node).output.removeprefix("Series[").removesuffix("]")
    values = {series.first + row: ("", value) for row, value in enumerate(series.values)}
    path = job.folder / f"{job.recipe.output.name}.{name}.json"
    if kind == "Grade":
        _keep_cubes(path.with_suffix(""), series, path)
    write_curves(path, kind, values, f"mien {ENGINE}")


def _keep_cubes(folder: Path, grades: Series[Grade], curves: Path) -> None:
    """One .cube for each frame whose move native nodes cannot replay; those still true are left as they are."""
    before: dict[int, Any] = {}
    if folder.is_dir() and curves.is_file():
        with suppress(MienError):
            before = {frame: value for frame, (_, value) in read_curves(curves)[1].items()}
    for frame, grade in enumerate(grades.values, start=grades.first):
        path = folder / f"{numbered(frame)}.cube"
        if grade is None or native(grade):
            path.unlink(missing_ok=True)
        elif before.get(frame) != grade or not path.is_file():
            write_cube(path, cube(grade, CUBE), f"{folder.name} {frame}")


@torch.inference_mode()
def render(
    job: Job,
    frames: Sequence[int],
    tell: Tell,
    *,
    force: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    call_at: CallAt = plainly,
) -> Rendered:
    """Render frames of a solved job, skipping those that are up to date unless ``force``.

    A frame that cannot be done is reported and the others go on. ``call_at`` says how steps are computed.
    """
    job = with_neighbors(job, plate_at)
    destination = Destination(job)
    clear_leftovers(destination)
    final = job.recipe.steps[-1].name
    names = matte_names(job)
    failed: dict[int, str] = {}
    skipped: list[int] = []
    done: list[int] = []

    def read(frame: int) -> Source | None:
        key = frame_key(job, frame, final)
        if not force and up_to_date(destination, frame, key):
            return None
        return read_steady(job, frame, key, destination.needs_whole)

    ready: dict[int, Ready] = {}

    def begin(group: Sequence[tuple[int, Source | None]]) -> None:
        there = {frame: source for frame, source in group if source is not None and source.face is not None}
        ready.update(prepared({frame: (job, plate_of(job, frame, there[frame])) for frame in there}, call_at))

    def make(frame: int, source: Source | None) -> Delivered | None:
        if source is None:
            return None
        begun = ready.pop(frame, None)
        plate = None if begun is None else begun.plate
        values = computed(begun, frame, final, call_at)
        layers = [] if values is None else [value for value in values.values() if isinstance(value, Layer)]
        raw, layer = (layers[0], layers[-1]) if layers else (None, None)
        return compute(destination, frame, source.key, source.header, source.native, plate, raw, layer, names)

    def save(frame: int, made: Delivered | None) -> None:
        if made is None:
            skipped.append(frame)
        else:
            write(destination, made)

    last = lasts(frames, job.recipe.batch)
    run = overlap(frames, read, make, save, begin, last.__contains__)
    for count, (frame, error) in enumerate(run, start=1):
        if error is not None:
            failed[frame] = str(error)
            tell(Failure("render", frame, str(error)))
        elif frame not in skipped:
            done.append(frame)
        tell(Advance("render", count, len(frames), frame, skipped=frame in skipped))
        if count % TRIM == 0:
            trim()
        if cancelled():
            run.close()
            break
    job.prints.save()
    return Rendered(tuple(done), tuple(skipped), failed)


def matte_names(job: Job) -> tuple[str, ...]:
    """Names of the mattes that layers of this job hold, so that frames without a face hold them too."""
    for frame in job.shot.frames:
        face = face_in(job.chain, frame)
        if face is None:
            continue
        chain = replace(job.chain, scale=NAMES_WIDTH / face.width, neighbors=Alone(), roto_at=no_roto)
        small = face_in(chain, frame)
        assert small is not None
        x, y, width, height = corners(region(chain, frame, small))
        plate = Plate(torch.zeros(3, height, width, device=job.device), (x, y))
        values = evaluate(chain, frame, plate, job.recipe.steps[-1].name)
        if values is not None:
            return tuple(values[job.recipe.steps[-1].name].mattes)
    return ()
