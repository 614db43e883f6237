"""One frame as a host's own files, at once: what a render would write, or the best that is known while values move."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from mien.deliver import Destination, compute, write
from mien.files.layers import write_host
from mien.files.stills import Header
from mien.job import Job, frame_key
from mien.ops.distance import signed_distance
from mien.recipe import digest
from mien.types import Layer, Plate

Layers = tuple[Plate, Layer, Layer]


def place_frame(
    job: Job, header: Header, frame: int, factor: int, state: str, layers: Layers | None
) -> dict[str, Any]:
    """Write the host sequences of one frame; its key says that it is provisional unless a render would write the same.

    Args:
        job: The job, what holds for the shot known as far as ``state`` says.
        header: What the plate's frame says of itself.
        frame: Its number.
        factor: By how much the pictures are smaller than the plate.
        state: ``fresh`` where the shot was solved with just these settings.
        layers: Plate, converter's layer and finished layer; None without a face.

    Raises:
        MienError: The files cannot be written.
    """
    destination = Destination(job)
    key = frame_key(job, frame, job.recipe.steps[-1].name)
    final = state == "fresh" and (factor == 1 or layers is None)
    if final or layers is None:
        key = key if final else digest("provisional", key, state)
        plate, raw, layer = layers or (None, None, None)
        write(destination, compute(destination, frame, key, header, None, plate, raw, layer, ("hold_out",)))
    else:
        _write_provisional(destination, header, frame, factor, digest("provisional", key, factor, state), layers)
    return {"written": [str(path) for path in destination.files(frame).values()], "final": final}


def _write_provisional(
    destination: Destination, header: Header, frame: int, factor: int, key: str, layers: Layers
) -> None:
    """The frame at the plate's size, uncompressed: it is looked at once and written again soon."""
    job, files = destination.job, destination.files(frame)
    _, raw, layer = layers
    to_layer = job.colors.from_working(destination.layer_space)
    held = layer.mattes.get("hold_out")
    matte = _array(enlarged(layer.matte, factor))[..., 0]
    write_host(
        (files["raw"], files["face"], files["matte"]),
        header,
        raw=_array(enlarged(to_layer(raw.image), factor)),
        face=_array(enlarged(to_layer(layer.image), factor)),
        matte=matte,
        distance=_array(enlarged(signed_distance(layer.matte) * factor, factor))[..., 0],
        hold_out=np.zeros_like(matte) if held is None else _array(enlarged(held, factor))[..., 0],
        corner=(layer.corner[0] * factor, layer.corner[1] * factor),
        provenance={**job.provenance, "frame_key": key, "frame": str(frame)},
        color=job.colors.interop_id(destination.layer_space),
        compression="none",
    )


def enlarged(picture: Tensor, factor: int) -> Tensor:
    """A picture with pixels between its own, straight lines from one to the next; itself at factor 1."""
    return picture if factor == 1 else interpolate(picture[None], scale_factor=factor, mode="bilinear")[0]


def _array(picture: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture.float().movedim(-3, -1).cpu().numpy())
