"""Detail nodes: flicker, sharpness, motion blur, grain and texture."""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from mien.declare import Slider
from mien.nodes.finish import cut, pasted, under
from mien.nodes.neighbors import carried
from mien.ops import codec, region
from mien.ops import detail as details
from mien.ops import grade as moves
from mien.ops.deflicker import alike, flicker, log_light
from mien.ops.grain import lay
from mien.ops.motion_blur import squares, streak, velocity_field
from mien.ops.skin import skin
from mien.ops.texture import carry_texture
from mien.types import ColorSample, Detail, DetailSample, Face, Grade, Layer, Plate, Series, White, Window

SURROUNDINGS = (0.2, 40)
"""Face widths and pixels, whichever is more, around a face in which the plate's grain is measured."""
PROXY = 0.9
"""Size of a picture over the plate's, below which its pixels have averaged the grain away."""


def deflicker(
    samples: Series[ColorSample],
    grades: Series[Grade],
    *,
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
    frames: Annotated[float, Slider(0, 24, unit="frames", min=0)] = 4.0,
) -> Series[Grade]:
    """Solve over the whole shot the gains that take flicker out of a converted and graded face.

    Args:
        samples: Colors of face and plate, as measured in each frame.
        grades: The match of color that was solved from them, and that the face has already.
        amount: How much of the flicker is taken out; 0 leaves the face as it is.
        frames: Changes faster than about this many frames, with no cause in the plate's light, are flicker.
    """
    known = [sample is not None and sample.weight > 0 for sample in samples.values]
    if amount == 0 or not any(known):
        return Series(samples.first, tuple(None if s is None else moves.IDENTITY for s in samples.values))
    rows = torch.zeros(len(known), 2, 3, dtype=torch.float64)
    for row, sample in enumerate(samples.values):
        if sample is not None and sample.weight > 0:
            rows[row] = log_light(sample, grades.at(samples.first + row) or moves.IDENTITY)
    face, plate = rows.unbind(1)
    gains = (amount * flicker(face, plate, torch.tensor(known).double(), frames)).exp().tolist()
    solved = [
        None if sample is None else moves.IDENTITY if gain == [1.0, 1.0, 1.0] else moves.diagonal(gain, (0.0,) * 3)
        for sample, gain in zip(samples.values, gains)
    ]
    return Series(samples.first, tuple(solved))


def level_face(layer: Layer, grade: Grade) -> Layer:
    """Give a face the gains that take its flicker out.

    Args:
        layer: Face, graded.
        grade: What deflicker solved for this frame.
    """
    image = moves.apply(layer.image, grade)
    return layer if image is layer.image else replace(layer, image=image)


def steady_face(
    layers: Window[Layer],
    plates: Window[Plate],
    *,
    radius: Annotated[int, Slider(0, 4, unit="frames", min=0, max=8)] = 0,
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Calm detail that boils in a converted face: the mean of its neighbors, carried here along the plate's motion.

    Args:
        layers: Face as the identity drew it, in this frame and around it.
        plates: Plate, in this frame and around it.
        radius: Frames before and after that are looked at; 0 leaves the face as it is.
        amount: How much of it: 0 leaves the face as it is.
    """
    layer = layers.center
    if radius == 0 or amount == 0:
        return layer
    total, weight = layer.image.clone(), torch.ones_like(layer.matte)
    place = (layer.corner, (layer.matte.shape[-2], layer.matte.shape[-1]))
    for seen, trust in carried(layers, plates, lambda there: there.image.nan_to_num(0.0, 0.0, 0.0), place):
        trust = trust * alike(layer.image, seen, 0.01 * layer.face_width)
        total, weight = total + trust * seen, weight + trust
    image = torch.lerp(layer.image, total / weight, amount)
    return replace(layer, image=torch.where(weight > 1, image, layer.image))


def measure_detail(layer: Layer, plate: Plate, face: Face) -> DetailSample:
    """Measure how soft, smeared and grainy the plate is, and the face beside it.

    Args:
        layer: Face and its matte.
        plate: Picture whose detail the face should have.
        face: Where the face is and how it moves.
    """
    rows, columns = region.occupied(layer.matte)
    if rows.start == rows.stop:
        return replace(details.NOTHING, face_width=layer.face_width)
    placed = cut(layer, rows, columns)
    motion = (0.0, 0.0)
    if face.velocity is not None:
        x, y = face.velocity[:, :2].mean(0).tolist()
        motion = (x, y)
    # However far a region reaches beyond: what is measured does not depend on that.
    share, pixels = SURROUNDINGS
    around = region.cropped(plate, region.around(face, max(share, pixels / max(face.width, 1.0)))).image
    return details.measure(placed.image, under(placed, plate), around, placed.matte, motion, layer.face_width)


def match_detail(
    samples: Series[DetailSample],
    *,
    smooth: Annotated[float, Slider(0, 50, unit="frames", min=0)] = 8.0,
) -> Series[Detail]:
    """Solve over the whole shot what brings the face to the plate's sharpness, motion blur and grain.

    Args:
        samples: What was measured in each frame.
        smooth: Frames over which measurements are averaged, so that the face does not breathe.
    """
    return details.solve(samples, smooth)


def detail_face(
    layer: Layer,
    plate: Plate,
    face: Face,
    detail: Detail,
    *,
    texture: Annotated[float, Slider(0, 1, min=0, max=2)] = 0.0,
    texture_size: Annotated[float, Slider(0.005, 0.05, unit="face", min=0.001, max=0.5, inward=True)] = 0.015,
    sharpness: Annotated[float, Slider(0, 1, min=0, max=2)] = 1.0,
    soften: Annotated[float, Slider(-0.01, 0.02, unit="face", min=-0.02, max=0.2, inward=True)] = 0.0,
    lens: Literal["smooth", "disc"] = "smooth",
    blades: Annotated[int, Slider(0, 11, min=0, max=32)] = 0,
    motion: Literal["measured", "shutter", "none"] = "measured",
    shutter: Annotated[float, Slider(0, 360, unit="degrees", min=0, max=720)] = 180.0,
    grain: Annotated[float, Slider(0, 1, min=0, max=4)] = 1.0,
) -> Layer:
    """Give the face the plate's texture, sharpness, motion blur and grain; the plate itself is never touched.

    Args:
        layer: Face and its matte.
        plate: Picture it is laid on.
        face: Where the face is and how it moves.
        detail: What was solved for this frame.
        texture: How much of the plate's own pores and lines is laid over a face that came out too smooth.
        texture_size: What is finer than this counts as texture.
        sharpness: How far the face is brought to the plate's sharpness, softer or sharper, and its color to how softly
            the plate's codec keeps color.
        soften: Blur that is added by hand; below 0 sharpens.
        lens: How a face is made softer: smoothly, as haze, scaling and small blurs do, or in discs with an edge, as a
            lens out of focus does; both take away as much detail.
        blades: Blades of the lens's iris, which are the corners of its discs; below 3 these are round.
        motion: Smear the face, and its matte with it, along its own motion as long as the plate is seen to be smeared,
            as long as the shutter below is open, or not at all.
        shutter: Shutter angle, for the choice of that name; 180 is open for half the frame.
        grain: How strong the grain is that the face lacks beside the plate's; it is the same whenever a frame is
            rendered, and grain that the face has is not doubled.
    """
    scale = layer.face_width / max(detail.face_width, 1e-6)
    added = math.copysign((soften * layer.face_width) ** 2, soften)
    blur = sharpness * detail.blur * scale**2 + added
    color = sharpness * detail.color_blur * scale**2 + added
    opened = {"measured": detail.shutter, "shutter": shutter / 360, "none": 0.0}[motion]
    path = opened * _speed(face)
    missing = [grain**2 * share for share in detail.missing] if scale > PROXY else [0.0] * 3
    idle = not texture and details.unchanged(blur, color) and path <= details.STILL
    if idle and (detail.grain.weight <= 0 or not any(missing)):
        return layer
    # Between and beyond the points a little is faster than any of them.
    margin = math.ceil(0.6 * path + 4 * math.sqrt(max(blur, color, 0.0))) + 4
    rows, columns = region.occupied(layer.matte, margin)
    if rows.start == rows.stop:
        return layer
    placed = cut(layer, rows, columns)
    image, matte = placed.image, placed.matte
    share = image.new_tensor(missing)[:, None, None]
    if texture:
        skinned = _skin(placed, face)
        image = carry_texture(image, under(placed, plate), matte * skinned, texture_size * layer.face_width, texture)
        share = share * (1 - (min(texture, 1.0) * skinned).square())
    floor = details.own_grain(detail, image) if blur < 0 else 0.0
    image = details.match_blur(image, blur, color, floor, blades if lens == "disc" else None)
    if path > details.STILL:
        every = squares(layer.face_width)
        image, matte = streak(image, matte, _motion(placed, face, every) * opened, every)
        held = layer.mattes.get("held")
        matte = matte if held is None else torch.minimum(matte, 1 - held[..., rows, columns])
    whole, there = region.opened(layer.image, rows, columns)
    lay(image, matte, detail.grain, share, placed.corner, plate.frame, there)
    if matte is placed.matte:
        return replace(layer, image=whole)
    wide = torch.zeros_like(layer.matte)
    wide[..., rows, columns] = matte
    return replace(layer, image=whole, matte=wide)


def code_face(
    layer: Layer,
    plate: Plate,
    white: White,
    *,
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.0,
) -> Layer:
    """Give the face the blocks that a plate from JPEG, Motion JPEG or MPEG shows; the plate itself is never touched.

    Args:
        layer: Face, with the plate's grain.
        plate: Picture whose blocks are looked for in each frame, at full size; where none show the face stays as it is.
        white: Light that the codec held for white.
        amount: How much of it: 0 leaves the face as it is.
    """
    if amount == 0:
        return layer
    rows, columns = region.occupied(layer.matte, codec.SIDE)
    if rows.start == rows.stop:
        return layer
    placed = cut(layer, rows, columns)
    coding = codec.measure(plate.image, plate.corner, white)
    image = codec.code(placed.image, placed.matte, coding, placed.corner, white, amount)
    return layer if image is placed.image else pasted(layer, image, rows, columns)


def _speed(face: Face) -> float:
    """Pixels per frame of the fastest point; 0 where it is not known."""
    if face.velocity is None:
        return 0.0
    return float(face.velocity[:, :2].nan_to_num(0.0, 0.0, 0.0).square().sum(-1).amax().sqrt())


def _motion(layer: Layer, face: Face, every: int) -> Tensor:
    """(2, h, w) pixels per frame that every square of so many pixels of a layer moves."""
    assert face.velocity is not None
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    at = layer.face_width, layer.corner, size, layer.image.device, every
    return velocity_field(face.points, face.velocity, face.weight, *at)


def _skin(layer: Layer, face: Face) -> Tensor:
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    points = face.points[:, :2] - face.points.new_tensor(layer.corner)
    return skin(points, face.scheme, size, layer.face_width).to(layer.matte)
