"""Matte nodes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from mien import mesh
from mien.declare import Slider
from mien.nodes.neighbors import carried
from mien.ops import guided, hull, region
from mien.ops.edge import Sides, Softness, edge
from mien.ops.foreground import unmix
from mien.ops.matting import closed_form
from mien.types import Face, Image, Layer, Matte, Plate, Roto, Window

AXIS = {"mesh": (152, 168), "ibug68": (8, 27)}
"""Chin and top of the nose in each scheme: the line between them stays upright on a turned face."""

COMBINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "min": torch.minimum,
    "max": torch.maximum,
    "multiply": torch.mul,
    "subtract": lambda own, other: (own - other).clamp_min(0),
    "stencil": lambda own, other: own * (1 - other),
}
"""Ways to make one matte of two."""
Solve = Callable[[Image, Matte, Tensor, int, float], Matte]
REACH = 0.1
"""Face widths around a matte in which its neighbors may lie."""
FURTHER = 2
"""Further rounds of the guided filter."""
SURE = 0.9
"""Matte from which on a pixel counts as wholly in: those of networks seldom reach 1."""
SHRUNK = 4
"""Pixels of the guided filter's radius for each pixel that its windows may leave out."""


def face_matte(
    layer: Layer,
    face: Face,
    *,
    source: Literal["both", "hull", "network"] = "both",
    forehead: Annotated[float, Slider(0, 1, min=0, max=1.5)] = 0.8,
    brow: Annotated[float, Slider(0, 1, min=0, max=1.5)] = 1.0,
) -> Layer:
    """Decide where the face replaces the plate.

    Args:
        layer: Face whose own matte says where it is sound.
        face: Where the face is.
        source: Outline of the tracked points, the matte that the identity brings, or only where both agree.
        forehead: How far the outline reaches up: 0 just above the brows, 1 to the hairline.
        brow: How much of what lies above the upper lids it takes in: 1 all, brows and forehead, 0 stops at the lids.
    """
    kept = layer.shaped("network", layer.matte)
    if source == "network":
        return kept
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    if face.scheme == "mesh":
        points = hull.lower_forehead(face.points, forehead, brow)
        outline = hull.surface_matte(points, mesh.TRIANGLES.to(points.device), layer.corner, size)
    else:
        points = hull.face_outline(face.points, face.scheme, forehead, brow)
        outline = hull.polygon_matte(points, layer.corner, size)
    outline = outline.to(layer.matte).expand_as(layer.matte)
    shaped = kept.shaped("hull", outline)
    if source != "both":
        return shaped
    return shaped.shaped("face", torch.minimum(outline, layer.matte))


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
    if both:
        here = (..., *region.occupied(shaped))
        torch.minimum(shaped[here], layer.mattes["network"][here], out=shaped[here])
    return layer.shaped("edge", shaped)


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


def hold_out(
    layer: Layer,
    roto: Roto,
    *,
    file: Path = Path(),
    channel: Literal["auto", "alpha", "red", "green", "blue", "luminance"] = "auto",
    use: Literal["hold out", "keep", "replace"] = "hold out",
    invert: bool = False,
    grow: Annotated[float, Slider(-0.1, 0.1, unit="face", inward=True)] = 0.0,
    soften: Annotated[float, Slider(0, 0.1, unit="face", min=0, inward=True)] = 0.0,
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Let what passes in front of the face stay the plate's, by a matte drawn elsewhere.

    Args:
        layer: Face and its matte.
        roto: Reads the matte from disk.
        file: Frames such as roto.####.exr or roto.%04d.png, or one still; nothing is held out without.
        channel: Which channel is the matte; auto takes the alpha unless it is opaque, else the brightness.
        use: Show the plate where the matte is 1, keep the face only there, or take it for the face's own matte.
        invert: Turn the matte around first.
        grow: Distance the edge of the matte moves outward, in face widths.
        soften: Width of a new soft edge, in face widths; without either the matte stays as it was drawn.
        amount: How much of it: 0 leaves the face's matte as it is.
    """
    if str(file) in ("", ".") or amount == 0:
        return layer
    size = (layer.matte.shape[-2], layer.matte.shape[-1])
    drawn = roto(str(file), channel, layer.corner, size).to(layer.matte).expand_as(layer.matte)
    drawn = 1 - drawn if invert else drawn
    width = layer.face_width
    drawn = edge(drawn, grow * width, Softness(soften * width / 2, soften * width / 2))
    if use == "replace":
        return layer.shaped("roto", torch.lerp(layer.matte, drawn, amount))
    held = (drawn if use == "hold out" else 1 - drawn) * amount
    before = layer.mattes.get("hold_out")
    # Two that pass in front of each other hide what either hides.
    together = held if before is None else 1 - (1 - before) * (1 - held)
    matte = layer.matte * (1 - held)
    return replace(layer, matte=matte, mattes={**layer.mattes, "hold_out": together, "visible": matte})


def combine_mattes(
    layer: Layer,
    other: Layer,
    *,
    operation: Literal["min", "max", "multiply", "subtract", "stencil"] = "min",
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Make one matte of those of two layers; the picture stays the first one's.

    Args:
        layer: Face and its matte.
        other: Layer whose matte to combine it with; outside of it that matte is 0.
        operation: The smaller or the larger, their product, what the other leaves, or what the other does not cover.
        amount: How much of it: 0 leaves the face's matte as it is.
    """
    if amount == 0:
        return layer
    placed = torch.zeros_like(layer.matte)
    here, there = region.shared((layer.corner, layer.matte.shape), (other.corner, other.matte.shape))
    placed[..., here[0], here[1]] = other.matte[..., there[0], there[1]]
    combined = COMBINED[operation](layer.matte, placed)
    return layer.shaped("combined", torch.lerp(layer.matte, combined, amount))


def refine_matte(
    layer: Layer,
    plate: Plate,
    *,
    method: Literal["guided", "hair"] = "guided",
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.0,
    radius: Annotated[float, Slider(0.005, 0.15, unit="face", min=0.001, inward=True)] = 0.04,
    contrast: Annotated[float, Slider(0.01, 0.2, min=0.001, max=1)] = 0.05,
) -> Layer:
    """Pull the edge of the matte to edges of the plate: hair, spectacles, fingers.

    Args:
        layer: Face and its matte.
        plate: Picture whose edges the matte should follow.
        method: guided is quick and steady; hair solves for single strands between what is surely in and out, slowly.
        amount: How much of it: 0 leaves the matte as it is.
        radius: How far from the edge it looks and moves, in face widths.
        contrast: Differences of the picture, 0 to 1, that count as an edge; lower it to follow fainter ones.
    """
    if amount == 0:
        return layer
    here, there = region.shared((layer.corner, layer.matte.shape), (plate.corner, plate.image.shape))
    own = layer.matte[..., here[0], here[1]].nan_to_num(0.0)
    if not own.numel():
        return layer
    guide = guided.picture_guide(plate.image[..., there[0], there[1]])
    pixels = max(1, round(radius * layer.face_width))
    solve = _hair if method == "hair" else _pulled
    mattes = dict(layer.mattes)
    if (held := mattes.get("hold_out")) is not None:
        refined = _refined(held[..., here[0], here[1]], guide, pixels, contrast, solve)
        mattes["hold_out"] = _placed(held, here, refined, amount)
    found = _refined(own, guide, pixels, contrast, solve)
    # The identity shows nothing beyond its own matte, whatever the plate's edges say.
    if "network" in mattes:
        found = torch.minimum(found, torch.maximum(own, mattes["network"][..., here[0], here[1]]))
    return replace(layer, mattes=mattes).shaped("refined", _placed(layer.matte, here, found, amount))


def clean_edge(
    layer: Layer,
    plate: Plate,
    *,
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
    own: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.0,
    radius: Annotated[float, Slider(0.01, 0.2, unit="face", min=0.001, inward=True)] = 0.06,
) -> Layer:
    """Take the old face's color out of soft edges, so that no halo stays around hair and fingers held out.

    Args:
        layer: Face as it will be laid on the plate.
        plate: Picture it is laid on.
        amount: How much of the plate's skin to take out of the soft edge of what is held out.
        own: How much of the background to take out of the soft edge of the identity's own matte.
        radius: How far beyond a soft edge the colors of either side are looked for, in face widths.
    """
    pixels = max(1, round(radius * layer.face_width))
    image = layer.image
    network = layer.mattes.get("network")
    if own > 0 and network is not None and _soft(network):
        rows, columns = _mixed(network, pixels)
        front = unmix(image[..., rows, columns], network[..., rows, columns], pixels)[0]
        image = image.clone()
        image[..., rows, columns] = torch.lerp(image[..., rows, columns], front, own)
    held = layer.mattes.get("hold_out")
    if amount > 0 and held is not None and _soft(held):
        here, there = region.shared((layer.corner, held.shape), (plate.corner, plate.image.shape))
        rows, columns = _mixed(held[..., here[0], here[1]], pixels)
        share = held[..., here[0], here[1]][..., rows, columns]
        behind = plate.image[..., there[0], there[1]][..., rows, columns]
        # Behind a half transparent hair lies the old skin: the new face takes its place, the hair stays.
        moved = amount * (behind - unmix(behind, share, pixels)[1])
        mixed = (share > 0) & (share < 1) & moved.isfinite()
        image = image.clone() if image is layer.image else image
        image[..., here[0], here[1]][..., rows, columns] += torch.where(mixed, moved, 0.0)
    return layer if image is layer.image else replace(layer, image=image)


def steady_matte(
    layers: Window[Layer],
    plates: Window[Plate],
    *,
    radius: Annotated[int, Slider(0, 4, unit="frames", min=0, max=8)] = 0,
    amount: Annotated[float, Slider(0, 1, min=0, max=1)] = 1.0,
) -> Layer:
    """Take flicker out of the matte: the mean of its neighbors, each carried here along the motion of the plate.

    Args:
        layers: Face and its matte, in this frame and around it.
        plates: Plate, in this frame and around it.
        radius: Frames before and after that are looked at; 0 leaves the matte as it is.
        amount: How much of it: 0 leaves the matte as it is.
    """
    layer = layers.center
    if radius == 0 or amount == 0:
        return layer
    rows, columns = region.occupied(layer.matte, round(REACH * layer.face_width))
    own = layer.matte[..., rows, columns]
    if not own.numel():
        return layer
    place = (layer.corner[0] + columns.start, layer.corner[1] + rows.start), (own.shape[-2], own.shape[-1])
    total, weight = own, torch.ones_like(own)
    for matte, trust in carried(layers, plates, lambda there: there.matte, place):
        total, weight = total + trust * matte.clamp(0, 1), weight + trust
    return layer.shaped("steady", _placed(layer.matte, (rows, columns), total / weight, amount))


def _refined(matte: Matte, guide: Image, pixels: int, contrast: float, solve: Solve) -> Matte:
    """A matte solved anew between what is surely in and wholly out, which stay as they are."""
    known = guided.surrounded(matte >= SURE, pixels) | guided.surrounded(matte <= 0, pixels)
    rows, columns = region.occupied((~known).to(matte), 2 * pixels)
    part, sure = matte[..., rows, columns], known[..., rows, columns]
    if not part.numel():
        return matte
    refined = matte.clone()
    found = solve(guide[..., rows, columns], part, sure, pixels, contrast)
    refined[..., rows, columns] = torch.where(sure, part, found)
    return refined


def _pulled(guide: Image, matte: Matte, known: Tensor, pixels: int, contrast: float) -> Matte:
    """A matte after several guided filters: one alone leaves a haze where the rough edge lay beside the true one."""
    stride = max(1, pixels // SHRUNK)
    found = guided.guided_fast(guide, matte, pixels, contrast * contrast, stride)
    for _ in range(FURTHER):
        decided = ((found - 0.5) * 2 + 0.5).clamp(0, 1)
        found = guided.guided_fast(guide, decided, pixels, contrast * contrast, stride)
    return found.clamp(0, 1)


def _hair(guide: Image, matte: Matte, known: Tensor, pixels: int, contrast: float) -> Matte:
    return closed_form(guide, matte, known, epsilon=(contrast / 20) ** 2)


def _placed(matte: Matte, here: region.Slices, found: Matte, amount: float) -> Matte:
    """A matte with ``amount`` of another in its place."""
    placed = matte.clone()
    placed[..., here[0], here[1]] = torch.lerp(matte[..., here[0], here[1]], found, amount)
    return placed


def _mixed(matte: Matte, pixels: int) -> region.Slices:
    """Rows and columns of all that is neither in nor out, and ``pixels`` around it."""
    return region.occupied(((matte > 0) & (matte < 1)).to(matte), pixels)


def _soft(matte: Matte) -> bool:
    return bool(((matte > 0) & (matte < 1)).any())
