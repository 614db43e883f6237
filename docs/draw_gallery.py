"""Draw the gallery: ``.venv/bin/python docs/draw_gallery.py [SETTING ...]`` writes ``gallery.md`` and its pictures.

Every picture is one setting swept on the shot of ``mien demo``, or on that shot under other light; with names of
settings only those are drawn again.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien import demo, sheet
from mien import recipe as recipes
from mien.chain import evaluate
from mien.commands.convert import ConvertArguments, convert_shot
from mien.commands.plate import PlateArguments
from mien.declare import shipped
from mien.files.shot import open_shot
from mien.job import Job, open_job
from mien.ops.blend import over
from mien.run import plate_of, read_source, solved
from mien.types import Layer

HERE = Path(__file__).parent
PICTURES = HERE / "pictures" / "gallery"
FRAMES = 7
WIDTH = 300
"""Pixels across of each picture of a row."""


@dataclass(frozen=True)
class Sweep:
    """One setting at several values.

    Attributes:
        setting: ``step.parameter``.
        values: What it is set to, from left to right.
        says: What to look at.
        shows: ``comp``, ``face`` (unmatted) or ``matte``.
        plate: Which of ``PLATES``.
        window: Part of the face's box to show: left, top, right, bottom in shares of it.
        others: Settings that stay the same all along.
    """

    setting: str
    values: tuple[object, ...]
    says: str
    shows: str = "comp"
    plate: str = "daylight"
    window: tuple[float, float, float, float] = (-0.25, -0.2, 1.25, 1.2)
    others: Mapping[str, object] = field(default_factory=dict)


PLATES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "daylight": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "dark": ((0.05, 0.0, 0.0), (0.0, 0.06, 0.0), (0.0, 0.0, 0.09)),
    "warm": ((1.5, 0.1, 0.0), (0.0, 0.9, 0.0), (0.0, 0.0, 0.4)),
    "overexposed": ((6.0, 0.0, 0.0), (0.0, 6.0, 0.0), (0.0, 0.0, 6.0)),
}
"""Matrices on the demo's scene-linear plate."""


EDGE = (0.55, 0.5, 1.15, 1.1)
WIDE = {"face_matte.forehead": 1.2, "matte_edge.grow": 0.03}
"""A matte that reaches into the hair."""
REFINED = {"refine_matte.amount": 1.0}
SOFT = {"matte_edge.soften": 0.2}
SWEEPS: tuple[Sweep, ...] = (
    Sweep("face_matte.forehead", (0.0, 0.4, 0.8, 1.2), "How far up the outline reaches.", "matte"),
    Sweep("face_matte.brow", (0.0, 0.5, 1.0), "Brows left out, or in.", "matte", others={"face_matte.forehead": 0.0}),
    Sweep("matte_edge.grow", (-0.08, -0.025, 0.0, 0.04), "The edge moves by signed distance.", "matte"),
    Sweep("matte_edge.soften", (0.0, 0.03, 0.06, 0.15), "The width of the edge.", "comp", window=EDGE),
    Sweep("matte_edge.outside", (0.0, 0.05, 0.15), "Soft outward alone.", "matte"),
    Sweep("matte_edge.inside", (0.0, 0.05, 0.15), "Soft inward alone.", "matte"),
    Sweep("matte_edge.falloff", (-0.8, 0.0, 0.8), "Letting go early or late.", "matte", others=SOFT),
    Sweep("matte_edge.chin", (-0.1, 0.0, 0.1), "One side of the face, however the head leans.", "matte"),
    Sweep("matte_edge.left", (-0.1, 0.0, 0.1), "The left of the picture of an upright face.", "matte"),
    Sweep("refine_matte.amount", (0.0, 0.5, 1.0), "Hair over the forehead stays the plate's.", "matte", others=WIDE),
    Sweep("refine_matte.method", ("guided", "hair"), "Quick, or strand by strand.", "matte", others=WIDE | REFINED),
    Sweep("match_color.method", ("none", "mean", "tone", "reinhard", "mkl"), "The move from face to plate, by daylight."),
    Sweep("match_color.method", ("none", "mean", "tone", "reinhard", "mkl"), "In warm light.", plate="warm"),
    Sweep("match_color.method", ("none", "mean", "tone", "reinhard", "mkl"), "In the dark.", plate="dark"),
    Sweep("match_color.method", ("none", "mean", "tone", "reinhard", "mkl"), "Overexposed.", plate="overexposed"),
    Sweep("grade_face.amount", (0.0, 0.5, 1.0), "How much of the solved move.", plate="warm"),
    Sweep("composite.opacity", (0.0, 0.5, 1.0), "From the plate's face to the new one."),
    Sweep("composite.highlights", (0.0, 0.5, 1.0), "The plate's glints on the new face.", plate="overexposed"),
)


def main() -> None:
    """Draw all sweeps, or those of the settings named on the command line, and write the page."""
    wanted = set(sys.argv[1:])
    chosen = [(number, sweep) for number, sweep in enumerate(SWEEPS) if not wanted or sweep.setting in wanted]
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        shots = {name: prepare(Path(scratch), name) for name in {sweep.plate for _, sweep in chosen}}
        for _, sweep in chosen:
            draw(sweep, shots[sweep.plate])
            print(picture_of(sweep))
    (HERE / "gallery.md").write_text(page())


def prepare(scratch: Path, name: str) -> Path:
    """Make the demo's shot under one light, convert it once, and tell where its recipe lies."""
    folder = scratch / name
    pattern = demo.make_plate(folder / "plate", FRAMES)
    if name != "daylight":
        relight(open_shot(pattern).frames, pattern, np.array(PLATES[name], np.float32))
    arguments = ConvertArguments(
        plate=PlateArguments(str(pattern)),
        folder=folder / "out",
        sources=(str(demo.performer()),),
        likeness="Grace Hopper",
        release="US Navy portrait, public domain",
    )
    convert_shot(arguments, lambda event: None)
    return next((folder / "out").glob("*.recipe.json"))


def relight(frames: tuple[int, ...], pattern: Path, matrix: NDArray[np.float32]) -> None:
    """Multiply the colors of a plate by a matrix, in place."""
    import OpenImageIO as oiio

    for frame in frames:
        path = str(pattern) % frame
        picture = oiio.ImageBuf(path)
        pixels = picture.get_pixels(oiio.FLOAT)
        pixels[..., :3] = pixels[..., :3] @ matrix.T
        picture.set_pixels(picture.roi, pixels)
        picture.write(path)


def draw(sweep: Sweep, recipe: Path) -> None:
    """Draw one sweep as one row of pictures."""
    row = [look(sweep, recipe, value) for value in sweep.values]
    columns = [str(value) for value in sweep.values]
    sheet.contact_sheet(PICTURES / picture_of(sweep), [row], columns, [""], title=sweep.setting, width=WIDTH)


@torch.inference_mode()
def look(sweep: Sweep, recipe: Path, value: object) -> NDArray[np.uint8]:
    """The picture of one value, cut to the face."""
    job = job_with(recipe, {**sweep.others, sweep.setting: value})
    frame = job.shot.frames[FRAMES // 2]
    source = read_source(job, frame, "", whole=False)
    plate = plate_of(job, frame, source)
    values = evaluate(job.chain, frame, plate, job.recipe.steps[-1].name)
    assert values is not None and source.face is not None
    layer: Layer = values[job.recipe.steps[-1].name]
    shown = {
        "comp": lambda: over(layer.image, plate.image, layer.matte),
        "face": lambda: layer.image,
        "matte": lambda: layer.matte.expand_as(layer.image),
    }[sweep.shows]()
    seen = shown if sweep.shows == "matte" else job.colors.for_viewing(job.colors.working)(shown)
    picture = (seen.clamp(0, 1).movedim(0, -1) * 255 + 0.5).to(torch.uint8).numpy()
    points = source.face.points[:, :2].numpy() - np.array(layer.corner)
    low, high = points.min(0), points.max(0)
    left, top, right, bottom = sweep.window
    x0, y0 = (low + (high - low) * (left, top)).astype(int).clip(0)
    x1, y1 = (low + (high - low) * (right, bottom)).astype(int)
    return np.ascontiguousarray(picture[y0:y1, x0:x1])


def job_with(path: Path, settings: Mapping[str, object]) -> Job:
    """A solved job with other settings."""
    recipe = recipes.read(path)
    steps = tuple(
        replace(step, settings={**step.settings, **settings_of(step.name, settings)}) for step in recipe.steps
    )
    return solved(open_job(recipes.check(replace(recipe, steps=steps)), "cpu"), lambda event: None)


def settings_of(step: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Settings of one step out of ``step.parameter`` names."""
    return {name.partition(".")[2]: value for name, value in settings.items() if name.partition(".")[0] == step}


def picture_of(sweep: Sweep) -> str:
    """Name of a sweep's picture."""
    light = "" if sweep.plate == "daylight" else f".{sweep.plate}"
    return f"{sweep.setting}{light}.jpg"


def page() -> str:
    """The gallery as a page."""
    helps = {(node.id, param.name): param.help for node in shipped() for param in node.params}
    names = {step.name: step.node for step in recipes.CONVERT}
    lines = [
        "# Gallery",
        "",
        "What each setting does, on the shot of `mien demo`: a portrait of Eileen Collins (NASA, public domain) made to",
        "move, with the face of Grace Hopper (US Navy, public domain). Drawn by `docs/draw_gallery.py`; every picture",
        "is synthetic where the face is.",
    ]
    told: set[str] = set()
    for sweep in SWEEPS:
        step, _, parameter = sweep.setting.partition(".")
        if sweep.setting not in told:
            lines += ["", f"## {sweep.setting}", "", helps[names[step], parameter]]
            told.add(sweep.setting)
        fixed = ", ".join(f"`{name}={value}`" for name, value in sweep.others.items())
        lines += ["", sweep.says + (f" With {fixed}." if fixed else "")]
        lines += ["", f"![{sweep.setting}](pictures/gallery/{picture_of(sweep)})"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
