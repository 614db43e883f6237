"""What a render leaves of each frame for those who judge it: small pictures, and figures of face and plate."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.job import Job
from mien.ops.blend import over
from mien.ops.judge import middle, shrunk, texture, under
from mien.ops.region import occupied
from mien.types import Layer, Plate

SIDE = 256
"""Pixels that the longer side of each picture has at most, and at least half of."""
MIDDLE = 512
"""Pixels of the longest side of what sharpness and grain are measured on."""
RIM = 2
"""Pixels around a matte that are looked at with it."""
LEAST = 16.0
"""Pixels of a matte below which there is nothing to measure."""


def pictures(job: Job, plate: Plate, layer: Layer) -> NDArray[np.uint8]:
    """(h, 3 w, 3): the region of a frame as plate, as result and as matte, as a viewer sees them."""
    # It is only looked at: laid together when it is small.
    back, front, matte = (shrunk(part, SIDE) for part in (plate.image, layer.image, layer.matte))
    result = over(front, back, matte)
    show = job.colors.for_glancing(job.colors.working, like=job.space)
    joined = torch.cat([show(back), show(result), matte.expand(3, -1, -1)], -1)
    levels = (joined.nan_to_num(0.0).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    packed: NDArray[np.uint8] = levels.movedim(0, -1).contiguous().cpu().numpy()
    return packed


def figures(plate: Plate, raw: Layer, layer: Layer) -> dict[str, Any]:
    """What tells a good frame from a bad one, measured under the matte in the working space.

    ``area`` of the matte in plate pixels; ``corner`` and ``size`` of the region; ``unsound``, pixels of the result
    that are no numbers where the plate's are; mean colors ``plate``, ``raw`` (the converter's) and ``result``;
    ``plate_detail``, ``result_detail``, ``plate_grain``, ``result_grain``, see ``ops.judge.texture``.
    """
    # Beyond the matte the result is the plate.
    here = (..., *occupied(layer.matte, RIM))
    back, drawn = plate.image[here], raw.image[here]
    matte = layer.matte[here].nan_to_num(0.0).clamp(0, 1)
    result = over(layer.image[here], back, layer.matte[here])
    unsound = 0
    if not bool(torch.isfinite(result.sum())):
        unsound = int((~torch.isfinite(result).all(0) & torch.isfinite(back).all(0)).sum())
    found: dict[str, Any] = {
        "area": round(float(matte.sum(dtype=torch.float64)), 2),
        "corner": list(plate.corner),
        "size": [plate.image.shape[-1], plate.image.shape[-2]],
        "unsound": unsound,
    }
    if found["area"] < LEAST:
        return found
    # The mean over every second pixel or so of a large face is that of all.
    step = max(1, max(matte.shape[-2:]) // MIDDLE)
    some = (..., slice(None, None, step), slice(None, None, step))
    for name, picture in (("plate", back), ("raw", drawn), ("result", result)):
        found[name] = [_short(value) for value in under(picture[some], matte[some])]
    y, x = middle(matte, MIDDLE)
    for name, picture in (("plate", back), ("result", result)):
        detail, grain = texture(picture[:, y, x], matte[:, y, x])
        found |= {f"{name}_detail": _short(detail), f"{name}_grain": _short(grain)}
    return found


def _short(value: float) -> float:
    return float(f"{value:.6g}")
