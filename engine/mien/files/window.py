"""Pictures of a region laid into the whole window of their plate, as uncompressed EXR files, at once.

For frames that are looked at while a value moves and written again soon: what costs time here is memory, and most of
it is never touched.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from mien.files.atomic import appearing
from mien.files.handover import begun, layout
from mien.files.region import Region
from mien.files.stills import Header


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
    shape = layout(
        tuple({**planes, **around}),
        size=size,
        corner=origin,
        window=size,
        origin=origin,
        aspect=header.aspect,
        attributes=attributes,
    )
    # Zeros of new memory cost nothing until they are written to.
    content = np.zeros(shape.length, np.uint8).data
    rows = begun(content, shape, origin[1])
    for index, name in enumerate(shape.channels):
        if around.get(name):
            rows[:, index] = around[name]
        if name not in planes:
            continue
        plane = planes[name]
        region = Region(*corner, plane.shape[-1], plane.shape[-2])
        shared = region.overlap(window)
        down, across = shared.within(window)
        rows[down, index, across] = plane[shared.within(region)].half()
    with appearing(path) as partial:
        partial.write_bytes(content)
