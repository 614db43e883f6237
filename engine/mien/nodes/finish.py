"""Finishing nodes."""

from dataclasses import replace
from typing import Annotated

from mien.declare import Slider
from mien.ops import blend, region
from mien.types import Layer, Plate


def fade_face(
    layer: Layer,
    *,
    opacity: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Let the plate's own face shine through.

    Args:
        layer: Face to fade.
        opacity: 0 shows the plate's face, 1 the new one.
    """
    return layer if opacity == 1 else layer.shaped("fade", layer.matte * opacity)


def composite(layer: Layer, plate: Plate) -> Plate:
    """Lay the face on the plate; what lies outside its matte stays bit for bit.

    Args:
        layer: Face and its matte.
        plate: Picture to lay it on.
    """
    (rows, columns), (there_rows, there_columns) = region.shared(
        (layer.corner, layer.matte.shape), (plate.corner, plate.image.shape)
    )
    behind = plate.image[..., there_rows, there_columns]
    laid = plate.image.clone()
    laid[..., there_rows, there_columns] = blend.over(
        layer.image[..., rows, columns], behind, layer.matte[..., rows, columns]
    )
    return replace(plate, image=laid)
