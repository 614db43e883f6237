"""``mien convert`` and ``mien render``: a recipe from arguments, and frames from a recipe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from mien import recipe as recipes
from mien.commands.panels import write_panels
from mien.commands.plate import OpenPlate, PlateArguments, known_space, open_plate
from mien.commands.reenacting import (
    WHOLE,
    Binding,
    Reenacting,
    bind,
    open_binding,
    smoothing,
    source_shot,
    whole_track,
)
from mien.commands.track import TrackArguments, open_finder, refuse_nobody, tell_faces, track_plate
from mien.deliver import Destination
from mien.farm.mapping import moved, read_rules
from mien.files.identities import IdentityFile, Likeness, read_identity, write_identity
from mien.files.shot import Shot, open_shot
from mien.files.tracks import read_tracks, write_tracks
from mien.files.whole import write_whole
from mien.footage import plate_space
from mien.job import ENGINE, Job, open_job
from mien.movie import write_movie
from mien.performer import photo_identity, prominent, read_photo, take_identity
from mien.progress import Event, Failure, Note, Outcome, Tell, failures
from mien.recipe import CONVERT, Output, PlateChoice, Recipe, RecipeError, Step, digest
from mien.reenacted import KIND
from mien.run import Rendered, render, solved, without_measurements
from mien.together import in_seats
from mien.trained import draws_matte
from mien.types import MienError


@dataclass(frozen=True)
class ConvertArguments:
    """What ``mien convert`` was asked for; names are those of the command line, ``name`` is what files are called."""

    plate: PlateArguments
    folder: Path
    name: str | None = None
    identity: Path | None = None
    sources: tuple[str, ...] = ()
    source_colorspace: str | None = None
    source_start: int | None = None
    likeness: str = ""
    release: str = ""
    release_until: str = ""
    track: Path | None = None
    face: str | None = None
    recipe: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    write: tuple[str, ...] = ("layer",)
    window: str = "face"
    pixels: str = "half"
    codec: str = "h264"
    side_by_side: bool = False
    height: int | None = None
    reenacting: Reenacting = field(default_factory=Reenacting)
    tracking: TrackArguments = field(default_factory=TrackArguments)
    batch: int = 1
    device: str = "auto"
    force: bool = False


def convert_shot(arguments: ConvertArguments, tell: Tell) -> Outcome:
    """Track where needed, build the recipe, solve, render.

    Raises:
        RecipeError: A setting, or something else in the arguments, cannot be.
        MienError: The plate, the sources or the track cannot be used.
    """
    network = _network(arguments)
    steps, tracking = _steps(arguments, _chain(arguments, network))
    plate = open_plate(arguments.plate)
    shot, name = plate.shot, arguments.name or shot_name(plate.shot)
    whole = _whole_range(arguments.plate, shot)
    folder = make_folder(arguments.folder)
    draft = recipes.check(
        Recipe(
            plate=PlateChoice(shot.name, *whole, arguments.plate.colorspace, arguments.plate.layer),
            steps=steps,
            output=Output(
                folder=str(folder),
                name=name,
                write=arguments.write,
                window=arguments.window,
                pixels=arguments.pixels,
                side_by_side=arguments.side_by_side,
                height=arguments.height,
                codec=arguments.codec,
            ),
            identity=str(folder / f"{name}.identity.safetensors"),
            track=str(folder / f"{name}.track.json"),
            face=arguments.face,
            ocio=arguments.plate.ocio,
            batch=arguments.batch,
        )
    )
    # The sources first: what is wrong with a photograph should not be told after an hour of tracking.
    if network is None:
        identity = _identity(arguments, plate, whole, Path(draft.identity), tell)
        track = _track(arguments, plate, whole, Path(draft.track), tracking, tell)
    else:
        full = replace(plate, shot=open_shot(arguments.plate.path, whole, layer=arguments.plate.layer))
        binding = _binding(arguments, network, full, tell)
        if arguments.reenacting.crop == "none":
            track = whole_track(full, Path(draft.track))
        else:
            track = _track(arguments, plate, whole, Path(draft.track), tracking, tell)
        identity = bind(binding, full, track, arguments.face, smoothing(draft), Path(draft.identity), tell)
    recipe = replace(draft, track=str(track), identity=str(identity))
    path = folder / f"{name}.recipe.json"
    write_whole(path, recipes.write(recipe).encode())
    frames = arguments.plate.frames
    outcome = run_recipe(recipe, frames, arguments.device, arguments.force, tell, (str(path),), movie=frames)
    if network is not None and arguments.reenacting.preview is not None:
        shown = write_panels(open_job(recipe, arguments.device), frames, arguments.reenacting.preview, tell)
        outcome = replace(outcome, written=(*outcome.written, str(shown)))
    return outcome


def _chain(arguments: ConvertArguments, network: IdentityFile | None) -> tuple[Step, ...]:
    """The steps that a conversion has of itself: a network that draws whole frames or mattes stands alone."""
    if network is not None:
        return CONVERT if arguments.reenacting.crop == "face" else WHOLE
    alone = arguments.identity is not None and draws_matte(read_identity(arguments.identity))
    return WHOLE if alone else CONVERT


def _network(arguments: ConvertArguments) -> IdentityFile | None:
    """The network that is to move a photograph; None where the identity is another one, or there is none.

    Raises:
        RecipeError: Something was asked for that only such a network does.
    """
    arguments.reenacting.checked()
    if arguments.identity is not None:
        file = read_identity(arguments.identity)
        if file.kind == KIND:
            if not arguments.sources:
                raise RecipeError(f"{arguments.identity} moves photographs: give it one with --source PHOTO.")
            return file
        if arguments.sources:
            raise RecipeError(
                f"{arguments.identity} of kind {file.kind} says itself whose face to put on: leave out --source."
            )
    if arguments.reenacting != Reenacting():
        raise RecipeError(
            "--crop, --motion, --adapt-scale, --start-frame, --detail and --preview are for photographs that follow: "
            "give --identity FILE of kind reenact and --source PHOTO."
        )
    return None


def _binding(arguments: ConvertArguments, network: IdentityFile, plate: OpenPlate, tell: Tell) -> Binding:
    assert arguments.identity is not None
    space = arguments.source_colorspace
    if space:
        known_space(plate.colors, space)
    shot, space = source_shot(arguments.sources, plate.colors, space)
    frame = (round(plate.shot.size[0] * plate.shot.aspect), plate.shot.size[1])
    likeness = _likeness(arguments)
    return open_binding(
        network, arguments.identity, shot, space, arguments.reenacting, plate.colors, arguments.tracking, likeness,
        frame, arguments.device, tell,
    )  # fmt: skip


def render_recipe(
    path: Path, frames: tuple[int, int] | None, device: str, force: bool, tell: Tell, rules: Path | None = None
) -> Outcome:
    """Render frames of a recipe file, whose paths a farm may have mapped by ``rules``.

    Raises:
        RecipeError: The recipe cannot run.
        MienError: What it draws on cannot be used.
    """
    return run_recipe(moved(recipes.read(path), read_rules(rules)), frames, device, force, tell, ())


def run_recipe(
    recipe: Recipe,
    frames: tuple[int, int] | None,
    device: str,
    force: bool,
    tell: Tell,
    written: tuple[str, ...],
    movie: tuple[int, int] | None = None,
) -> Outcome:
    """Solve and render a checked recipe, as ``run_job`` does."""
    job = open_job(recipe, device)
    if recipe.batch > 1 and not in_seats(job.chain.identity_at(job.shot.frames[0])):
        tell(Note("This identity draws frames one by one: --batch changes nothing.", "warning"))

    def rendered(chosen: Sequence[int]) -> Rendered:
        return render(solved(job, tell, kept=without_measurements), chosen, tell, force=force)

    return run_job(job, frames, force, tell, rendered, written, movie)


def run_job(
    job: Job,
    frames: tuple[int, int] | None,
    force: bool,
    tell: Tell,
    rendered: Callable[[Sequence[int]], Rendered],
    written: tuple[str, ...] = (),
    movie: tuple[int, int] | None = None,
) -> Outcome:
    """Render an open job with ``rendered``, and say what became of every frame.

    A movie follows when every frame of it is there: of the range ``movie``, else of the whole shot, so that
    chunks of a shot do not each write one.
    """
    for warning in job.identity.likeness.warnings(date.today()):
        tell(Note(warning, "warning"))
    chosen, absent = _chosen_frames(job.shot, frames)
    result = rendered(chosen)
    failed = {**absent, **result.failed}
    outputs = [*written, *Destination(job).shown]
    if "movie" in job.recipe.output.write:

        def heard(event: Event) -> None:
            if isinstance(event, Failure):
                failed.setdefault(event.frame, event.message)
            tell(event)

        try:
            outputs += _movie(job, result, movie or (job.shot.first, job.shot.last), heard, force)
        except MienError as error:
            # What became of the frames is not to be lost with the movie.
            raise MienError("\n".join([str(error), *failures(dict(sorted(failed.items())))])) from error
    return Outcome(tuple(outputs), len(result.done), len(result.skipped), dict(sorted(failed.items())))


def _movie(job: Job, result: Rendered, span: tuple[int, int], tell: Tell, force: bool) -> list[str]:
    """Write the movie of a range, unless frames of it are left to other runs of the same recipe."""
    shown = [frame for frame in job.shot.frames if span[0] <= frame <= span[1]]
    missing = [frame for frame in shown if not Destination(job).files(frame)["layer"].is_file()]
    unfinished = [frame for frame in missing if frame not in result.failed]
    if unfinished:
        tell(Note(f"The movie waits for {len(unfinished)} frames that were not rendered yet."))
        return []
    return [str(write_movie(job, *span, tell, force=force))]


def _chosen_frames(shot: Shot, frames: tuple[int, int] | None) -> tuple[tuple[int, ...], dict[int, str]]:
    """Frames to render, and what is wrong with those that are not on disk."""
    first, last = frames or (shot.first, shot.last)
    if last < shot.first or first > shot.last:
        raise RecipeError(f"Frames {first}-{last} are not in the shot, which has {shot.first}-{shot.last}.")
    chosen = tuple(frame for frame in shot.frames if first <= frame <= last)
    missing = (frame for frame in shot.missing if first <= frame <= last)
    absent = {frame: f"Frame {frame} of {shot.path} is missing. Render or copy it." for frame in missing}
    return chosen, absent


def _whole_range(arguments: PlateArguments, shot: Shot) -> tuple[int, int]:
    """The shot's whole range, over which it is solved, so that chunks of it agree."""
    if arguments.span is not None:
        return arguments.span
    if arguments.frames is None:
        return shot.first, shot.last
    whole = open_shot(arguments.path, layer=arguments.layer)
    return min(whole.first, shot.first), max(whole.last, shot.last)


def _steps(
    arguments: ConvertArguments, chain: tuple[recipes.Step, ...]
) -> tuple[tuple[recipes.Step, ...], dict[str, Any]]:
    """The chain with its settings, and the settings of tracking, which is not part of it."""
    tracking = {name: value for name, value in arguments.settings.items() if name.startswith("track_faces.")}
    rest = {name: _value(value) for name, value in arguments.settings.items() if name not in tracking}
    steps = chain if arguments.recipe is None else recipes.read(arguments.recipe).steps
    return recipes.located(recipes.change_steps(steps, rest), Path.cwd()), tracking


def _value(text: Any) -> Any:
    """A setting as typed: keys are JSON, all else is left to the declaration."""
    if isinstance(text, str) and text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise RecipeError(f"{text!r} are no keys: write [[frame, value], ...].") from error
    return text


def shot_name(shot: Shot) -> str:
    """What files made from a shot are called after."""
    stem = shot.pattern.prefix if shot.pattern is not None else shot.path.stem
    return recipes.plain_name(stem.strip("._- ") or shot.path.parent.name)


def make_folder(folder: Path) -> Path:
    """The output folder, made if need be.

    Raises:
        MienError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MienError(f"Cannot make the folder {folder}: {error.strerror}. Choose another one with -o.") from error
    return folder.absolute()


def _track(
    arguments: ConvertArguments,
    plate: OpenPlate,
    whole: tuple[int, int],
    path: Path,
    settings: Mapping[str, Any],
    tell: Tell,
) -> Path:
    """The track to use: the one given, or that of the plate."""
    if arguments.track is not None:
        read_tracks(arguments.track)
        return arguments.track.absolute()
    shot = open_shot(arguments.plate.path, whole, layer=arguments.plate.layer)
    asked = replace(arguments.tracking, settings=settings)
    return tracked(replace(plate, shot=shot), asked, path, arguments.force, tell)


def tracked(plate: OpenPlate, asked: TrackArguments, path: Path, force: bool, tell: Tell) -> Path:
    """The track made before from the same pictures and settings, or a new one.

    Raises:
        MienError: Nobody was found.
    """
    stamp = path.with_suffix(".stamp")
    wanted = digest(ENGINE, _facts(plate.shot), plate.space, dict(asked.settings), asked.detector)
    if path.is_file() and stamp.is_file() and stamp.read_text("utf-8", "replace") == wanted and not force:
        return path
    tracks, _ = track_plate(plate, asked, tell)
    refuse_nobody(tracks, plate)
    tell_faces(tracks, plate, tell)
    write_tracks(path, tracks, plate.facts)
    write_whole(stamp, wanted.encode())
    return path


def _facts(shot: Shot) -> list[Any]:
    """What tells whether a plate is the one that was tracked: names, sizes and times of its files."""
    facts = []
    for file in dict.fromkeys(shot.file(frame) for frame in shot.frames):
        status = file.stat()
        facts.append([str(file), status.st_size, status.st_mtime_ns])
    return [shot.first, shot.last, list(shot.missing), facts]


def make_identity(arguments: ConvertArguments, path: Path, tell: Tell) -> Path:
    """Make the identity file ``path`` of the sources, as ``convert_shot`` does before it tracks.

    Raises:
        RecipeError: Something in the arguments cannot be.
        MienError: A source cannot be used.
    """
    plate = open_plate(arguments.plate)
    return _identity(arguments, plate, _whole_range(arguments.plate, plate.shot), path, tell)


def _likeness(arguments: ConvertArguments) -> Likeness:
    likeness = Likeness(arguments.likeness, arguments.release, arguments.release_until)
    if likeness.until:
        try:
            date.fromisoformat(likeness.until)
        except ValueError as error:
            raise RecipeError(f"--release-until {likeness.until!r}: write YYYY-MM-DD.") from error
    return likeness


def _identity(arguments: ConvertArguments, plate: OpenPlate, whole: tuple[int, int], path: Path, tell: Tell) -> Path:
    likeness = Likeness(arguments.likeness, arguments.release, arguments.release_until)
    if arguments.identity is not None:
        if likeness != Likeness():
            raise RecipeError(
                f"{arguments.identity} says itself whose likeness it is and who released it. "
                "Leave out --likeness and --release, or make it anew with --source."
            )
        return arguments.identity.absolute()
    if arguments.source_colorspace:
        known_space(plate.colors, arguments.source_colorspace)
    _likeness(arguments)
    shots = [open_shot(source) for source in arguments.sources]
    moving = [shot for shot in shots if len(shot.frames) > 1]
    if moving and len(shots) > 1:
        raise RecipeError(f"{moving[0].path} is a take: it cannot be mixed with other sources.")
    if moving:
        identity = _take(arguments, plate, whole[0], moving[0], path, likeness, tell)
    else:
        finder = open_finder(arguments.tracking)
        spaces = [plate_space(shot, plate.colors, arguments.source_colorspace) for shot in shots]
        photos = [read_photo(shot, plate.colors, space, finder) for shot, space in zip(shots, spaces)]
        identity = photo_identity(photos, [shot.path.name for shot in shots], plate.colors, likeness)
    write_identity(path, identity)
    return path


def _take(
    arguments: ConvertArguments,
    plate: OpenPlate,
    first: int,
    shot: Shot,
    path: Path,
    likeness: Likeness,
    tell: Tell,
) -> IdentityFile:
    space = plate_space(shot, plate.colors, arguments.source_colorspace)
    track = path.with_name(path.name.replace(".identity.safetensors", ".take.track.json"))
    tracked(OpenPlate(shot, plate.colors, space), arguments.tracking, track, arguments.force, tell)
    chosen = prominent(read_tracks(track).tracks)
    assert chosen is not None
    start = (shot.first if arguments.source_start is None else arguments.source_start) - first
    return take_identity(shot, space, track, chosen.name, start, likeness)
