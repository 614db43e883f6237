"""Finishing nodes."""

from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from mien import mesh
from mien.declare import Slider
from mien.ops import blend, light, mixed, region, seam
from mien.ops import lattice as lattices
from mien.ops.bands import bands
from mien.ops.choose import choose
from mien.ops.lattice import Lattice, lattice
from mien.ops.mesh_warp import openings
from mien.ops.sharpness import LUMINANCE
from mien.ops.wrap import light_wrap
from mien.types import Face, Image, Layer, Matte, Plate, White, Window

OWN = {
    "mesh": (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.LIPS_OUTER),
    "ibug68": (list(range(36, 42)), list(range(42, 48)), list(range(48, 60))),
}
"""Outlines of eyes and mouth, whose glints belong to the person and not to the light on the skin."""
SEAM = 0.025
"""Face widths between places where the light at the rim is measured."""
SHAPE = 0.06
"""Face widths over which shapes of the plate that are kept tell on what surrounds them."""


def relight(
    layer: Layer,
    plate: Plate,
    face: Face,
    white: White,
    *,
    strength: Annotated[float, Slider(0, 1, min=0, max=2)] = 0.6,
    size: Annotated[float, Slider(0.05, 0.5, unit="face", min=0.02, max=2, inward=True)] = 0.15,
    tint: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.5,
    protect: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.5,
) -> Layer:
    """Carry the plate's broad light and shadow over the face.

    Args:
        layer: Face and its matte.
        plate: Picture whose light the face should stand in.
        face: Where the face is.
        white: Light above which the plate shows highlights.
        strength: How much of the plate's light; 0 leaves the face's own.
        size: Size of the smallest lights and shadows that are carried over; smaller ones are features of the face.
        tint: How much of the light's color comes with its brightness.
        protect: How far eyes and mouth are spared.
    """
    if strength == 0:
        return layer
    rows, columns = region.occupied(layer.matte)
    if rows.start == rows.stop:
        return layer
    placed = cut(layer, rows, columns)
    back = under(placed, plate)
    spared = eyes_and_mouth(placed, face)
    over = around(placed, size / 2)
    sums = light.measure(placed.image, back, torch.addcmul(placed.matte, placed.matte, spared, value=-1), white, over)
    field = light.broad(sums, white, 1.5)
    level = (field * field.new_tensor(LUMINANCE)[:, None, None]).sum(-3, keepdim=True)
    image, there = region.opened(layer.image, rows, columns)
    light.shade(placed.image, torch.lerp(level, field, tint), over, strength, protect * spared, there)
    return replace(layer, image=image)


def composite(
    layer: Window[Layer],
    plate: Window[Plate],
    face: Face,
    white: White,
    *,
    method: Literal["over", "gradient", "mixed", "multiband"] = "over",
    reach: Annotated[float, Slider(0.05, 0.5, unit="face", min=0.02, max=2, inward=True)] = 0.2,
    steady: Annotated[int, Slider(0, 8, unit="frames", min=0, max=24)] = 0,
    highlights: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
    wrap: Annotated[float, Slider(0, 0.1, unit="face", min=0, max=0.5)] = 0.0,
    wrap_amount: Annotated[float, Slider(0, 1, min=0, max=4)] = 0.5,
    opacity: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Finish the face as it is laid on the plate: what lies outside its matte stays bit for bit.

    Args:
        layer: Face and its matte, in this frame and around it.
        plate: Picture it is laid on, in this frame and around it.
        face: Where the face is.
        white: Light above which the plate shows highlights.
        method: over lays the face on as it is; gradient brings all of it to the plate's light along its rim, so
            that no seam shows; mixed also keeps the plate's texture where that is stronger, as of spectacles; multiband
            brings only its rim to the plate, broad light over a broad band, fine light over a narrow one.
        reach: Width of the broadest band of multiband.
        steady: Frames before and after over which the light at the rim is averaged, so that what passes by the rim
            does not make the face flicker; for gradient, mixed and multiband.
        highlights: How much of the plate's highlights, and of its values below black, the face takes over in
            place of its own, eyes and mouth left out; 0 leaves the face as it is.
        wrap: How far light from behind spills over the edge of the face; 0 spills none.
        wrap_amount: How much light spills.
        opacity: 0 shows the plate's face, 1 the new one.
    """
    whole = layer.center
    faded = whole if opacity == 1 else whole.shaped("fade", whole.matte * opacity)
    spills = wrap > 0 and wrap_amount > 0
    if method == "over" and highlights == 0 and not spills:
        return faded
    rows, columns = region.occupied(whole.matte, margin=int(2 * wrap * whole.face_width) + 2)
    if rows.start == rows.stop:
        return faded
    placed = cut(whole, rows, columns)
    back = under(placed, plate.center)
    image = placed.image
    if method != "over":
        knots = reach / SEAM if method == "multiband" else None
        image = light.shade(image, *join(placed, layer, plate, white, knots))
    if method == "mixed":
        image = mixed.keep(image, back, placed.matte, white, around(placed, SEAM / 2), SHAPE * placed.face_width)
    if highlights:
        own, image = image, blend.carry_highlights(image, back, white, highlights)
        if image is not own:
            glints = eyes_and_mouth(placed, face)
            for band in bands(glints):
                here = (..., band, region.occupied_columns(glints[..., band, :]))
                image[here] = choose(glints[here] > 0, torch.lerp(image[here], own[here], glints[here]), image[here])
    if spills:
        over = around(placed, wrap / 2)
        image = image + wrap_amount * light_wrap(image, back, placed.matte, over, 2.0)
    return faded if image is placed.image else pasted(faded, image, rows, columns)


def join(
    placed: Layer, layers: Window[Layer], plates: Window[Plate], white: float, knots: float | None
) -> tuple[Tensor, Lattice]:
    """Light that joins a face to its plate at the rim, averaged over the frames of a window, and where it lies.

    Args:
        placed: Part of the layer that light is sought for.
        layers, plates: Faces and plates in each frame.
        white: Light above which highlights begin.
        knots: Knots that the broadest of several bands reaches inward; None brings all of the face to its rim.
    """
    here = around(placed, SEAM)
    reach = len(layers.values) // 2
    total, weight = torch.zeros(()), 0.0
    for step, (layer, plate) in enumerate(zip(layers.values, plates.values), start=-reach):
        if layer is None or plate is None:
            continue
        rows, columns = region.occupied(layer.matte, margin=2)
        if rows.start == rows.stop:
            continue
        part = cut(layer, rows, columns)
        alike = step == 0 and (part.corner, part.matte.shape) == (placed.corner, placed.matte.shape)
        over = here if alike else around(part, SEAM)
        sums = light.measure(part.image, under(part, plate), part.matte, white, over, seam.ROWS)
        field = seam.gradient(sums, white) if knots is None else seam.multiband(sums, white, knots)
        share = 1 - abs(step) / (reach + 1)
        total, weight = total.to(field) + share * lattices.moved(field, over, here), weight + share
    return total / weight, here


def cut(layer: Layer, rows: slice, columns: slice) -> Layer:
    """The part of a layer in some rows and columns, without its other mattes."""
    image, matte = layer.image[..., rows, columns], layer.matte[..., rows, columns]
    return Layer(image, matte, (layer.corner[0] + columns.start, layer.corner[1] + rows.start), layer.face_width)


def pasted(layer: Layer, image: Image, rows: slice, columns: slice) -> Layer:
    """The layer with another picture in some rows and columns."""
    return replace(layer, image=region.surrounded(image, layer.image, rows, columns))


def under(layer: Layer, plate: Plate) -> Image:
    """What the plate shows under a layer; where it does not reach, the layer itself."""
    (rows, columns), (there_rows, there_columns) = region.shared(
        (layer.corner, layer.matte.shape), (plate.corner, plate.image.shape)
    )
    there = plate.image[..., there_rows, there_columns]
    if there.shape[-2:] == layer.image.shape[-2:]:
        return there
    back = layer.image.clone()
    back[..., rows, columns] = there
    return back


def around(layer: Layer, step: float) -> Lattice:
    """A lattice over a layer that holds on to the middle of its matte, its knots ``step`` face widths apart."""
    down, across = (layer.matte.sum((-3, axis)) for axis in (-1, -2))
    if not bool(torch.isfinite(down.sum())):
        down, across = (layer.matte.nan_to_num(0.0).sum((-3, axis)) for axis in (-1, -2))
    middle = [(line * (torch.arange(len(line)).to(line) + 0.5)).sum() / line.sum() for line in (across, down)]
    x, y = torch.stack(middle).tolist()
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    return lattice(size, step * layer.face_width, layer.image, (x, y))


def eyes_and_mouth(layer: Layer, face: Face) -> Matte:
    """1 inside the eyes and the lips of a face, a little grown and soft."""
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    corner = layer.matte.new_tensor(layer.corner)
    outlines = [face.points[rim, :2].to(layer.matte) - corner for rim in OWN[face.scheme]]
    return openings(outlines, size, 0.03 * face.width, 0.02 * face.width)
