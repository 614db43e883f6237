"""Small shots with exact truth: a plate on disk, a track and an identity that no network had to find."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import torch

from mien import mesh
from mien import recipe as recipes
from mien.color import load
from mien.files.delivery import writing_movie
from mien.files.identities import Likeness, write_identity
from mien.files.tracks import TrackedPlate, write_tracks
from mien.performer import Photo, photo_identity
from mien.recipe import CONVERT, Output, PlateChoice, Recipe, Step
from mien.types import FaceTrack

FIRST = 1001
SIZE = (192, 160)
OVERSCAN = 8


@dataclass(frozen=True)
class Made:
    """A shot on disk and its recipe."""

    folder: Path
    plate: str
    track: Path
    identity: Path
    recipe: Path
    frames: range

    def changed(self, name: str = "other", **output: object) -> Path:
        """The recipe with other outputs, under another name, writing into another folder."""
        recipe = recipes.read(self.recipe)
        folder = self.folder / name
        changed = replace(recipe, output=replace(recipe.output, folder=str(folder), **output))
        path = self.folder / f"{name}.recipe.json"
        path.write_text(recipes.write(changed))
        return path

    def with_settings(self, **settings: dict) -> None:
        """Change settings of the recipe in place: step to {name: value}."""
        recipe = recipes.read(self.recipe)
        steps = tuple(Step(s.name, s.node, s.inputs, {**s.settings, **settings.get(s.name, {})}) for s in recipe.steps)
        self.recipe.write_text(recipes.write(replace(recipe, steps=steps)))


def points_at(x: float, y: float, width: float) -> torch.Tensor:
    """(468, 3) mesh points of a frontal face of a width in pixels around a place."""
    span = float(mesh.CANONICAL[:, 0].max() - mesh.CANONICAL[:, 0].min())
    return mesh.CANONICAL * (width / span) + torch.tensor([x, y, 0.0])


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) soft random colors around 0.3 with grain."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((height // 8 + 2, width // 8 + 2, 3), np.float32)
    tensor = torch.from_numpy(coarse).movedim(-1, 0)[None]
    smooth = torch.nn.functional.interpolate(tensor, (height, width), mode="bicubic", align_corners=False)[0]
    grain = generator.normal(0, 0.01, (height, width, 3)).astype(np.float32)
    return 0.15 + 0.4 * smooth.movedim(0, -1).numpy() + grain


def write_exr(path: Path, pixels: np.ndarray, corner=(0, 0), window=None, kind="half", **attributes) -> None:
    """One EXR with its data window at ``corner`` and a display window (width, height)."""
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, kind)
    spec.x, spec.y = corner
    spec.full_x = spec.full_y = 0
    spec.full_width, spec.full_height = window or (width, height)
    spec["compression"] = "zip"
    spec.attribute("FramesPerSecond", "rational", (24, 1))
    for name, value in attributes.items():
        spec[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec) and file.write_image(np.ascontiguousarray(pixels)), file.geterror()
    file.close()


def read_exr(path: Path) -> tuple[oiio.ImageSpec, np.ndarray]:
    """Header and stored values."""
    file = oiio.ImageInput.open(str(path))
    assert file is not None, oiio.geterror()
    spec = file.spec()
    pixels = file.read_image(0, 0, 0, spec.nchannels, "half" if str(spec.format) == "half" else "float")
    file.close()
    return spec, pixels


def write_movie(path: Path, pictures: Iterable[np.ndarray], delivery: str, **told: Any) -> None:
    """A movie of pictures; see ``writing_movie``."""
    with writing_movie(path, delivery, **told) as append:
        for picture in pictures:
            append(picture)


def face_center(frame: int) -> tuple[float, float]:
    """Where the face of the made shot is."""
    return 90.0 + 1.7 * (frame - FIRST), 82.0 + 0.6 * (frame - FIRST)


def plate_pixels(frame: int) -> np.ndarray:
    """Data window of one plate frame, overscan included."""
    height, width = SIZE[1] + 2 * OVERSCAN, SIZE[0] + 2 * OVERSCAN
    pixels = texture(height, width, 7) * (1 + 0.02 * (frame - FIRST))
    pixels = pixels + np.random.default_rng(frame).normal(0, 0.004, pixels.shape)
    pixels[3, 3] = np.inf
    pixels[3, 5] = np.nan
    pixels[4, 4] = 16.0
    pixels[5, 4] = -0.05
    return pixels.astype(np.float32)


def make_shot(
    folder: Path, count: int = 6, kind: str = "half", write: tuple[str, ...] = ("layer", "full"), width: float = 80.0
) -> Made:
    """A shot of a moving textured plate with a face of ``width`` pixels, and another texture to put on."""
    frames = range(FIRST, FIRST + count)
    pattern = folder / "plate" / "shot.%04d.exr"
    for frame in frames:
        write_exr(
            Path(str(pattern) % frame),
            plate_pixels(frame),
            corner=(-OVERSCAN, -OVERSCAN),
            window=SIZE,
            kind=kind,
            colorInteropID="lin_ap1_scene",
        )
    points = torch.stack([points_at(*face_center(frame), width) for frame in frames])
    track = FaceTrack(
        "A", FIRST, points, torch.ones(points.shape[:2]), torch.ones(count), torch.zeros(count, dtype=torch.bool)
    )
    facts = TrackedPlate(str(pattern), *SIZE, frames[0], frames[-1], 1.0, Fraction(24))
    write_tracks(folder / "shot.track.json", (track,), facts)
    photo = torch.from_numpy(texture(240, 220, 99)).movedim(-1, 0) * 0.7
    source = Photo(photo, points_at(110, 115, 120), torch.ones(468), 1.0)
    identity = photo_identity([source], ["photo.png"], load(), Likeness("Nobody", "test release"))
    write_identity(folder / "performer.safetensors", identity)
    recipe = recipes.check(
        Recipe(
            plate=PlateChoice(str(pattern), frames[0], frames[-1]),
            steps=CONVERT,
            output=Output(str(folder / "out"), "shot", write),
            identity=str(folder / "performer.safetensors"),
            track=str(folder / "shot.track.json"),
        )
    )
    path = folder / "shot.recipe.json"
    path.write_text(recipes.write(recipe))
    return Made(folder, str(pattern), folder / "shot.track.json", folder / "performer.safetensors", path, frames)
