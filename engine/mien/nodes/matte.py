"""Matte nodes."""

from typing import Annotated, Literal

import torch

from mien import mesh
from mien.declare import Slider
from mien.ops import hull
from mien.ops.edge import Sides, Softness, edge
from mien.types import Face, Layer

AXIS = {"mesh": (152, 168), "ibug68": (8, 27)}
"""Chin and top of the nose in each scheme: the line between them stays upright on a turned face."""


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
    face: Face,
    *,
    grow: Annotated[float, Slider(-0.25, 0.25, unit="face")] = -0.025,
    soften: Annotated[float, Slider(0.0, 0.5, unit="face", min=0)] = 0.06,
    inside: Annotated[float, Slider(0.0, 0.5, unit="face", min=0)] = 0.0,
    outside: Annotated[float, Slider(0.0, 0.5, unit="face", min=0)] = 0.0,
    falloff: Annotated[float, Slider(-1, 1, min=-1, max=1)] = 0.0,
    chin: Annotated[float, Slider(-0.25, 0.25, unit="face")] = 0.0,
    brow: Annotated[float, Slider(-0.25, 0.25, unit="face")] = 0.0,
    left: Annotated[float, Slider(-0.25, 0.25, unit="face")] = 0.0,
    right: Annotated[float, Slider(-0.25, 0.25, unit="face")] = 0.0,
) -> Layer:
    """Grow, shrink and soften the edge of the matte.

    Args:
        layer: Face whose matte to shape.
        face: Where the face is, and which way is up.
        grow: Distance the edge moves outward, in face widths; negative shrinks.
        soften: Width of the soft edge, centered on the moved edge, in face widths.
        inside: Further softness inward, in face widths.
        outside: Further softness outward, in face widths.
        falloff: How the soft edge falls off; above 0 the face holds on for longer, below 0 it lets go early.
        chin: Growth at the chin beside that all around, in face widths; follows the head as it leans.
        brow: Growth at the brows beside that all around, in face widths.
        left: Growth on the left of the picture of an upright face beside that all around, in face widths.
        right: Growth on the right beside that all around, in face widths.
    """
    width = layer.face_width
    softness = Softness((soften / 2 + inside) * width, (soften / 2 + outside) * width, falloff)
    sides = None
    if chin or brow or left or right:
        sides = _sides(face, layer, tuple(amount * width for amount in (chin, brow, left, right)))
    # What the identity cannot show fades on its own terms; only the outline has an edge to move and soften.
    both = layer.matte is layer.mattes.get("face")
    drawn = layer.mattes["hull"] if both else layer.matte
    shaped = edge(drawn, grow * width, softness, sides, face.aspect)
    if shaped is drawn:
        return layer
    return layer.shaped("edge", torch.minimum(shaped, layer.mattes["network"]) if both else shaped)


def _sides(face: Face, layer: Layer, amounts: tuple[float, ...]) -> Sides:
    """The sides of a face: its axes run from the chin to the top of the nose, and across."""
    square = face.points[:, :2] * face.points.new_tensor([face.aspect, 1.0])
    chin, top = AXIS[face.scheme]
    up = torch.nn.functional.normalize(square[top] - square[chin], dim=0)
    axes = torch.stack([torch.stack([-up[1], up[0]]), up], 1)
    there = square @ axes
    low, high = there.amin(0), there.amax(0)
    center = (axes @ ((low + high) / 2)) / face.points.new_tensor([face.aspect, 1.0])
    half = ((high - low) / 2).clamp_min(1e-3).tolist()
    return Sides(center - center.new_tensor(layer.corner), up, (half[0], half[1]), *amounts)
