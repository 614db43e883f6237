"""Shots as a render leaves them, made by rule: proofs, layers' headers and a track, without rendering anything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien import recipe as recipes
from mien.files.layers import write_plain
from mien.files.proofs import write_proof
from mien.files.tracks import read_tracks, write_tracks
from shots import FIRST, Made, make_shot

PLATE, RESULT, MATTE = (40, 90, 200), (220, 120, 30), 255
ORIGIN = {"engine": "mien 0.1.0", "recipe": "a" * 32, "identity": "b" * 32, "likeness": "Nobody", "release": "R-17"}
FIGURES: dict[str, Any] = {
    "area": 3000.0, "corner": [10, 10], "size": [80, 90], "unsound": 0,
    "plate": [0.3, 0.3, 0.3], "raw": [0.2, 0.2, 0.2], "result": [0.3, 0.3, 0.3],
    "plate_detail": 0.4, "result_detail": 0.4, "plate_grain": 0.01, "result_grain": 0.01,
}  # fmt: skip


def rendered(folder: Path, count: int = 12, noisy: bool = False, **changes: dict[int, Any]) -> Made:
    """A shot of ``count`` frames that are all well, but for ``changes``: a figure by name, to values by frame."""
    made = make_shot(folder, count=1, write=("layer",))
    recipe = recipes.read(made.recipe)
    last = FIRST + count - 1
    out = folder / "out"
    recipe = replace(recipe, plate=replace(recipe.plate, last=last))
    out.mkdir()
    (out / "shot.recipe.json").write_text(recipes.write(recipe))
    tracks = read_tracks(made.track)
    one = tracks.tracks[0]
    moved = one.points + torch.arange(count)[:, None, None] * torch.tensor([1.0, 0.5, 0.0])
    track = replace(
        one, points=moved, weight=torch.ones(count, 468), confidence=torch.ones(count),
        keyed=torch.zeros(count, dtype=torch.bool),
    )  # fmt: skip
    write_tracks(made.track, (track,), replace(tracks.plate, last=last))
    random = np.random.default_rng(3)
    for row, frame in enumerate(range(FIRST, last + 1)):
        figures = dict(FIGURES)
        figures |= {name: by_frame[frame] for name, by_frame in changes.items() if frame in by_frame}
        origin = {**ORIGIN, "frame": str(frame), "frame_key": f"{row:032x}"}
        write_plain(out / "layer" / f"shot.{frame}.exr", np.zeros((2, 2, 3), np.float32), provenance=origin)
        picture = np.empty((192, 3 * 224, 3), np.uint8)
        for panel, color in enumerate((PLATE, RESULT, (MATTE,) * 3)):
            picture[:, panel * 224 : (panel + 1) * 224] = color
        if noisy:
            picture = random.integers(0, 255, picture.shape, np.uint8)
        write_proof(out / "proof" / f"shot.{frame}.jpg", picture, figures, origin)
    return made
