"""Finishing nodes."""

from dataclasses import replace
from typing import Annotated

from mien.declare import Slider
from mien.ops import blend, region
from mien.types import Layer, Plate, White


def composite(
    layer: Layer,
    plate: Plate,
    white: White,
    *,
    opacity: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
    highlights: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Finish the face as it is laid on the plate: what lies outside its matte stays bit for bit.

    Args:
        layer: Face and its matte.
        plate: Picture it is laid on.
        white: Light above which the plate shows highlights.
        opacity: 0 shows the plate's face, 1 the new one.
        highlights: How much of the plate's highlights, and of its values below black, the face takes over in
            place of its own; 0 leaves the face as it is.
    """
    faded = layer if opacity == 1 else layer.shaped("fade", layer.matte * opacity)
    (rows, columns), (there_rows, there_columns) = region.shared(
        (layer.corner, layer.matte.shape), (plate.corner, plate.image.shape)
    )
    lit = layer.image.clone()
    lit[..., rows, columns] = blend.carry_highlights(
        layer.image[..., rows, columns], plate.image[..., there_rows, there_columns], white, highlights
    )
    return replace(faded, image=lit)
