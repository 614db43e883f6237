"""Pictures of a region laid into the whole window of their plate, as uncompressed EXR files, at once.

For frames that are looked at while a value moves and written again soon: what costs time here is memory, and most of
it is never touched. Tiles as wide as the picture are read in half the time that lines take: OpenEXR reads several at
once, and has less to look up.
"""

import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.files.atomic import appearing
from mien.files.bare import BYTES, bare_header, in_order, offsets
from mien.files.region import Region
from mien.files.stills import Header

STRIP = 64
"""Lines of a tile: with fewer, or with several hundred, Blender reads more slowly."""


def write_window(
    path: Path,
    header: Header,
    planes: Mapping[str, Tensor],
    corner: tuple[int, int],
    *,
    around: Mapping[str, float],
    attributes: Mapping[str, str],
) -> None:
    """Write channels as half floats, data window and display window the plate's.

    Args:
        path: The file; it appears when it is whole.
        header: What the plate's frame says of itself.
        planes: (height, width) of the region by name; values that half floats cannot hold become infinite.
        corner: Plate pixel of the region's top-left pixel.
        around: Value of a channel outside the region, 0 where nothing is said; one that is only here has it everywhere.
        attributes: What else the header says.

    Raises:
        MienError: The file cannot be written.
    """
    window, origin = header.display, header.origin
    size = (window.width, window.height)
    names = in_order([*{**planes, **around}])
    head = bare_header(
        names,
        size=size,
        corner=origin,
        window=size,
        origin=origin,
        aspect=header.aspect,
        attributes=attributes,
        strip=STRIP,
    )
    # Zeros of new memory cost nothing until they are written to.
    rows = torch.from_numpy(np.zeros((size[1], len(names), size[0]), np.float16))
    for index, name in enumerate(names):
        if around.get(name):
            rows[:, index] = around[name]
        if name not in planes:
            continue
        plane = planes[name]
        region = Region(*corner, plane.shape[-1], plane.shape[-2])
        shared = region.overlap(window)
        down, across = shared.within(window)
        rows[down, index, across] = plane[shared.within(region)]
    strips = rows.split(STRIP)
    stride = 20 + STRIP * len(names) * size[0] * BYTES["half"]
    head += offsets(len(head), stride, len(strips))
    with appearing(path) as partial, partial.open("wb") as file:
        # Room only promised would be found, and its pages sent to disk, while the file is renamed. Where none can
        # be claimed, writing tells why.
        with suppress(AttributeError, OSError):
            os.posix_fallocate(file.fileno(), 0, len(head) + 20 * len(strips) + BYTES["half"] * rows.numel())
        file.write(head)
        for number, strip in enumerate(strips):
            values = strip.numpy().data.cast("B")
            file.write(struct.pack("<5i", 0, number, 0, 0, len(values)))
            file.write(values)
