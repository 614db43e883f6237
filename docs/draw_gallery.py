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
FRAMES = range(22, 25)
"""Frames of the demo's shot, from its middle, counted from 0."""
LENGTH = 48
QUALITY = 20
"""Of the JPEG files of the plate called coded, of 100."""
WIDTH = 260
"""Pixels across of each picture of a row."""


@dataclass(frozen=True)
class Sweep:
    """One setting at several values.

    Attributes:
        setting: ``step.parameter``.
        values: What it is set to, from left to right.
        says: What to look at.
        shows: ``comp``, ``face`` (unmatted) or ``matte``.
        plate: Which of ``PLATES``, or ``coded``.
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
MATTE = "steady_matte"
"""Step after which a matte is finished."""
METHODS = ("none", "mean", "tone", "reinhard", "mkl", "transport")
EYE = (0.05, 0.2, 0.6, 0.7)
LAID = ("over", "gradient", "mixed", "multiband")
GRADED = {"match_color.method": "none"}
PORES = {"detail_face.texture": 1.0}
TURNED = {"match_color.method": "mkl"}
WRAPPED = {"composite.wrap": 0.06}
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
    Sweep("matte_edge.right", (-0.1, 0.0, 0.1), "The other side.", "matte"),
    Sweep("matte_edge.brow", (-0.1, 0.0, 0.1), "The forehead's side.", "matte"),
    Sweep("refine_matte.amount", (0.0, 0.5, 1.0), "Hair over the forehead stays the plate's.", "matte", others=WIDE),
    Sweep("refine_matte.method", ("guided", "hair"), "Quick, or strand by strand.", "matte", others=WIDE | REFINED),
    Sweep("refine_matte.radius", (0.01, 0.04, 0.1), "How far the edge moves.", "matte", others=WIDE | REFINED),
    Sweep("refine_matte.contrast", (0.01, 0.05, 0.3), "What counts as an edge.", "matte", others=WIDE | REFINED),
    Sweep("convert_face.eyes", ("performer", "plate"), "Whose eyes.", "face", window=EYE),
    Sweep("convert_face.mouth", ("performer", "plate"), "Whose mouth."),
    Sweep("measure_color.space", ("linear", "log", "perceptual"), "Where colors are matched.", others=TURNED),
    Sweep("measure_color.outliers", (0.0, 0.75, 1.0), "Spectacles do not count."),
    Sweep("match_color.method", METHODS, "The move from face to plate, by daylight."),
    Sweep("match_color.method", METHODS, "In warm light.", plate="warm"),
    Sweep("match_color.method", METHODS, "In the dark.", plate="dark"),
    Sweep("match_color.method", METHODS, "Overexposed.", plate="overexposed"),
    Sweep("match_color.method", ("lct", "luminance", "histogram"), "More of them.", plate="warm", shows="face"),
    Sweep("match_color.keep_luminance", (0.0, 0.5, 1.0), "Color alone, at 1.", plate="overexposed"),
    Sweep("match_color.keep_saturation", (0.0, 0.5, 1.0), "Paler in warm light.", plate="warm"),
    Sweep("grade_face.amount", (0.0, 0.5, 1.0), "How much of the solved move.", plate="warm"),
    Sweep("relight.strength", (0.0, 0.6, 1.0, 2.0), "The plate's broad light and shadow."),
    Sweep("relight.size", (0.05, 0.15, 0.5), "Small shadows, or broad ones alone.", others={"relight.strength": 1.0}),
    Sweep("relight.tint", (0.0, 0.5, 1.0), "Light, or its color too.", others={"relight.strength": 1.5}),
    Sweep("relight.protect", (0.0, 0.5, 1.0), "Eyes and mouth spared.", others={"relight.strength": 2.0}),
    Sweep("detail_face.sharpness", (0.0, 0.5, 1.0), "From the photograph's sharpness to the plate's.", window=EYE),
    Sweep("detail_face.soften", (-0.006, 0.0, 0.006, 0.015), "By hand.", window=EYE),
    Sweep("detail_face.texture", (0.0, 0.5, 1.0), "The plate's own pores.", window=EYE),
    Sweep("detail_face.texture_size", (0.005, 0.015, 0.05), "How coarse.", window=EYE, others=PORES),
    Sweep("detail_face.grain", (0.0, 1.0, 4.0), "The plate's grain, and more of it.", window=EYE),
    Sweep("detail_face.shutter", (0.0, 180.0, 720.0), "By hand.", window=EYE, others={"detail_face.motion": "shutter"}),
    Sweep("code_face.amount", (0.0, 0.5, 1.0), "The blocks of a JPEG file of quality 20.", plate="coded", window=EYE),
    Sweep("clean_edge.amount", (0.0, 1.0), "Colors of the photograph's background leave the rim.", window=EDGE),
    Sweep("clean_edge.radius", (0.02, 0.06, 0.15), "From how far inside colors come.", window=EDGE),
    Sweep("composite.method", LAID, "A face laid on, or joined at its rim; its color not matched.", others=GRADED),
    Sweep("composite.reach", (0.05, 0.2, 0.5), "Bands.", others={**GRADED, "composite.method": "multiband"}),
    Sweep("composite.wrap", (0.0, 0.03, 0.1), "Light from behind.", window=EDGE),
    Sweep("composite.wrap_amount", (0.0, 0.5, 2.0), "How much of it.", window=EDGE, others=WRAPPED),
    Sweep("composite.highlights", (0.0, 0.5, 1.0), "The plate's glints on the new face.", plate="overexposed"),
    Sweep("composite.opacity", (0.0, 0.5, 1.0), "From the plate's face to the new one."),
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
    pattern, scene = folder / "plate" / "plate.%04d.exr", demo.portrait()
    pattern.parent.mkdir(parents=True)
    for row in FRAMES:
        path = Path(str(pattern) % (demo.FIRST + row))
        demo.write_frame(path, demo.picture(scene, row, LENGTH), demo.FIRST + row)
    if name == "coded":
        compress(open_shot(pattern).frames, pattern)
    elif name != "daylight":
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


def compress(frames: tuple[int, ...], pattern: Path) -> None:
    """Bring a plate through JPEG files of a low quality, in place."""
    import cv2
    import OpenImageIO as oiio

    for frame in frames:
        path = str(pattern) % frame
        picture = oiio.ImageBuf(path)
        pixels = picture.get_pixels(oiio.FLOAT)
        shown = (pixels[..., 2::-1].clip(0, 1) ** (1 / 2.4) * 255 + 0.5).astype(np.uint8)
        packed = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1]
        pixels[..., :3] = (decoded.astype(np.float32) / 255) ** 2.4
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
    # Mattes depend on nothing that is solved.
    target = MATTE if sweep.shows == "matte" else job.recipe.steps[-1].name
    job = job if sweep.shows == "matte" else solved(job, lambda event: None)
    frame = job.shot.frames[len(FRAMES) // 2]
    source = read_source(job, frame, "", whole=False)
    plate = plate_of(job, frame, source)
    values = evaluate(job.chain, frame, plate, target)
    assert values is not None and source.face is not None
    layer: Layer = values[target]
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
    """A job with other settings, its curves not solved yet."""
    recipe = recipes.read(path)
    steps = tuple(
        replace(step, settings={**step.settings, **settings_of(step.name, settings)}) for step in recipe.steps
    )
    return open_job(recipes.check(replace(recipe, steps=steps)), "cpu")


def settings_of(step: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Settings of one step out of ``step.parameter`` names."""
    return {name.partition(".")[2]: value for name, value in settings.items() if name.partition(".")[0] == step}


def picture_of(sweep: Sweep) -> str:
    """Name of a sweep's picture."""
    light = "" if sweep.plate == "daylight" else f".{sweep.plate}"
    shown = "" if sweep.shows == "comp" else f".{sweep.shows}"
    return f"{sweep.setting}{light}{shown}.jpg"


def page() -> str:
    """The gallery as a page."""
    helps = {(node.id, param.name): param.help for node in shipped() for param in node.params}
    names = {step.name: step.node for step in recipes.CONVERT}
    lines = [
        "# Gallery",
        "",
        "What each setting does, on the shot of `mien demo`: a portrait of Eileen Collins (NASA, public domain) made",
        "to move, with the face of Grace Hopper (US Navy, public domain). Drawn by `docs/draw_gallery.py`; every face",
        "in it is put on.",
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
