"""One frame as a host's own files, at once: what a render would write, or the best that is known while values move."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from mien.deliver import Destination, compute, drawn_face, write
from mien.files.layers import read_provenance
from mien.files.region import Region
from mien.files.stills import Header
from mien.files.window import write_window
from mien.job import Job, frame_key
from mien.ops.distance import signed_distance
from mien.recipe import digest
from mien.session.picture import HALF_MAX
from mien.session.view import Cancelled
from mien.types import Layer, Matte, MienError, Plate

PLACES = 90
"""Pixels along the longer side of a picture that distances are told by while values move, roughly."""
Layers = tuple[Plate, Layer, Layer]
Cancel = Callable[[], bool]


def place_frame(
    job: Job, header: Header, frame: int, factor: int, state: str, layers: Layers | None, cancelled: Cancel
) -> dict[str, Any]:
    """Write the host sequences of one frame; its key says that it is provisional unless a render would write the same.

    Args:
        job: The job, what holds for the shot known as far as ``state`` says.
        header: What the plate's frame says of itself.
        frame: Its number.
        factor: By how much the pictures are smaller than the plate.
        state: ``fresh`` where the shot was solved with just these settings.
        layers: Plate, converter's layer and finished layer; None without a face.
        cancelled: Whether nobody waits for it any more; asked before anything is written.

    Raises:
        MienError: The files cannot be written. Cancelled: nothing was.
    """
    destination = Destination(job)
    key = frame_key(job, frame, job.recipe.steps[-1].name)
    final = state == "fresh" and (factor == 1 or layers is None)
    if final or layers is None:
        key = key if final else digest("provisional", key, state)
        plate, raw, layer = layers or (None, None, None)
        write(destination, compute(destination, frame, key, header, None, plate, raw, layer, ("hold_out",)))
        written = list(destination.files(frame).values())
    else:
        key = digest("provisional", key, factor, state)
        written = _write_provisional(destination, header, frame, factor, key, layers, cancelled)
    return {"written": [str(path) for path in written], "final": final}


def _write_provisional(
    destination: Destination, header: Header, frame: int, factor: int, key: str, layers: Layers, cancelled: Cancel
) -> list[Path]:
    """The frame at the plate's size, uncompressed, as halves: it is looked at once and written again soon.

    The order is that of a render: the matte last, as it says that the frame is there. What the converter drew is not
    written where it is there already, as fine or finer; which files were written is returned.
    """
    job, files = destination.job, destination.files(frame)
    _, raw, layer = layers
    to_layer = job.colors.from_working(destination.layer_space)
    color = job.colors.interop_id(destination.layer_space)
    told = {**job.provenance, "frame_key": key, "frame": str(frame)}
    said = _attributes(told)
    of_color = {**said, "colorInteropID": color} if color else said

    drawn = drawn_face(destination, frame, header, raw, factor)
    same = _covers(files["raw"], drawn, header.display)
    finished = dict(zip("RGB", enlarged(finite(to_layer(layer.image)), factor)))
    distance = finite(distances(layer.matte, factor))
    shape = {"R": enlarged(layer.matte, factor)[0], "G": distance[0]}
    if "hold_out" in layer.mattes:
        shape["B"] = enlarged(layer.mattes["hold_out"], factor)[0]
    around = {"G": min(0.0, float(distance.min())), "B": 0.0, "A": 1.0}
    of_data = {**said, "colorInteropID": "data"}
    # All is computed: what is written belongs together.
    if cancelled():
        raise Cancelled

    def put(role: str, planes: Mapping[str, Tensor], corner: tuple[int, int], **more: Any) -> None:
        at = (corner[0] * factor, corner[1] * factor)
        write_window(files[role], header, planes, at, **more)

    if not same:
        planes = dict(zip("RGB", enlarged(finite(to_layer(raw.image)), factor)))
        put("raw", planes, raw.corner, around={}, attributes={**of_color, **_attributes(drawn)})
    put("face", finished, layer.corner, around={}, attributes=of_color)
    put("matte", shape, layer.corner, around=around, attributes=of_data)
    return [files[role] for role in ("face", "matte") if same] or list(files.values())


def _attributes(told: Mapping[str, str]) -> dict[str, str]:
    return {f"mien:{name}": text for name, text in told.items()}


def _covers(path: Path, drawn: Mapping[str, str], display: Region) -> bool:
    """Whether a file holds the converter's face that ``drawn`` tells of, no coarser, as far as that reaches.

    A proxy's region may stick out by less than one of its pixels, where no matte is.
    """
    factor = int(drawn["raw_factor"])
    try:
        there = read_provenance(path)
        held = Region(*map(int, there["raw_region"].split())).overlap(display)
        coarse = int(there["raw_factor"]) > factor
    except (MienError, KeyError, ValueError, TypeError):
        return False
    if there.get("raw_key") != drawn["raw_key"] or coarse:
        return False
    x, y, width, height = map(int, drawn["raw_region"].split())
    edge = factor - 1
    inner = Region(x + edge, y + edge, width - 2 * edge, height - 2 * edge).overlap(display)
    return inner.overlap(held) == inner


def finite(picture: Tensor) -> Tensor:
    """A picture that half floats can hold and hosts can mix: what is no number is 0, all else within their range."""
    return picture.nan_to_num(nan=0.0, posinf=HALF_MAX, neginf=-HALF_MAX).clamp(-HALF_MAX, HALF_MAX)


def enlarged(picture: Tensor, factor: int) -> Tensor:
    """A picture with pixels between its own, straight lines from one to the next; itself at factor 1.

    By OpenCV, in a small part of the time of torch's own, and plane by plane in a fifth of what it takes for pixels of
    three; in main memory, where it is to be written from.
    """
    if factor == 1:
        return picture
    channels, height, width = picture.shape
    larger = np.empty((channels, height * factor, width * factor), np.float32)
    for plane, into in zip(picture.float().cpu().numpy(), larger):
        cv2.resize(plane, (into.shape[1], into.shape[0]), into, interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(larger)


def distances(matte: Matte, factor: int) -> Tensor:
    """Signed distance in plate pixels at every plate pixel of a (1, H, W) matte that is ``factor`` times smaller.

    Told by pixels twice as large as the matte's own or more, in a third of the time: off by a fraction of one of those.
    """
    height, width = matte.shape[-2:]
    coarser = max(2, round(max(height, width) / PLACES))
    even = pad(matte[None], (0, -width % coarser, 0, -height % coarser), mode="replicate")[0]
    step = coarser * factor
    found = enlarged(signed_distance(avg_pool2d(even, coarser)), step)
    return (found * step)[..., : height * factor, : width * factor]
