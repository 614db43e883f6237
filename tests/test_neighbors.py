"""Steps that look at neighboring frames, and mattes from disk, in real runs: pure, once each, keyed by content."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import chain as chains
from mien import recipe as recipes
from mien.chain import declaration, radius
from mien.commands.convert import run_recipe
from mien.job import frame_key, open_job
from mien.neighbors import Nearby, farthest, looked_at, with_neighbors
from mien.progress import Outcome
from mien.recipe import RecipeError, Step, check
from mien.run import plate_at, render, solved
from shots import FIRST, SIZE, Made, face_center, make_shot, plate_pixels, read_exr, write_exr


def quiet(event: object) -> None:
    """Nobody listens."""


def run(recipe: Path, frames: tuple[int, int] | None = None) -> Outcome:
    return run_recipe(recipes.read(recipe), frames, "cpu", False, quiet, ())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.exr"))}


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = make_shot(tmp_path_factory.mktemp("steady"), 5, write=("layer",))
    made.with_settings(steady_matte={"radius": 1})
    assert run(made.recipe).done == len(made.frames)
    return made


def test_the_order_and_the_chunks_of_frames_do_not_matter(steady: Made) -> None:
    wanted = contents(steady.folder / "out")
    job = solved(open_job(recipes.read(steady.changed("backwards")), "cpu"), quiet)
    render(job, list(reversed(steady.frames)), quiet)
    assert contents(steady.folder / "backwards") == wanted
    chunks = steady.changed("chunks")
    for first, last in ((FIRST + 3, FIRST + 4), (FIRST, FIRST + 2)):
        run(chunks, (first, last))
    assert contents(steady.folder / "chunks") == wanted
    spec, layer = read_exr(steady.folder / "out" / "layer" / f"shot.{FIRST + 2}.exr")
    names = list(spec.channelnames)
    edge, calm = (layer[..., names.index(name)].astype(np.float32) for name in ("matte.edge", "matte.steady"))
    assert 0 < np.abs(edge - calm).mean() < 0.05


def test_every_frame_is_computed_once(steady: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    plain = chains.call_node

    def counted(step: Step, inputs: dict, settings: dict) -> object:
        calls[step.name] += 1
        return plain(step, inputs, settings)

    job = solved(open_job(recipes.read(steady.changed("counted")), "cpu"), quiet)
    monkeypatch.setattr(chains, "call_node", counted)
    render(job, list(steady.frames), quiet, call_at=lambda job, frame: counted)
    # The run that only asks for the names of mattes computes everything once more, very small.
    assert calls["convert_face"] == len(steady.frames) + 1
    assert calls["steady_matte"] == len(steady.frames) + 1


def test_the_memory_is_bounded(steady: Made) -> None:
    job = with_neighbors(open_job(recipes.read(steady.recipe), "cpu"), plate_at)
    nearby = job.chain.neighbors
    assert isinstance(nearby, Nearby) and with_neighbors(job, plate_at) is job
    for frame in steady.frames:
        assert nearby.value(job.chain, frame, "refine_matte") is not None
    assert len(nearby.records) == len(nearby.plates) == nearby.most == 4
    assert nearby.value(job.chain, FIRST - 1, "refine_matte") is None
    assert nearby.value(job.chain, FIRST - 1, "plate") is None


def test_what_was_made_from_something_else_is_made_again(steady: Made) -> None:
    job = with_neighbors(open_job(recipes.read(steady.recipe), "cpu"), plate_at)
    first = job.chain.neighbors.value(job.chain, FIRST, "refine_matte")
    assert job.chain.neighbors.value(job.chain, FIRST, "refine_matte") is first
    steps = recipes.change_steps(job.recipe.steps, {"matte_edge.grow": 0.1})
    other = replace(job.chain, recipe=check(replace(job.recipe, steps=steps)))
    again = job.chain.neighbors.value(other, FIRST, "refine_matte")
    assert again.matte.sum() > first.matte.sum()


def test_a_chain_that_looks_nowhere_has_no_memory(steady: Made) -> None:
    steps = recipes.change_steps(recipes.read(steady.recipe).steps, {"steady_matte.radius": 0})
    job = open_job(check(replace(recipes.read(steady.recipe), steps=steps)), "cpu")
    assert with_neighbors(job, plate_at) is job
    assert radius(job.recipe.step("steady_matte"), FIRST) == 0
    assert looked_at(job.chain) == set()
    around = looked_at(open_job(recipes.read(steady.recipe), "cpu").chain)
    assert around >= {"convert_face", "matte_edge", "refine_matte"} and "steady_matte" not in around
    keyed = Step("calm", "steady_matte", {}, {"radius": [[FIRST, 0], [FIRST + 9, 3]], "amount": 1.0})
    assert farthest(keyed) == 3


def test_a_new_neighbor_renders_its_neighbors_anew(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 5, write=("layer",))
    made.with_settings(steady_matte={"radius": 1})
    before = open_job(recipes.read(made.recipe), "cpu")
    keys = [frame_key(before, frame, "steady_matte") for frame in made.frames]
    write_exr(
        Path(made.plate % FIRST),
        plate_pixels(FIRST) * 1.5,
        corner=(-8, -8),
        window=SIZE,
        colorInteropID="lin_ap1_scene",
    )
    after = open_job(recipes.read(made.recipe), "cpu")
    changed = [old != frame_key(after, frame, "steady_matte") for old, frame in zip(keys, made.frames)]
    assert changed == [True, True, False, False, False]


def hand(frame: int) -> np.ndarray:
    """A hand that covers the right half of the face."""
    x = np.mgrid[: SIZE[1], : SIZE[0]][1]
    return (1 / (1 + np.exp(-(x + 0.5 - face_center(frame)[0]) / 2))).astype(np.float32)[..., None]


def test_a_roto_sequence_holds_out_and_is_part_of_the_key(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 4, write=("layer",))
    for frame in made.frames:
        write_exr(tmp_path / "roto" / f"hand.{frame}.exr", hand(frame), kind="float")
    made.with_settings(hold_out={"file": "roto/hand.####.exr"})
    assert run(made.recipe).done == 4
    spec, layer = read_exr(tmp_path / "out" / "layer" / f"shot.{FIRST + 1}.exr")
    names = list(spec.channelnames)
    held, edge, visible = (
        layer[..., names.index(f"matte.{name}")].astype(np.float32) for name in ("hold_out", "edge", "visible")
    )
    whole = np.zeros((SIZE[1] + 80, SIZE[0] + 80), np.float32)
    whole[40:-40, 40:-40] = hand(FIRST + 1)[..., 0]
    drawn = whole[40 + spec.y :, 40 + spec.x :][: spec.height, : spec.width]
    assert np.abs(held - drawn).max() < 1e-3
    assert np.abs(visible - edge * (1 - drawn)).max() < 2e-3
    assert run(made.recipe).skipped == 4
    write_exr(tmp_path / "roto" / f"hand.{FIRST + 2}.exr", hand(FIRST) * 0.5, kind="float")
    again = run(made.recipe)
    # Curves that are solved for the shot take the matte into account, so the other frames may change with it.
    assert again.done >= 1 and not again.failed
    (tmp_path / "roto" / f"hand.{FIRST + 3}.exr").unlink()
    (tmp_path / "out" / "layer" / f"shot.{FIRST + 3}.exr").unlink()
    failed = run(made.recipe, (FIRST + 3, FIRST + 3))
    assert "1004" in str(failed.failed) and "missing" in str(failed.failed)


def test_windows_and_files_are_checked(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 2)
    recipe = recipes.read(made.recipe)
    wrong = Step("again", "steady_matte", {"layers": "plate", "plates": "plate"})
    with pytest.raises(RecipeError, match=r"gives a Plate, 'layers' takes a Window\[Layer\]"):
        check(replace(recipe, steps=(*recipe.steps[:6], wrong)))
    assert {port.type for port in declaration("steady_matte").inputs} == {"Window[Layer]", "Window[Plate]"}
    made.with_settings(hold_out={"file": [[FIRST, "a/one.exr"], [FIRST + 1, "/b/two.exr"]]})
    settings = recipes.read(made.recipe).step("hold_out").settings
    assert settings["file"] == [[FIRST, str(tmp_path / "a/one.exr")], [FIRST + 1, "/b/two.exr"]]
    steps = recipes.change_steps(recipe.steps, {"hold_out.file": "roto/hand.####.exr"})
    held = next(step for step in recipes.located(steps, tmp_path) if step.name == "hold_out")
    assert held.settings["file"] == str(tmp_path / "roto/hand.####.exr")
    assert recipes.located(recipe.steps, tmp_path) == recipe.steps


def test_neighbors_are_seen_at_the_scale_of_a_proxy(tmp_path: Path) -> None:
    """Large faces are measured small: what they see around them must be small too."""
    made = make_shot(tmp_path, 3, write=("layer",))
    made.with_settings(steady_matte={"radius": 1}, refine_matte={"amount": 1.0})
    job = with_neighbors(open_job(recipes.read(made.recipe), "cpu"), plate_at)
    job = replace(job, chain=chains.solve(job.chain, job.recipe.step("smooth_track")))
    whole = job.chain.neighbors.value(job.chain, FIRST + 1, "steady_matte")
    small = replace(job.chain, scale=0.5)
    half = job.chain.neighbors.value(small, FIRST + 1, "steady_matte")
    assert half.face_width == pytest.approx(whole.face_width / 2)
    assert float(half.matte.sum()) * 4 == pytest.approx(float(whole.matte.sum()), rel=0.06)
    assert job.chain.neighbors.value(small, FIRST, "refine_matte").matte.shape != whole.matte.shape
