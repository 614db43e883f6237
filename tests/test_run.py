"""Rendering a shot: order, skipping, bits outside the matte, faults; on real EXRs through the real runner."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import recipe as recipes
from mien.commands.convert import run_recipe
from mien.files.identities import Likeness, read_identity, write_identity
from mien.files.shot import open_shot, read_region
from mien.files.tracks import read_tracks, write_tracks
from mien.job import open_job
from mien.progress import Outcome
from mien.run import render, solved
from shots import FIRST, OVERSCAN, SIZE, Made, make_shot, plate_pixels, read_exr, write_exr


def quiet(event: object) -> None:
    """Nobody listens."""


def run(recipe: Path, frames: tuple[int, int] | None = None, force: bool = False) -> Outcome:
    return run_recipe(recipes.read(recipe), frames, "cpu", force, quiet, ())


def contents(folder: Path) -> dict[str, bytes]:
    """Every delivered picture."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.exr"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    shot = make_shot(tmp_path_factory.mktemp("run"))
    outcome = run(shot.recipe)
    assert outcome.done == len(shot.frames) and not outcome.failed
    return shot


def test_backwards_and_in_chunks_gives_the_same_bytes(made: Made) -> None:
    wanted = contents(made.folder / "out")
    assert len(wanted) == 2 * len(made.frames)
    job = open_job(recipes.read(made.changed("backwards")), "cpu")
    job = solved(job, quiet)
    render(job, list(reversed(made.frames)), quiet)
    assert contents(made.folder / "backwards") == wanted
    chunks = made.changed("chunks")
    run(chunks, (FIRST + 3, FIRST + 5))
    assert len(contents(made.folder / "chunks")) == 6
    run(chunks, (FIRST, FIRST + 2))
    assert contents(made.folder / "chunks") == wanted


def test_a_second_run_skips_everything_and_force_redoes_it(made: Made) -> None:
    before = {p: p.stat().st_mtime_ns for p in (made.folder / "out").rglob("*.exr")}
    again = run(made.recipe)
    assert (again.done, again.skipped) == (0, len(made.frames))
    assert before == {p: p.stat().st_mtime_ns for p in (made.folder / "out").rglob("*.exr")}
    assert run(made.recipe, (FIRST, FIRST), force=True).done == 1


def test_outside_the_matte_the_full_frame_is_the_plate_bit_for_bit(made: Made) -> None:
    for frame in made.frames:
        plate_spec, plate = read_exr(Path(made.plate % frame))
        spec, full = read_exr(made.folder / "out" / "full" / f"shot.{frame}.exr")
        layer_spec, layer = read_exr(made.folder / "out" / "layer" / f"shot.{frame}.exr")
        window = ("x", "y", "width", "height")
        assert [getattr(spec, n) for n in window] == [getattr(plate_spec, n) for n in window]
        matte = np.zeros(plate.shape[:2], bool)
        y, x = layer_spec.y - plate_spec.y, layer_spec.x - plate_spec.x
        alpha = layer[..., list(layer_spec.channelnames).index("A")]
        matte[y : y + alpha.shape[0], x : x + alpha.shape[1]] = alpha > 0
        differing = (plate.view(np.uint16) != full.view(np.uint16)).any(-1)
        assert matte.sum() > 1000 and differing.sum() > 1000
        assert not (differing & ~matte).any()
        assert np.isinf(full[3, 3]).all() and np.isnan(full[3, 5]).all()
        assert (full[4, 4] == 16).all() and np.allclose(full[5, 4], -0.05, atol=1e-4)


def test_the_layer_over_the_plate_is_the_full_frame(made: Made) -> None:
    frame = made.frames[2]
    plate_spec, plate = read_exr(Path(made.plate % frame))
    _, full = read_exr(made.folder / "out" / "full" / f"shot.{frame}.exr")
    spec, layer = read_exr(made.folder / "out" / "layer" / f"shot.{frame}.exr")
    names = list(spec.channelnames)
    rgb = layer[..., [names.index(c) for c in "RGB"]].astype(np.float32)
    alpha = layer[..., names.index("A")].astype(np.float32)[..., None]
    rows = slice(spec.y - plate_spec.y, spec.y - plate_spec.y + spec.height)
    columns = slice(spec.x - plate_spec.x, spec.x - plate_spec.x + spec.width)
    laid = rgb + plate[rows, columns].astype(np.float32) * (1 - alpha)
    # Around the face the plate may hold infinite and undefined light, which stays.
    assert np.allclose(laid, full[rows, columns].astype(np.float32), rtol=0, atol=3e-3, equal_nan=True)
    outside = alpha[..., 0] == 0
    assert np.array_equal(laid[outside], plate[rows, columns].astype(np.float32)[outside], equal_nan=True)
    assert spec.full_width == SIZE[0] and spec.width < SIZE[0]
    assert spec.getattribute("mien:likeness") == "Nobody" and spec.getattribute("mien:release") == "test release"
    assert spec.getattribute("colorInteropID") == "lin_ap1_scene"


def test_a_changed_value_redoes_only_its_frames(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 5, write=("layer",))
    made.with_settings(composite={"opacity": [[FIRST, 1.0], [FIRST + 3, 1.0], [FIRST + 4, 0.5]]})
    assert run(made.recipe).done == 5
    made.with_settings(composite={"opacity": [[FIRST, 1.0], [FIRST + 3, 1.0], [FIRST + 4, 0.4]]})
    again = run(made.recipe)
    assert (again.done, again.skipped) == (1, 4)


def test_touching_a_plate_changes_nothing_and_new_pixels_redo_the_frame(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 3, write=("layer",))
    run(made.recipe)
    path = Path(made.plate % (FIRST + 1))
    os.utime(path)
    assert run(made.recipe).skipped == 3
    pixels = plate_pixels(FIRST + 1)
    pixels[80:100, 90:110] += 0.2
    write_exr(path, pixels, (-OVERSCAN, -OVERSCAN), SIZE, colorInteropID="lin_ap1_scene")
    assert run(made.recipe).done >= 1


def test_another_identity_redoes_every_frame(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 2, write=("layer",))
    run(made.recipe)
    other = make_shot(tmp_path / "other", 2)
    identity = read_identity(other.identity)
    write_identity(made.identity, replace(identity, likeness=Likeness("Somebody", "r")))
    assert run(made.recipe).done == 2


def test_missing_and_damaged_frames_are_named_and_the_others_done(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 6)
    Path(made.plate % (FIRST + 1)).unlink()
    broken = Path(made.plate % (FIRST + 3))
    broken.write_bytes(broken.read_bytes()[:3000])
    write_exr(Path(made.plate % (FIRST + 4)), np.ones((40, 40, 3), np.float32))
    outcome = run(made.recipe)
    assert sorted(outcome.failed) == [FIRST + 1, FIRST + 3, FIRST + 4]
    assert outcome.done == 3
    for frame, message in outcome.failed.items():
        assert str(frame) in message
    names = [p.name for p in (made.folder / "out" / "layer").iterdir()]
    assert sorted(names) == [f"shot.{f}.exr" for f in (FIRST, FIRST + 2, FIRST + 5)]


def test_frames_without_a_face_are_written_empty(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 4)
    file = read_tracks(made.track)
    track = file.tracks[0]
    confidence = track.confidence.clone()
    confidence[2:] = 0  # at the end, where nothing bridges the gap
    write_tracks(made.track, (replace(track, confidence=confidence),), file.plate)
    assert run(made.recipe).done == 4
    spec, layer = read_exr(made.folder / "out" / "layer" / f"shot.{FIRST + 2}.exr")
    assert spec.width == spec.height == 1 and not layer.any() and spec.full_width == SIZE[0]
    other, _ = read_exr(made.folder / "out" / "layer" / f"shot.{FIRST}.exr")
    assert list(spec.channelnames) == list(other.channelnames)
    _, full = read_exr(made.folder / "out" / "full" / f"shot.{FIRST + 2}.exr")
    _, plate = read_exr(Path(made.plate % (FIRST + 2)))
    assert (full.view(np.uint16) == plate.view(np.uint16)).all()


@pytest.mark.parametrize("kind", ["half", "float"])
def test_a_highlight_on_the_face_survives(tmp_path: Path, kind: str) -> None:
    made = make_shot(tmp_path, 2, kind=kind)
    for frame in made.frames:
        pixels = plate_pixels(frame)
        pixels[OVERSCAN + 80 : OVERSCAN + 84, OVERSCAN + 88 : OVERSCAN + 92] = 8.0
        write_exr(Path(made.plate % frame), pixels, (-OVERSCAN, -OVERSCAN), SIZE, kind, colorInteropID="lin_ap1_scene")
    run(made.recipe)
    _, full = read_exr(made.folder / "out" / "full" / f"shot.{FIRST}.exr")
    assert full[OVERSCAN + 81, OVERSCAN + 89].min() > 4


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mien", *map(str, arguments)]


def frames_on_disk(folder: Path) -> Iterable[Path]:
    return list(folder.rglob("shot.*.exr"))


def test_kill_in_the_middle_loses_nothing(made: Made, tmp_path: Path) -> None:
    recipe = made.changed("killed")
    out = made.folder / "killed"
    # Sums of several threads differ in their last bits, and with them the keys in the headers: this process has one.
    process = subprocess.Popen(
        command("render", recipe, "--device", "cpu"),
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(list(frames_on_disk(out))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in frames_on_disk(out):
        read_exr(path)
    assert run(recipe).failed == {}
    assert contents(out) == contents(made.folder / "out")
    assert not [p for p in out.rglob(".*") if p.is_file()]


def test_a_full_disk_is_told_and_leaves_nothing_half(made: Made) -> None:
    """The folder of the outputs is a file: every write fails as on a disk that refuses."""
    recipe = made.changed("full_disk")
    folder = made.folder / "full_disk"
    folder.mkdir()
    (folder / "layer").write_text("in the way")
    outcome = run(recipe)
    assert sorted(outcome.failed) == list(made.frames)
    assert all("layer" in message for message in outcome.failed.values())
    shutil.rmtree(folder)


def test_exit_codes(made: Made, tmp_path: Path) -> None:
    done = subprocess.run(command("render", made.recipe, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"event": "outcome"' in done.stdout.splitlines()[-1]
    bad = tmp_path / "bad.json"
    bad.write_text(made.recipe.read_text().replace('"soften"', '"softn"'))
    refused = subprocess.run(command("render", bad), capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "did you mean 'soften'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_every_kind_of_output_is_written_and_found_up_to_date(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 3, write=("layer", "host", "full", "stmap", "movie"))
    assert run(made.recipe).done == 3
    out = made.folder / "out"
    spec, raw = read_exr(out / "host" / f"shot_raw.{FIRST}.exr")
    assert (spec.width, spec.height) == SIZE and raw.dtype == np.float16 and np.isfinite(raw).all()
    _, matte = read_exr(out / "host" / f"shot_matte.{FIRST}.exr")
    assert matte.dtype == np.float32 and (matte[..., 3] == 1).all()
    plate = plate_pixels(FIRST)[OVERSCAN:-OVERSCAN, OVERSCAN:-OVERSCAN].astype(np.float16).astype(np.float32)
    _, face = read_exr(out / "host" / f"shot_face.{FIRST}.exr")
    _, full = read_exr(out / "full" / f"shot.{FIRST}.exr")
    full, amount = full[OVERSCAN:-OVERSCAN, OVERSCAN:-OVERSCAN].astype(np.float32), matte[..., :1]
    assert np.allclose(full, plate + amount * (face.astype(np.float32) - plate), atol=2e-3, equal_nan=True)
    inside = matte[..., 0] > 0.99
    assert inside.sum() > 500 and (matte[..., 1][inside] > 0).all() and (matte[..., 1][matte[..., 0] == 0] <= 0).all()
    _, stabilize = read_exr(out / "stmap" / f"shot_stabilize.{FIRST + 2}.exr")
    _, restore = read_exr(out / "stmap" / f"shot_restore.{FIRST + 2}.exr")
    assert stabilize.dtype == np.float32
    # The face moved 3.4 px right and 1.2 px down since the first frame.
    moved = stabilize[80, 90, :2] * SIZE - (np.array([90.5, SIZE[1] - 80.5]))
    assert np.allclose(moved, [3.4, -1.2], atol=0.02)
    back = restore[80, 90, :2] * SIZE - (np.array([90.5, SIZE[1] - 80.5]))
    assert np.allclose(back, [-3.4, 1.2], atol=0.02)
    movie = next(out.glob("shot.m*"))
    stamp = movie.stat().st_mtime_ns
    again = run(made.recipe)
    assert (again.done, again.skipped) == (0, 3) and movie.stat().st_mtime_ns == stamp


def test_a_movie_shows_its_range_and_holds_the_picture_where_the_plate_is_broken(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 5, write=("layer", "movie"))
    broken = Path(made.plate % (FIRST + 2))
    broken.write_bytes(broken.read_bytes()[:3000])
    recipe = recipes.read(made.recipe)
    span = (FIRST + 1, FIRST + 4)
    outcome = run_recipe(recipe, span, "cpu", False, quiet, (), movie=span)
    assert list(outcome.failed) == [FIRST + 2]
    movie = open_shot(next((made.folder / "out").glob("shot.m*")))
    assert len(movie.frames) == 4
    first, held, after = (read_region(movie, frame, movie.display) for frame in (1, 2, 3))
    assert np.abs(first - held).mean() < 0.003 < np.abs(first - after).mean()


def test_a_plate_in_another_color_space_keeps_its_bits_outside_the_matte(tmp_path: Path) -> None:
    """Going to the working space and back does not return every bit: only the mask keeps them."""
    made = make_shot(tmp_path, 1, kind="float")
    path = Path(made.plate % FIRST)
    write_exr(path, plate_pixels(FIRST), (-OVERSCAN, -OVERSCAN), SIZE, "float", colorInteropID="lin_rec709_scene")
    assert run(made.recipe).done == 1
    spec, layer = read_exr(made.folder / "out" / "layer" / f"shot.{FIRST}.exr")
    assert spec.getattribute("colorInteropID") == "lin_rec709_scene"
    _, plate = read_exr(path)
    _, full = read_exr(made.folder / "out" / "full" / f"shot.{FIRST}.exr")
    matte = np.zeros(plate.shape[:2], bool)
    alpha = layer[..., list(spec.channelnames).index("matte.edge")]
    y, x = spec.y + OVERSCAN, spec.x + OVERSCAN
    matte[y : y + alpha.shape[0], x : x + alpha.shape[1]] = alpha > 0
    differing = (plate.view(np.uint32) != full.view(np.uint32)).any(-1)
    assert differing.sum() > 1000 and not (differing & ~matte).any()
