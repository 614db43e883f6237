"""Finishing nodes."""

from dataclasses import replace
from typing import Annotated

import torch

from mien import mesh
from mien.declare import Slider
from mien.ops import blend, region
from mien.ops.mesh_warp import opening
from mien.types import Face, Layer, Matte, Plate, White

OWN = {
    "mesh": (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.LIPS_OUTER),
    "ibug68": (list(range(36, 42)), list(range(42, 48)), list(range(48, 60))),
}
"""Outlines of eyes and mouth, whose glints belong to the person and not to the light on the skin."""


def composite(
    layer: Layer,
    plate: Plate,
    face: Face,
    white: White,
    *,
    opacity: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
    highlights: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Finish the face as it is laid on the plate: what lies outside its matte stays bit for bit.

    Args:
        layer: Face and its matte.
        plate: Picture it is laid on.
        face: Where the face is.
        white: Light above which the plate shows highlights.
        opacity: 0 shows the plate's face, 1 the new one.
        highlights: How much of the plate's highlights, and of its values below black, the face takes over in
            place of its own, eyes and mouth left out; 0 leaves the face as it is.
    """
    faded = layer if opacity == 1 else layer.shaped("fade", layer.matte * opacity)
    (rows, columns), (there_rows, there_columns) = region.shared(
        (layer.corner, layer.matte.shape), (plate.corner, plate.image.shape)
    )
    own = layer.image[..., rows, columns]
    carried = blend.carry_highlights(own, plate.image[..., there_rows, there_columns], white, highlights)
    glints = eyes_and_mouth(layer, face)[..., rows, columns]
    lit = layer.image.clone()
    lit[..., rows, columns] = torch.where(glints > 0, torch.lerp(carried, own, glints), carried)
    return replace(faded, image=lit)


def eyes_and_mouth(layer: Layer, face: Face) -> Matte:
    """1 inside the eyes and the lips of a face, a little grown and soft."""
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    corner = layer.matte.new_tensor(layer.corner)
    outlines = [face.points[rim, :2].to(layer.matte) - corner for rim in OWN[face.scheme]]
    mattes = [opening(outline, size, 0.03 * face.width, 0.02 * face.width) for outline in outlines]
    return torch.stack(mattes).amax(0)
