"""Matte nodes."""

from typing import Annotated, Literal

import torch

from mien import mesh
from mien.declare import Slider
from mien.ops import distance, hull
from mien.types import Face, Layer


def face_matte(
    layer: Layer,
    face: Face,
    *,
    source: Literal["both", "hull", "network"] = "both",
    forehead: Annotated[float, Slider(0, 1, min=0, max=1.5)] = 0.8,
) -> Layer:
    """Decide where the face replaces the plate.

    Args:
        layer: Face whose own matte says where it is sound.
        face: Where the face is.
        source: Outline of the tracked points, the matte that the identity brings, or only where both agree.
        forehead: How far the outline reaches up: 0 just above the brows, 1 to the hairline.
    """
    kept = layer.shaped("network", layer.matte)
    if source == "network":
        return kept
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    if face.scheme == "mesh":
        points = hull.lower_forehead(face.points, forehead)
        outline = hull.surface_matte(points, mesh.TRIANGLES.to(points.device), layer.corner, size)
    else:
        points = hull.face_outline(face.points, face.scheme, forehead)
        outline = hull.polygon_matte(points, layer.corner, size)
    outline = outline.to(layer.matte).expand_as(layer.matte)
    shaped = kept.shaped("hull", outline)
    return shaped.shaped("face", torch.minimum(outline, layer.matte)) if source == "both" else shaped


def matte_edge(
    layer: Layer,
    *,
    grow: Annotated[float, Slider(-0.25, 0.25, unit="face")] = -0.025,
    soften: Annotated[float, Slider(0.0, 0.5, unit="face", min=0)] = 0.06,
) -> Layer:
    """Grow, shrink and soften the edge of the matte.

    Args:
        layer: Face whose matte to shape.
        grow: Distance the edge moves outward, in face widths; negative shrinks.
        soften: Width of the soft edge, centered on the moved edge, in face widths.
    """
    # What the identity cannot show fades on its own terms; only the outline has an edge to move and soften.
    both = layer.matte is layer.mattes.get("face")
    drawn = layer.mattes["hull"] if both else layer.matte
    shaped = distance.edge(drawn, grow * layer.face_width, soften * layer.face_width)
    return layer.shaped("edge", torch.minimum(shaped, layer.mattes["network"]) if both else shaped)
