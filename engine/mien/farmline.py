"""The part of the command line that machines of a farm run: ``mien farm``, ``mien solve``, ``mien finish``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.ending import conclude

Recipe = Annotated[Path, typer.Argument(help="Recipe that mien convert, or a host, wrote.")]
Rules = Annotated[
    Path | None, typer.Option("--path-mapping", help="Where a farm put the files: rules of Open Job Description.")
]
Worker = Annotated[bool, typer.Option("--openjd", help="Tell progress as Open Job Description's workers hear it.")]
Json = Annotated[bool, typer.Option("--json", help="Tell progress as JSON lines on stdout.")]


def farm(
    recipe: Recipe,
    output: Annotated[Path, typer.Option("-o", help="Folder of the bundle.")],
    frames: Annotated[str | None, typer.Option(help="First and last frame, as in 1001-1048.")] = None,
    chunk: Annotated[int, typer.Option(min=1, help="Frames of one task.")] = 10,
    device: Annotated[str, typer.Option(help="cuda asks the farm for a graphics card; cpu; auto.")] = "cuda",
    memory: Annotated[int, typer.Option(min=1, help="MiB of memory that a machine has at least.")] = 8192,
    program: Annotated[str, typer.Option(help="How machines of the farm start mien.")] = "mien",
    priority: Annotated[int, typer.Option(min=0, max=100, help="Priority of the job.")] = 50,
    json: Json = False,
) -> None:
    """Write a job bundle of Open Job Description: solve, frames in chunks, finish."""
    from mien.commands.farm import FarmArguments, farm_recipe
    from mien.progress import teller

    arguments = FarmArguments(recipe, output, _range(frames), chunk, device, memory, program, priority)
    with teller(json) as tell:
        conclude(farm_recipe(arguments), tell)


def solve(
    recipe: Recipe,
    device: Annotated[str, typer.Option(help="Where pictures are computed: auto, cpu or cuda.")] = "auto",
    path_mapping: Rules = None,
    openjd: Worker = False,
    json: Json = False,
) -> None:
    """Solve what holds for a whole shot: what a farm runs before all frames."""
    from mien.commands.farm import solve_recipe

    with _voice(openjd, json) as tell:
        conclude(solve_recipe(recipe, path_mapping, device, tell), tell)


def render(
    recipe: Recipe,
    frames: Annotated[str | None, typer.Option(help="First and last frame, as in 1001-1048.")] = None,
    device: Annotated[str, typer.Option(help="Where pictures are computed: auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Redo frames that are up to date.")] = False,
    path_mapping: Rules = None,
    openjd: Worker = False,
    json: Json = False,
) -> None:
    """Render frames of a recipe: what a farm task runs."""
    from mien.commands.convert import render_recipe

    span = _range(frames)
    with _voice(openjd, json) as tell:
        conclude(render_recipe(recipe, span, device, force, tell, path_mapping), tell)


def finish(
    recipe: Recipe,
    frames: Annotated[str | None, typer.Option(help="Frames to look for, as in 1001-1048, 1060; else all.")] = None,
    path_mapping: Rules = None,
    openjd: Worker = False,
    json: Json = False,
) -> None:
    """See that no frame of a shot is missing, write its movie and report: what a farm runs after all frames."""
    from mien.commands.farm import finish_recipe

    with _voice(openjd, json) as tell:
        conclude(finish_recipe(recipe, path_mapping, frames, tell), tell)


@contextmanager
def _voice(openjd: bool, json: bool) -> Iterator[Any]:
    from mien.farm.voice import worker_voice
    from mien.progress import teller

    with worker_voice() if openjd else teller(json) as tell:
        yield tell


def _range(text: str | None) -> tuple[int, int] | None:
    from mien.files.sequence import parse_frames
    from mien.recipe import RecipeError
    from mien.types import MienError

    try:
        return parse_frames(text) if text else None
    except MienError as error:
        raise RecipeError(f"--frames: {error}") from error
