"""Composites that look at neighboring frames, through the whole engine."""

from pathlib import Path

import numpy as np

from mien import recipe as recipes
from mien.commands.convert import run_recipe
from shots import make_shot, read_exr


def test_a_frame_joined_with_its_neighbors_is_the_same_rendered_alone(tmp_path: Path) -> None:
    made = make_shot(tmp_path, 5, write=("layer",))
    made.with_settings(composite={"method": "gradient", "steady": 2, "wrap": 0.03}, relight={"strength": 1.0})
    frame = made.frames[2]
    for path, span in ((made.recipe, None), (made.changed("alone"), (frame, frame))):
        outcome = run_recipe(recipes.read(path), span, "cpu", False, lambda event: None, ())
        assert not outcome.failed
    together, alone = (read_exr(tmp_path / name / f"layer/shot.{frame}.exr")[1] for name in ("out", "alone"))
    assert np.array_equal(together.view(np.uint16), alone.view(np.uint16))
