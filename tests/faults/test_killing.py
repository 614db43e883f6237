"""Kills at any moment, and bad machines: outputs are absent or right, and a re-run completes."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from faults.victims import Warm, contents, half_written, ordeal
from mien import recipe as recipes
from mien.commands.convert import run_recipe
from mien.files.complete import complete
from mien.job import open_job
from shots import FIRST, Made, make_shot

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills and forks")
COUNT = 4


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory):
    process = Warm(tmp_path_factory.mktemp("warm") / "log")
    yield process
    process.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Made:
    """A shot that was rendered once, undisturbed: ``right`` is what it left."""
    shot = make_shot(tmp_path_factory.mktemp("faults"), COUNT)
    ended = warm.run(words_of(shot))
    assert ended["code"] == 0, ended["log"]
    shutil.copytree(shot.folder / "out", shot.folder / "right")
    return shot


def words_of(made: Made, *more: str) -> list[str]:
    return ["render", str(made.recipe), "--device=cpu", *more]


@pytest.fixture
def fresh(made: Made) -> Path:
    """The shot's output folder, empty."""
    out = made.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    return out


def pictures(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name.endswith(".exr")}


def absent_or_right(out: Path, made: Made) -> None:
    right = pictures(made.folder / "right")
    assert {name for name, content in pictures(out).items() if right[name] != content} == set()


def completes(out: Path, made: Made, warm: Warm) -> None:
    ended = warm.run(words_of(made))
    assert ended["code"] == 0, ended["log"]
    assert contents(out) == contents(made.folder / "right")
    assert not half_written(out)


def test_killed_at_random_moments_it_ends_the_same(made: Made, fresh: Path, warm: Warm) -> None:
    tally = ordeal(warm, words_of(made), fresh, kills=4, seed=7)
    assert tally.kills >= 4 and tally.wrong == [] and tally.left == []


def test_clocks_that_jump_change_nothing(made: Made, fresh: Path, warm: Warm) -> None:
    for frame, when in ((FIRST, 0), (FIRST + 1, 4_000_000_000)):
        os.utime(made.plate % frame, (when, when))
    ended = warm.run(words_of(made), ill="clock")
    assert ended["code"] == 0, ended["log"]
    assert pictures(fresh) == pictures(made.folder / "right")
    again = warm.run(words_of(made), ill="clock")
    assert "0 frames done, 4 were up to date" in again["log"]


def test_nobody_reads_standard_output(made: Made, fresh: Path, warm: Warm) -> None:
    ended = warm.run(words_of(made, "--json"), ill="deaf")
    assert ended["code"] == 1 and "Traceback" not in ended["log"], ended["log"]
    absent_or_right(fresh, made)
    completes(fresh, made, warm)


def test_files_that_cannot_grow(made: Made, fresh: Path, warm: Warm) -> None:
    ended = warm.run(words_of(made), ill="small")
    assert ended["code"] == 1 and "Cannot write" in ended["log"] and "Traceback" not in ended["log"], ended["log"]
    absent_or_right(fresh, made)
    completes(fresh, made, warm)


@pytest.fixture
def small_disk(fresh: Path):
    """The output folder on a file system of 256 KiB."""
    fresh.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(fresh)], capture_output=True)
    if mounted.returncode:
        fresh.rmdir()
        pytest.skip("needs the right to mount a small file system")
    try:
        yield fresh
    finally:
        subprocess.run(["umount", str(fresh)], check=True)


def test_a_full_disk(made: Made, small_disk: Path, warm: Warm) -> None:
    ended = warm.run(words_of(made))
    assert ended["code"] == 1 and "free space" in ended["log"] and "Traceback" not in ended["log"], ended["log"]
    absent_or_right(small_disk, made)
    assert not half_written(small_disk)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    completes(small_disk, made, warm)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    once_more = warm.run(words_of(made, "--force"))
    assert once_more["code"] == 1 and "Cannot write" in once_more["log"] and "Traceback" not in once_more["log"]
    assert contents(small_disk) == contents(made.folder / "right"), "what is read-only stays as it was"


def test_two_machines_render_the_same_chunk(made: Made, fresh: Path, warm: Warm, tmp_path: Path) -> None:
    other, ends = Warm(tmp_path / "log"), {}
    try:

        def abroad() -> None:
            ends["abroad"] = other.run(words_of(made), ill="abroad")

        thread = threading.Thread(target=abroad)
        thread.start()
        ends["here"] = warm.run(words_of(made))
        thread.join()
    finally:
        other.close()
    assert [end["code"] for end in ends.values()] == [0, 0], ends
    assert contents(fresh) == contents(made.folder / "right") and not half_written(fresh)


@pytest.mark.parametrize("spoil", ["cut", "garbage", "empty", "folder"])
def test_spoiled_caches_cost_only_time(made: Made, fresh: Path, warm: Warm, spoil: str) -> None:
    shutil.copytree(made.folder / "right", fresh)
    for path in (fresh / "solve").iterdir():
        content = path.read_bytes()
        if spoil == "folder" and path.name != "plate.json":
            continue
        path.unlink()
        if spoil == "folder":
            path.mkdir()
        else:
            path.write_bytes({"cut": content[: len(content) // 2], "garbage": b"\xff{" * 99, "empty": b""}[spoil])
    if spoil == "folder":
        ended = warm.run(words_of(made))
        assert "Traceback" not in ended["log"]
        absent_or_right(fresh, made)
        shutil.rmtree(fresh / "solve" / "plate.json", ignore_errors=True)
    completes(fresh, made, warm)


def test_outputs_that_were_cut_short_are_made_again(made: Made, fresh: Path, warm: Warm) -> None:
    shutil.copytree(made.folder / "right", fresh)
    for number, path in enumerate(sorted((fresh / "layer").iterdir())):
        content = path.read_bytes()
        path.write_bytes(content[: (len(content) - 1, len(content) // 2, 0, 300)[number]])
        assert not complete(path)
    (fresh / "full" / f"shot.{FIRST}.exr").unlink()
    completes(fresh, made, warm)


def test_plates_that_go_while_they_are_rendered(made: Made, fresh: Path, warm: Warm) -> None:
    gone, short = Path(made.plate % (FIRST + 1)), Path(made.plate % (FIRST + 2))
    kept = {path: path.read_bytes() for path in (gone, short)}

    def take_away() -> None:
        while not list(fresh.glob("layer/*.exr")) and not over.is_set():
            time.sleep(0.01)
        gone.unlink()
        short.write_bytes(kept[short][: len(kept[short]) // 2])

    over = threading.Event()
    thread = threading.Thread(target=take_away)
    thread.start()
    ended = warm.run(words_of(made))
    over.set()
    thread.join()
    assert ended["code"] in (0, 1) and "Traceback" not in ended["log"], ended["log"]
    absent_or_right(fresh, made)
    with_gap = warm.run(words_of(made))
    assert with_gap["code"] == 1 and str(FIRST + 1) in with_gap["log"] and "Traceback" not in with_gap["log"]
    for path, content in kept.items():
        path.write_bytes(content)
    completes(fresh, made, warm)


def test_pixels_never_bear_the_key_of_another_file(made: Made, fresh: Path) -> None:
    plate = Path(made.plate % FIRST)
    before, other = plate.read_bytes(), Path(made.plate % (FIRST + 3)).read_bytes()
    job = open_job(recipes.read(made.recipe), "cpu")
    job.prints.of(plate)
    assert job.prints.steady(plate)
    plate.write_bytes(other)
    assert not job.prints.steady(plate)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for content in (before, other):
                plate.write_bytes(content)
                time.sleep(0.003)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(3):
            run_recipe(recipes.read(made.recipe), None, "cpu", False, lambda event: None, ())
    finally:
        over.set()
        thread.join()
        plate.write_bytes(before)
    outcome = run_recipe(recipes.read(made.recipe), None, "cpu", False, lambda event: None, ())
    assert not outcome.failed
    assert contents(fresh) == contents(made.folder / "right")
