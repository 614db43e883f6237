"""Solves and trainings on bad machines: what they leave is absent or right, and another run completes it."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from facesets.sets import person
from faults.long import TRAINING
from faults.victims import Warm, contents, half_written, wrong_files
from shots import make_shot

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills and forks")
KINDS = ("solve", "train")


@dataclass(frozen=True)
class Work:
    """A command, the folder that it writes, and what it leaves undisturbed."""

    words: list[str]
    out: Path
    right: Path

    def wanted(self) -> dict[str, bytes]:
        return made(self.right)


def made(folder: Path) -> dict[str, bytes]:
    """What must be right: curves and identities. Which states a training keeps depends on when it was stopped."""
    kept = (".json", ".safetensors")
    return {name: one for name, one in contents(folder).items() if name.endswith(kept) and "state." not in name}


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm") / "log")
    yield process
    process.close()


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> dict[str, Work]:
    folder = tmp_path_factory.mktemp("ill")
    shot = make_shot(folder / "shot", 4)
    for name, count in (("a", 24), ("b", 22)):
        person(folder / name, count, (0.5, 0.3, 0.2), count)
    identity = folder / "identity" / "who.safetensors"
    swap = ["train", "swap", str(folder / "a"), str(folder / "b"), "-o", str(identity), *TRAINING]
    swap[swap.index("--steps") + 1] = "12"
    found = {
        "solve": Work(["solve", str(shot.recipe), "--device=cpu"], shot.folder / "out", folder / "solved"),
        "train": Work(swap, identity.parent, folder / "trained"),
    }
    for work in found.values():
        ended = warm.run(work.words)
        assert ended["code"] == 0, ended["log"]
        shutil.copytree(work.out, work.right)
    return found


@pytest.fixture(params=KINDS)
def work(request: pytest.FixtureRequest, works: dict[str, Work]) -> Work:
    """One of them, with nothing done yet."""
    found = works[request.param]
    shutil.rmtree(found.out, ignore_errors=True)
    return found


def absent_or_right(work: Work) -> None:
    assert wrong_files(work.out, contents(work.right)) == []


def completes(work: Work, warm: Warm) -> None:
    ended = warm.run(work.words)
    assert ended["code"] == 0, ended["log"]
    assert made(work.out) == work.wanted()
    assert not half_written(work.out)


def test_clocks_that_jump_change_nothing(work: Work, warm: Warm) -> None:
    ended = warm.run(work.words, ill="clock")
    assert ended["code"] == 0, ended["log"]
    completes(work, warm)


def test_nobody_reads_standard_output(work: Work, warm: Warm) -> None:
    ended = warm.run([*work.words, "--json"], ill="deaf")
    assert ended["code"] == 1 and "Traceback" not in ended["log"], ended["log"]
    absent_or_right(work)
    completes(work, warm)


def test_files_that_cannot_grow(work: Work, warm: Warm) -> None:
    ended = warm.run(work.words, ill="small")
    assert ended["code"] == 1 and "Traceback" not in ended["log"], ended["log"]
    assert "Cannot write" in ended["log"]
    absent_or_right(work)
    completes(work, warm)


def test_a_full_disk(work: Work, warm: Warm) -> None:
    work.out.mkdir()
    size = {"solve": "12k", "train": "96k"}["solve" if work.words[0] == "solve" else "train"]
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(work.out)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        ended = warm.run(work.words)
        assert ended["code"] == 1 and "Traceback" not in ended["log"], ended["log"]
        assert "free space" in ended["log"]
        absent_or_right(work)
        subprocess.run(["mount", "-o", "remount,size=256m", str(work.out)], check=True)
        completes(work, warm)
    finally:
        subprocess.run(["umount", str(work.out)], check=True)


def test_two_machines_do_the_same(work: Work, warm: Warm, tmp_path: Path) -> None:
    other, ends = Warm(tmp_path / "log"), {}
    try:
        thread = threading.Thread(target=lambda: ends.update(abroad=other.run(work.words, ill="abroad")))
        thread.start()
        ends["here"] = warm.run(work.words)
        thread.join()
    finally:
        other.close()
    assert [end["code"] for end in ends.values()] == [0, 0], ends
    assert not half_written(work.out)
    wanted = work.wanted()
    for name, content in made(work.out).items():
        assert name not in wanted or content == wanted[name] or name.endswith("settings.json"), name


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff{" * 99)


@pytest.mark.parametrize("spoil", [cut, garbage, Path.unlink], ids=lambda one: one.__name__)
def test_what_a_training_prepared_is_made_again(works: dict[str, Work], warm: Warm, spoil: Callable) -> None:
    work = works["train"]
    for ending in (".half", ".json"):
        shutil.rmtree(work.out, ignore_errors=True)
        shutil.copytree(work.right, work.out)
        stocks = [path for path in work.out.rglob(f"*{ending}") if path.name.startswith(("a.", "b."))]
        assert len(stocks) == 2
        for path in stocks:
            spoil(path)
        for path in [*work.out.rglob("state.*.safetensors"), work.out / "who.safetensors"]:
            path.unlink()
        completes(work, warm)


def test_solved_curves_that_are_spoiled_are_solved_again(works: dict[str, Work], warm: Warm) -> None:
    work = works["solve"]
    for spoil in (cut, garbage, Path.unlink):
        shutil.rmtree(work.out, ignore_errors=True)
        shutil.copytree(work.right, work.out)
        for path in work.out.rglob("*.json"):
            if "curves" in json.dumps(list(json.loads(path.read_bytes()))):
                spoil(path)
        completes(work, warm)
