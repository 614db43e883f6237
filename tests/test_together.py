"""Faces drawn several frames at once: the bits of each alone, whichever frames are asked for, and fewer runs."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mien import recipe as recipes
from mien.__main__ import app
from mien.chain import evaluate, face_in
from mien.commands.convert import run_recipe
from mien.files.identities import IdentityFile, Likeness, write_identity
from mien.job import Job, frame_key, open_job
from mien.models.swap import SwapNetwork, SwapShape
from mien.run import plate_at, render, solved
from mien.together import bench, lasts
from mien.types import Face, Plate
from shots import FIRST, Made, make_shot

COUNT = 7
BATCH = 4
SHAPE = SwapShape("df", 64, 8, 8, 4, 32)


def quiet(event: object) -> None:
    """Nobody listens."""


def shown(job: Job, frame: int) -> tuple[Plate, Face]:
    plate, face = plate_at(job, frame), face_in(job.chain, frame)
    assert plate is not None and face is not None
    return plate, face


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.exr"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A shot with a swap identity of chance weights, four frames at once."""
    made = make_shot(tmp_path_factory.mktemp("together"), COUNT, write=("layer",), width=40)
    torch.manual_seed(5)
    network = SwapNetwork(SHAPE, both=False)
    facts = {"shape": asdict(SHAPE), "coverage": 1.7}
    identity = made.folder / "swap.safetensors"
    write_identity(identity, IdentityFile("swap", Likeness("Nobody", "test"), facts, network.state_dict()))
    recipe = replace(recipes.read(made.recipe), identity=str(identity), batch=BATCH)
    made.recipe.write_text(recipes.write(recipe))
    return made


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often networks are run, by how many pictures they are given."""
    counted: Counter[str] = Counter()
    plain = SwapNetwork.forward

    def forward(self: SwapNetwork, seen: torch.Tensor) -> object:
        counted[f"of {len(seen)}"] += 1
        return plain(self, seen)

    monkeypatch.setattr(SwapNetwork, "forward", forward)
    return counted


def test_benches() -> None:
    assert [*bench(1005, 4)] == [1004, 1005, 1006, 1007] and [*bench(-1, 4)] == [-4, -3, -2, -1]
    assert lasts([1001, 1002, 1003, 1004, 1006, 1009], 4) == {1003, 1006, 1009}
    assert lasts([3, 2, 1], 4) == {1, 2, 3} == lasts([1, 2, 3], 1)
    assert lasts([5, 5], 4) == {5} and lasts([], 4) == frozenset()


@pytest.mark.parametrize("radius", [0, 2])
def test_any_frames_in_any_order_have_the_same_bytes(made: Made, radius: int, draws: Counter[str]) -> None:
    made.with_settings(steady_face={"radius": radius})
    whole = recipes.read(made.changed(f"whole {radius}"))
    assert run_recipe(whole, None, "cpu", False, quiet, ()).done == len(made.frames)
    wanted = contents(Path(whole.output.folder))
    assert len(wanted) == COUNT
    benches = len({frame // BATCH for frame in made.frames})
    # To measure color, to measure detail, to render; and once for the names of mattes.
    assert draws == {f"of {BATCH}": 3 * benches + 1}

    job = solved(open_job(recipes.read(made.changed(f"backwards {radius}")), "cpu"), quiet)
    render(job, list(reversed(made.frames)), quiet)
    assert contents(job.folder) == wanted
    chunks = recipes.read(made.changed(f"chunks {radius}"))
    for first, last in ((FIRST + 4, FIRST + 6), (FIRST + 1, FIRST + 3), (FIRST, FIRST)):
        run_recipe(chunks, (first, last), "cpu", False, quiet, ())
    assert contents(Path(chunks.output.folder)) == wanted


def test_a_frame_alone_is_the_frame_among_others(made: Made) -> None:
    job = solved(open_job(recipes.read(made.changed("alone")), "cpu"), quiet)
    identity = job.chain.identity_at(FIRST)
    generator = torch.Generator().manual_seed(1)
    crops = torch.rand(BATCH, 3, 64, 64, generator=generator)
    together = identity.draw(crops)
    for seat in range(BATCH):
        empty = torch.zeros_like(crops)
        empty[seat] = crops[seat]
        assert all(torch.equal(a[seat], b[seat]) for a, b in zip(together, identity.draw(empty), strict=True))
    with pytest.raises(ValueError, match="seat"):
        identity.together([shown(job, FIRST), shown(job, FIRST + BATCH)])


def test_one_by_one_differs_by_no_more_than_rounding(made: Made) -> None:
    pictures = []
    for batch in (1, BATCH):
        job = solved(open_job(replace(recipes.read(made.changed(f"of {batch}")), batch=batch), "cpu"), quiet)
        plate, _ = shown(job, FIRST + 3)
        pictures.append(evaluate(job.chain, FIRST + 3, plate, "convert_face")["convert_face"].image)
    torch.testing.assert_close(*pictures, rtol=1e-3, atol=1e-4)


def test_the_batch_is_part_of_the_key_where_it_matters(made: Made) -> None:
    recipe = recipes.read(made.changed("keys"))
    keys = {}
    for identity in (recipe.identity, str(made.identity)):
        for batch in (1, 2, BATCH):
            job = open_job(replace(recipe, identity=identity, batch=batch), "cpu")
            keys[identity, batch] = frame_key(job, FIRST, "convert_face")
    assert len({keys[recipe.identity, batch] for batch in (1, 2, BATCH)}) == 3
    assert len({keys[str(made.identity), batch] for batch in (1, 2, BATCH)}) == 1


@pytest.mark.parametrize("radius", [0, 1])
def test_a_frame_that_fails_takes_no_other_with_it(made: Made, radius: int) -> None:
    made.with_settings(steady_face={"radius": radius})
    recipe = recipes.read(made.changed(f"torn {radius}"))
    plate = Path(recipe.plate.path % (FIRST + 2))
    whole = plate.read_bytes()
    try:
        plate.write_bytes(whole[: len(whole) // 2])
        outcome = run_recipe(recipe, None, "cpu", False, quiet, ())
    finally:
        plate.write_bytes(whole)
    lost = [*range(FIRST + 2 - radius, FIRST + 3 + radius)]
    assert outcome.done == COUNT - len(lost) and [*outcome.failed] == lost
    assert len(contents(Path(recipe.output.folder))) == COUNT - len(lost)


def test_from_the_command_line(made: Made, tmp_path: Path) -> None:
    def convert(*words: str) -> str:
        result = CliRunner().invoke(
            app,
            ["convert", made.plate, "--track", str(made.track), "--frames", f"{FIRST}-{FIRST + 1}", *words],
        )
        return result.output if result.exit_code == 0 else f"exit {result.exit_code}: {result.exception}"

    photo = convert("--identity", str(made.identity), "-o", str(tmp_path / "photo"), "--batch", "2")
    assert "one by one" in photo
    swap = convert("--identity", str(made.folder / "swap.safetensors"), "-o", str(tmp_path / "swap"), "--batch", "2")
    assert "one by one" not in swap and "exit" not in swap
    assert recipes.read(next((tmp_path / "swap").glob("*.recipe.json"))).batch == 2
    assert "at once" in convert("--identity", str(made.identity), "-o", str(tmp_path / "none"), "--batch", "65")
