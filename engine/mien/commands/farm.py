"""``mien farm``, ``solve`` and ``finish``: a recipe as a job bundle, and what its first and last tasks run."""

from dataclasses import dataclass
from pathlib import Path

from mien import recipe as recipes
from mien.commands.qc import write_report
from mien.deliver import Destination
from mien.farm.assets import assets_of
from mien.farm.bundle import MOST_CHUNKS, Farming, chunks, write_bundle
from mien.farm.mapping import moved, read_rules
from mien.files.whole import write_whole
from mien.hosts.frames import parsed
from mien.job import open_job
from mien.movie import write_movie
from mien.progress import Outcome, Tell
from mien.recipe import Recipe, RecipeError
from mien.run import solved, without_measurements

DEVICES = ("cuda", "cpu", "auto")


@dataclass(frozen=True)
class FarmArguments:
    """What ``mien farm`` was asked for; without frames, the shot's."""

    recipe: Path
    folder: Path
    frames: tuple[int, int] | None = None
    chunk: int = 10
    device: str = "cuda"
    memory: int = 8192
    program: str = "mien"
    priority: int = 50


def farm_recipe(arguments: FarmArguments) -> Outcome:
    """Write the bundle of a recipe, after opening all that it draws on.

    Raises:
        RecipeError: The recipe, the frames or a number cannot be.
        MienError: A file is missing, or the folder cannot be written.
    """
    return farm(recipes.read(arguments.recipe), arguments)


def farm(recipe: Recipe, arguments: FarmArguments) -> Outcome:
    """``farm_recipe`` of a recipe that was read."""
    if arguments.device not in DEVICES:
        raise RecipeError(f"There is no device {arguments.device!r}: choose {', '.join(DEVICES)}.")
    if not 0 <= arguments.priority <= 100:
        raise RecipeError(f"A priority of {arguments.priority} cannot be: choose 0 to 100.")
    if arguments.chunk < 1 or arguments.memory < 1:
        raise RecipeError("A chunk has at least one frame, and a machine at least 1 MiB of memory.")
    job = open_job(recipe, "cpu")
    first, last = arguments.frames or (job.shot.first, job.shot.last)
    if first < job.shot.first or last > job.shot.last:
        raise RecipeError(f"Frames {first}-{last} are not all in the shot, which has {job.shot.first}-{job.shot.last}.")
    farming = Farming(
        (first, last), arguments.chunk, arguments.device, arguments.memory, arguments.program, arguments.priority
    )
    count = len(chunks(farming))
    if count > MOST_CHUNKS:
        raise RecipeError(f"{count} chunks are too many for a queue: make them larger with --chunk.")
    written = write_bundle(arguments.folder, recipe, assets_of(recipe, job.shot), farming)
    return Outcome(tuple(str(path) for path in written), last - first + 1)


def solve_recipe(path: Path, rules: Path | None, device: str, tell: Tell) -> Outcome:
    """Solve what holds for the whole shot, so that its frames can be rendered anywhere.

    Raises:
        RecipeError: The recipe cannot run.
        MienError: What it draws on cannot be used.
    """
    recipe = moved(recipes.read(path), read_rules(rules))
    job = solved(open_job(recipe, device), tell, kept=without_measurements)
    # Frames must not each find out for themselves what the plate's files hold.
    job.prints.save()
    return Outcome((str(job.folder / "solve"),), len(job.shot.frames))


def finish_recipe(path: Path, rules: Path | None, frames: str | None, tell: Tell) -> Outcome:
    """Look whether frames are there, all of the shot's or some; write the report, and the movie once all are.

    Raises:
        RecipeError: The recipe cannot run, or the frames are none of the shot's.
        MienError: The movie cannot be written.
    """
    recipe = moved(recipes.read(path), read_rules(rules))
    job = open_job(recipe, "cpu")
    try:
        wanted = frozenset(job.shot.frames if frames is None else parsed(frames))
    except ValueError as error:
        raise RecipeError(f"--frames: {error}") from error
    destination = Destination(job)
    absent = {
        frame: f"{file} is missing. Render the frame again."
        for frame in range(job.shot.first, job.shot.last + 1)
        for file in destination.files(frame).values()
        if not file.is_file()
    }
    asked = {frame: message for frame, message in absent.items() if frame in wanted}
    asked |= {frame: "It is not in the shot." for frame in wanted if not job.shot.first <= frame <= job.shot.last}
    written: tuple[str, ...] = ()
    if "movie" in recipe.output.write and not absent.keys() - set(job.shot.missing):
        written = (str(write_movie(job, job.shot.first, job.shot.last, tell)),)
    if len(absent) <= job.shot.last - job.shot.first:
        beside = job.folder / f"{recipe.output.name}.recipe.json"
        if not beside.exists():
            # By it whoever opens the folder finds what made its frames, under the paths of this machine.
            write_whole(beside, recipes.write(recipe).encode())
            written += (str(beside),)
        written += write_report(recipe)
    return Outcome(written, len(wanted) - len(asked), failed=dict(sorted(asked.items())))
