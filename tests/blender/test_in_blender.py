"""The extension in the real Blender: each file of ``inside`` in each version that is there.

The engine makes the shot, renders it and lays it over by its own arithmetic; the zip is the one that artists install.
"""

import subprocess
import sys
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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", CHECKS)
def test_in_blender(version: str, check: str, archive: Path, made: Made, tmp_path: Path) -> None:
    surroundings = environment(tmp_path, MIEN_ZIP=archive, MIEN_SHOT=made.folder)
    run_inside(python_of(version), check, tmp_path, surroundings)


@pytest.mark.timeout(900)
def test_a_long_shot_in_the_newest_blender_there_is(archive: Path, tmp_path: Path) -> None:
    version = next((one for one in reversed(VERSIONS) if (FOLDER / one).is_dir()), VERSIONS[0])
    python = python_of(version)
    long = make(tmp_path / "shot", LONG, size=(128, 96), width=44.0)
    surroundings = environment(tmp_path, MIEN_ZIP=archive, MIEN_SHOT=long.folder)
    run_inside(python, "check_long.py", tmp_path / "run", surroundings, patience=800.0)
