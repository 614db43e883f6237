"""A shot for Blender, and what the engine itself makes of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mien import recipe as recipes
from mien.files.curves import read_curves
from mien.ops import grade as grades
from mien.ops.blend import over
from mien.recipe import Step
from shots import OVERSCAN, SIZE, Made, make_shot, read_exr, write_exr

SPECIAL = (np.inf, -np.inf, np.nan, -3.0, 70000.0, 1e-30, 1e-40, 16.0)
"""Values of a plate that a compositor must not touch."""
NATIVE = {
    "grade_regions": {"amount": 0.0},
    "relight": {"strength": 0.0},
    "detail_face": {"sharpness": 0.0, "grain": 0.0, "motion": "none"},
    "clean_edge": {"amount": 0.0},
    "composite": {"highlights": 0.0},
}
"""Settings that leave to the engine what native nodes replay: a converted face, a matte, a color move."""


def make_plate_full(made: Made) -> None:
    """Cut the plate's data windows to the display window, as Blender needs them, and put ``SPECIAL`` in a corner."""
    for frame in made.frames:
        path = Path(made.plate % frame)
        _, pixels = read_exr(path)
        inner = pixels[OVERSCAN:-OVERSCAN, OVERSCAN:-OVERSCAN].astype(np.float32)
        inner[0, : len(SPECIAL)] = np.float32(SPECIAL)[:, None]
        inner[:4, -3:] *= -1
        write_exr(path, inner, window=SIZE, kind="float", colorInteropID="lin_ap1_scene")


def make(folder: Path, count: int = 6, native: bool = True) -> Made:
    """A shot with a track and an identity, whose recipe holds what ``NATIVE`` says or the defaults."""
    made = make_shot(folder, count, kind="float", write=("host", "full"))
    make_plate_full(made)
    if native:
        made.with_settings(**NATIVE)
    facts = {
        "plate": made.plate, "track": str(made.track), "identity": str(made.identity), "recipe": str(made.recipe),
        "first": made.frames[0], "last": made.frames[-1], "width": SIZE[0], "height": SIZE[1],
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts))
    return made


def truth(made: Made, raw: str, matte: str, curves: Path, out: Path, opacity: float = 1.0) -> None:
    """Write the engine's composite of host sequences: its color move, its over, its plate, as float EXR."""
    solved = read_curves(curves)[1]
    for frame in made.frames:
        plate, face, mask = (
            torch.from_numpy(read_exr(Path(pattern % frame))[1].astype(np.float32)).movedim(-1, 0)
            for pattern in (made.plate, raw, matte)
        )
        grade = solved[frame][1]
        laid = over(grades.apply(face, grade) if grade else face, plate, mask[:1] * opacity)
        write_exr(Path(str(out) % frame), laid.movedim(0, -1).numpy(), window=SIZE, kind="float")


def changed_steps(made: Made, **settings: dict) -> tuple[Step, ...]:
    """The recipe's steps with further settings."""
    steps = recipes.read(made.recipe).steps
    return tuple(replace(step, settings={**step.settings, **settings.get(step.name, {})}) for step in steps)
