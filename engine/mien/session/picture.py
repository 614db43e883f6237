"""From a finished layer to the channels that a host asked for."""

from typing import Any

import torch
from torch import Tensor

from mien.deliver import Destination
from mien.files.handover import HandOver, layout
from mien.files.region import Region
from mien.files.stills import Header
from mien.job import Job
from mien.ops.blend import over
from mien.session.view import View
from mien.types import Layer, Plate

HALF_MAX = 65504.0
Planes = dict[str, Tensor]


def hand_over(
    hand: HandOver, job: Job, header: Header, view: View, factor: int, layers: tuple[Plate, Layer, Layer] | None
) -> dict[str, Any]:
    """Write what was asked for into a file for the host, and say where it lies.

    Only the pixels that matter are handed over: for the premultiplied layer those where it is not empty.
    """
    window = (-(-job.shot.size[0] // factor), -(-job.shot.size[1] // factor))
    planes: Planes
    if layers is None:
        place = Region(0, 0, 1, 1)
        names = [name for layer in view.layers for name in _EMPTY[layer]]
        planes = {name: torch.zeros(1, 1) for name in names}
    else:
        plate, raw, layer = layers
        place = _wanted(layer, view, factor)
        planes = _planes(job, plate, raw, layer, place, view.layers)
    color = job.colors.interop_id(Destination(job).layer_space)
    attributes = {f"mien:{name}": text for name, text in job.provenance.items()}
    shape = layout(
        tuple(planes),
        size=(place.width, place.height),
        corner=(place.x, place.y),
        window=window,
        aspect=header.aspect,
        attributes={**attributes, **({"colorInteropID": color} if color else {})},
    )
    path = hand.give(shape, (place.x, place.y), planes)
    return {
        "name": path.name,
        "path": str(path),
        "offset": shape.offset,
        "stride": shape.stride,
        "width": shape.width,
        "height": shape.height,
        "channels": shape.channels,
        "pixels": shape.pixels,
        "corner": (place.x, place.y),
        "size": window,
    }


_EMPTY = {
    "layer": ("R", "G", "B", "A"),
    "raw": ("raw.R", "raw.G", "raw.B"),
    "matte": (),
    "comp": ("comp.R", "comp.G", "comp.B"),
}


def _wanted(layer: Layer, view: View, factor: int) -> Region:
    """The part of a layer that is handed over, at least one pixel."""
    height, width = layer.matte.shape[-2:]
    whole = Region(*layer.corner, width, height)
    place = whole
    if set(view.layers) == {"layer"}:
        place = _occupied(layer)
    if view.region is not None:
        x, y, wide, high = view.region
        left, top = x // factor, y // factor
        right, bottom = -(-(x + wide) // factor), -(-(y + high) // factor)
        place = place.overlap(Region(left, top, right - left, bottom - top))
    return place if place.width and place.height else Region(*layer.corner, 1, 1)


def _occupied(layer: Layer) -> Region:
    """Where the matte is not 0."""
    matte = layer.matte[0]
    rows, columns = ((matte.amax(axis) > 0).nonzero() for axis in (1, 0))
    if not len(rows):
        return Region(*layer.corner, 0, 0)
    (top, bottom), (left, right) = ((int(found[0]), int(found[-1]) + 1) for found in (rows, columns))
    return Region(layer.corner[0] + left, layer.corner[1] + top, right - left, bottom - top)


def _planes(job: Job, plate: Plate, raw: Layer, layer: Layer, place: Region, wanted: tuple[str, ...]) -> Planes:
    height, width = layer.matte.shape[-2:]
    rows, columns = place.within(Region(*layer.corner, width, height))
    matte = layer.matte[..., rows, columns]
    image = layer.image[..., rows, columns]
    to_layer = job.colors.from_working(Destination(job).layer_space)
    planes: Planes = {}
    if "layer" in wanted:
        alpha = stored(matte)
        color = stored(torch.where(alpha > 0, to_layer(image) * matte, 0.0))
        planes.update(zip(("R", "G", "B", "A"), (*color, *alpha)))
    if "raw" in wanted:
        planes.update(zip(("raw.R", "raw.G", "raw.B"), stored(to_layer(raw.image[..., rows, columns]))))
    if "matte" in wanted:
        planes.update({f"matte.{name}": stored(one[0, rows, columns]) for name, one in layer.mattes.items()})
    if "comp" in wanted:
        laid = over(image, plate.image[..., rows, columns], matte)
        planes.update(zip(("comp.R", "comp.G", "comp.B"), stored(job.colors.from_working(job.space)(laid))))
    return planes


def stored(values: Tensor) -> Tensor:
    """Half floats as layer files hold them: finite values stay finite."""
    return torch.where(values.isinf(), values, values.clamp(-HALF_MAX, HALF_MAX)).half()
