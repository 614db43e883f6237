"""A shot for Blender, whose recipe the engine can render too."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from mien import recipe as recipes
from mien.color import load
from mien.files.identities import Likeness, write_identity
from mien.files.tracks import TrackedPlate, write_tracks
from mien.performer import Photo, photo_identity
from mien.recipe import CONVERT, Output, PlateChoice, Recipe
from mien.types import FaceTrack
from shots import FIRST, SIZE, Made, points_at, texture, write_exr

SPECIAL = (np.inf, -np.inf, np.nan, -3.0, 70000.0, 1e-30, 1e-40, 16.0)
"""Values of a plate that a compositor must not touch."""
NATIVE = {
    "relight": {"strength": 0.0},
    "detail_face": {"sharpness": 0.0, "grain": 0.0, "motion": "none"},
    "clean_edge": {"amount": 0.0},
    "deflicker": {"amount": 0.0},
    "composite": {"highlights": 0.0},
}
"""Settings that leave to the engine what native nodes replay: a converted face, a matte, a color move."""


def make(folder: Path, count: int = 6, size: tuple[int, int] = SIZE, width: float = 80.0) -> Made:
    """A shot with a track and an identity: a textured plate with ``SPECIAL`` values, full windows, a moving face.

    Its recipe writes host sequences and full frames, as floats, with the settings ``NATIVE``.
    """
    frames, pattern = range(FIRST, FIRST + count), str(folder / "plate" / "shot.%04d.exr")
    still = texture(size[1], size[0], 7)
    for frame in frames:
        grain = np.random.default_rng(frame).normal(0, 0.004, still.shape)
        plate = (still * (1 + 0.02 * (frame - FIRST)) + grain).astype(np.float32)
        plate[0, : len(SPECIAL)] = np.float32(SPECIAL)[:, None]
        plate[:4, -3:] *= -1
        write_exr(Path(pattern % frame), plate, kind="float", colorInteropID="lin_ap1_scene")
    middle = size[0] * 0.47, size[1] * 0.51
    places = [(middle[0] + 0.021 * width * turn, middle[1] + 0.0075 * width * turn) for turn in range(count)]
    # A long shot goes to and fro.
    places = [places[turn % 40 if turn % 80 < 40 else 79 - turn % 80] for turn in range(count)]
    points = torch.stack([points_at(*place, width) for place in places])
    unkeyed = torch.zeros(count, dtype=torch.bool)
    track = FaceTrack("A", FIRST, points, torch.ones(points.shape[:2]), torch.ones(count), unkeyed)
    facts = TrackedPlate(pattern, *size, frames[0], frames[-1], 1.0, Fraction(24))
    files = (folder / name for name in ("shot.track.json", "performer.safetensors", "shot.recipe.json"))
    made = Made(folder, pattern, *files, frames)
    write_tracks(made.track, (track,), facts)
    photo = torch.from_numpy(texture(240, 220, 99)).movedim(-1, 0) * 0.7
    source = Photo(photo, points_at(110, 115, 120), torch.ones(468), 1.0)
    write_identity(made.identity, photo_identity([source], ["photo.png"], load(), Likeness("Nobody", "test release")))
    recipe = Recipe(
        plate=PlateChoice(pattern, frames[0], frames[-1]),
        steps=tuple(replace(step, settings=NATIVE.get(step.name, {})) for step in CONVERT),
        output=Output(str(folder / "out"), "shot", ("host", "full"), pixels="float"),
        identity=str(made.identity),
        track=str(made.track),
    )
    made.recipe.write_text(recipes.write(recipes.check(recipe)))
    told = {
        "plate": pattern, "track": str(made.track), "identity": str(made.identity), "recipe": str(made.recipe),
        "native": {f"{step}.{name}": value for step, some in NATIVE.items() for name, value in some.items()},
        "first": frames[0], "last": frames[-1], "width": size[0], "height": size[1],
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(told))
    return made
