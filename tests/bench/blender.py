"""The extension in a real Blender: what switching on, operators, ticks and sliders cost.

    python tests/bench/blender.py [--python .bpy/5.0/bin/python]
    python tests/bench/blender.py --window [--within "COMMAND ..."] [--changes 60] [--pointer]

Without a window: seconds and processor seconds of switching the extension on, of operators that start work, and of
the turns of its timer while the engine works. With one (see tests/blender/window.py): seconds from a changed value
until the viewer holds the new picture and until that is on the screen, and the processor seconds of Blender for that,
at 1080p with a face of 500 pixels: for a value of native nodes, for one that the engine answers, for one node of
Blender's own, below which no tree can be here, and for drawing the same picture again. The viewer holds a picture when
its round of compositing is over; a change is seen where the editors were drawn after that. Where other programs ran
too, what was measured while they had less than a tenth of a core is told once more, alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "blender"))

import numpy as np
import torch
from beds import FOLDER, environment
from making import make
from window import show

from mien.commands.install_blender import build_zip

HERE = Path(__file__).parent
SIZE = (1920, 1080)
FACE = 500.0
QUIET = 0.1
"""Cores that other programs may have while a change is measured for it to count as undisturbed."""
SHOWN = {
    "held": "held by the viewer", "wall": "seen", "processor": "Blender's processor",
    "answer": "answered by the engine", "engine": "the engine's processor",
}  # fmt: skip


def told(name: str, seconds: list[float]) -> str:
    """Median, 95th percentile and largest of some times, in milliseconds."""
    middle, high = np.percentile(seconds, (50, 95))
    return f"{name:<42} {middle * 1e3:8.1f} {high * 1e3:8.1f} {max(seconds) * 1e3:8.1f} ms   of {len(seconds)}"


def tell(name: str, changes: list[dict[str, float]], live: bool) -> None:
    """Print what some changes took."""
    for what, words in SHOWN.items():
        seconds = [change[what] for change in changes if change[what] is not None]
        if seconds and (live or what in ("held", "wall", "processor")):
            print(told(f"{name}: {words}", seconds))
    counts = {word: np.mean([change[word] for change in changes]) for word in ("draws", "composites")}
    print(f"{name}: drawn {counts['draws']:.1f} times, composited {counts['composites']:.1f} times")


def without_window(python: Path, folder: Path) -> None:
    """Switching on, operators, ticks."""
    made = make(folder / "shot", 40)
    archive = build_zip(folder / "zip")
    report = folder / "report.json"
    surroundings = environment(folder, MIEN_ZIP=archive, MIEN_SHOT=made.folder, MIEN_REPORT=report)
    subprocess.run([python, str(HERE / "blender_inside.py")], env=surroundings, check=True, cwd=folder)
    print(f"{'':<42} {'median':>8} {'p95':>8} {'largest':>8}")
    for name, seconds in json.loads(report.read_text()).items():
        print(told(name, seconds))


def with_window(folder: Path, count: int, blender: str, within: str, scene: str) -> int:
    """Sliders, seen in the viewer."""
    made = make(folder / "shot", 3, size=SIZE, width=FACE)
    archive = build_zip(folder / "zip")
    report = folder / "report.json"
    arguments = (str(archive), str(made.folder / "facts.json"), str(report), str(count))
    status = show(
        HERE.parent / "blender" / "scenes" / scene, folder / "pictures", *arguments,
        blender=blender, within=within, patience=560.0, idle=True, MIEN_PYTHON=sys.executable,
    )  # fmt: skip
    if report.is_file():
        print(f"{'':<42} {'median':>8} {'p95':>8} {'largest':>8}   load {os.getloadavg()[0]:.1f}")
        for name, changes in json.loads(report.read_text()).items():
            undisturbed = [change for change in changes if change["others"] < QUIET]
            for title, some in ((name, changes), (f"{name}, quiet", undisturbed)):
                if some and (some is changes or len(some) < len(changes)):
                    tell(title, some, name in ("live", "dragged"))
    return status


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, default=FOLDER / "5.0" / "bin" / "python")
    parser.add_argument("--window", action="store_true")
    parser.add_argument("--pointer", action="store_true", help="with a window: drag a setting of Live, by xdotool")
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--within", default="")
    parser.add_argument("--changes", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where to work; else a folder that is removed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        return measure(given, given.folder)
    with tempfile.TemporaryDirectory() as folder:
        return measure(given, Path(folder))


def measure(given: argparse.Namespace, folder: Path) -> int:
    """The chosen bench in a folder."""
    if given.window:
        scene = "dragging.py" if given.pointer else "slider.py"
        return with_window(folder, given.changes, given.blender, given.within, scene)
    without_window(given.python, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
