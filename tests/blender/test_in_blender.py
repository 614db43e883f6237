"""The extension in the real Blender: each file of ``inside`` in each version that is there.

The engine makes the shot, renders it and lays it over by its own arithmetic; the zip is the one that artists install.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from beds import FOLDER, INSIDE, VERSIONS, environment, python_of, run_inside
from making import make

from shots import Made

CHECKS = sorted(path.name for path in INSIDE.glob("check_*.py") if path.name != "check_long.py")
LONG = 200
"""Frames of the long shot."""


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mien.commands.install_blender import build_zip

    return build_zip(tmp_path_factory.mktemp("zip"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A shot that the engine has rendered: host sequences, and full frames to compare with."""
    made = make(tmp_path_factory.mktemp("shot"))
    subprocess.run([sys.executable, "-m", "mien", "render", str(made.recipe)], check=True, capture_output=True)
    return made


class Runs:
    """Checks in Blender, each in all versions that are asked for at the same time: most of a run is waiting."""

    def __init__(self, pool: ThreadPoolExecutor, asked: list[tuple[str, str]], folder: Path, archive: Path, made: Made):
        self._pool, self._asked, self._folder, self._archive, self._made = pool, asked, folder, archive, made
        self._begun: dict[tuple[str, str], Future[str]] = {}

    def end(self, check: str, version: str) -> None:
        """Wait for one; what it failed with is raised."""
        for one in self._asked:
            if one[0] == check and one not in self._begun and (FOLDER / one[1]).is_dir():
                self._begun[one] = self._pool.submit(self._run, *one)
        self._begun[check, version].result()

    def _run(self, check: str, version: str) -> str:
        user = self._folder / f"{check} {version}"
        surroundings = environment(user, MIEN_ZIP=self._archive, MIEN_SHOT=self._made.folder)
        return run_inside(python_of(version), check, user, surroundings)


@pytest.fixture(scope="session")
def runs(
    request: pytest.FixtureRequest, archive: Path, made: Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    given = [item.callspec.params for item in request.session.items if getattr(item, "originalname", "") == ASKING]
    asked = [(params["check"], params["version"]) for params in given]
    with ThreadPoolExecutor(len(VERSIONS)) as pool:
        yield Runs(pool, asked, tmp_path_factory.mktemp("runs"), archive, made)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", CHECKS)
def test_in_blender(version: str, check: str, runs: Runs) -> None:
    python_of(version)
    runs.end(check, version)


ASKING = test_in_blender.__name__


@pytest.mark.timeout(900)
def test_a_long_shot_in_the_newest_blender_there_is(archive: Path, tmp_path: Path) -> None:
    version = next((one for one in reversed(VERSIONS) if (FOLDER / one).is_dir()), VERSIONS[0])
    python = python_of(version)
    long = make(tmp_path / "shot", LONG, size=(128, 96), width=44.0)
    surroundings = environment(tmp_path, MIEN_ZIP=archive, MIEN_SHOT=long.folder)
    run_inside(python, "check_long.py", tmp_path / "run", surroundings, patience=800.0)
