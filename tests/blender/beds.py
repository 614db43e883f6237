"""Where Blenders are, and how a test file is run inside one.

``tests/blender/inside`` holds tests for Blender's own Python; plain pytest passes them by, as their files are not
called ``test_*``. What the engine has to make for them lies in a folder that ``MIEN_SHOT`` names.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).parent / "inside"
FOLDER = Path(os.environ.get("MIEN_BPY", ROOT / ".bpy"))
VERSIONS = ("4.5", "5.0", "5.1", "5.2")
PATIENCE = 500.0
"""Seconds after which a Blender that still runs has failed."""


def python_of(version: str) -> Path:
    """The Python that has Blender ``version`` as a package; skips the test where there is none."""
    python = FOLDER / version / "bin" / "python"
    if not python.is_file():
        pytest.skip(
            f"needs Blender {version}: make {FOLDER / version} with "
            f"'pip install -r tests/blender/requirements-{version}.txt' (see CONTRIBUTING.md)"
        )
    return python


def environment(user: Path, **more: object) -> dict[str, str]:
    """What a Blender of a test sees: settings of its own, this engine, one thread for each library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "OCIO"))}
    named = {name: str(value) for name, value in more.items()}
    return {
        **kept, "BLENDER_USER_RESOURCES": str(user), "MIEN_PYTHON": sys.executable, "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(user / "cache"), "XDG_CONFIG_HOME": str(user / "config"), **named,
    }  # fmt: skip


def run_inside(
    python: Path, check: str, user: Path, surroundings: Mapping[str, str], patience: float = PATIENCE
) -> str:
    """Run one file of ``inside`` with Blender's Python; what it printed, or a failure that shows it."""
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-c", str(INSIDE / "pytest.ini")]
    user.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [*command, f"--basetemp={user / 'temporary'}", str(INSIDE / check)],
            env=dict(surroundings), cwd=user, timeout=patience, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        said = late.stdout if isinstance(late.stdout, str) else (late.stdout or b"").decode(errors="replace")
        pytest.fail(f"{check} still ran after {patience:.0f} s:\n{said[-6000:]}", pytrace=False)
    if done.returncode != 0 or not re.search(r"\d+ passed", done.stdout):
        pytest.fail(f"{check} ended with {done.returncode}:\n{done.stdout[-12000:]}", pytrace=False)
    return done.stdout
