"""A match that native nodes cannot replay, over a whole shot."""

from pathlib import Path

import pytest

from mien import recipe as recipes
from mien.files.curves import read_curves
from mien.job import open_job
from mien.progress import Event
from mien.run import render, solved
from shots import FIRST, make_shot


def tell(event: Event) -> None:
    pass


def run(recipe: Path, frames: list[int]) -> Path:
    job = solved(open_job(recipes.read(recipe), "cpu"), tell)
    assert not render(job, frames, tell).failed
    return job.folder


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    made = make_shot(tmp_path_factory.mktemp("shot"), 3, write=("layer",))
    made.with_settings(measure_color={"space": "perceptual"}, match_color={"method": "transport"})
    return made


def test_cubes_lie_beside_the_curves_and_leave_with_their_reason(shot):
    folder = run(shot.recipe, [FIRST])
    cubes = sorted((folder / "shot.match_color").iterdir())
    assert [path.name for path in cubes] == ["1001.cube", "1002.cube", "1003.cube"]
    kind, curves = read_curves(folder / "shot.match_color.json")
    assert kind == "Grade" and all(value.cube and value.space == "perceptual" for _, value in curves.values())
    before = [path.stat().st_mtime_ns for path in cubes]
    run(shot.recipe, [FIRST])
    assert [path.stat().st_mtime_ns for path in cubes] == before
    shot.with_settings(measure_color={"space": "linear"}, match_color={"method": "mkl"})
    run(shot.recipe, [FIRST])
    assert not list((folder / "shot.match_color").iterdir())


def test_a_frame_alone_is_the_frame_among_all(shot):
    shot.with_settings(measure_color={"space": "log"}, match_color={"method": "histogram"})
    one = run(shot.changed("one"), [FIRST + 1])
    every = run(shot.changed("every"), [FIRST, FIRST + 1, FIRST + 2])
    name = f"layer/shot.{FIRST + 1}.exr"
    assert (one / name).read_bytes() == (every / name).read_bytes()
