"""What a render leaves of each frame for those who judge it: small pictures, and figures of face and plate."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.job import Job
from mien.ops.blend import over
from mien.ops.judge import middle, shrunk, squares, textures, under
from mien.ops.region import occupied
from mien.planes import packed
from mien.types import Image, Layer, Matte, Plate

SIDE = 256
"""Pixels that the longer side of each picture has at most, and at least half of."""
MEAN = 200
"""Pixels of the longest side, or up to twice as many, over which mean colors are taken."""
ROWS = 8
"""Of how many rows at most one is looked at for that."""
MIDDLE = 240
"""Pixels of the longest side of what sharpness and grain are measured on."""
RIM = 2
"""Pixels around a matte that are looked at with it."""
LEAST = 16.0
"""Pixels of a matte below which there is nothing to measure."""


def pictures(job: Job, plate: Plate, layer: Layer) -> NDArray[np.uint8]:
    """(h, 3 w, 3): the region of a frame as plate, as result and as matte, as a viewer sees them."""
    # It is only looked at: laid together when it is small.
    factor = squares(plate.image.shape[-2:], SIDE)
    back, matte = shrunk(plate.image, factor), shrunk(layer.matte, factor)
    rows, columns = occupied(matte)
    here = (..., rows, columns)
    across, down = (slice(line.start * factor, line.stop * factor) for line in (columns, rows))
    front = shrunk(layer.image[..., down, across], factor) if matte[here].numel() else back[here]
    laid = over(front, back[here], matte[here])
    # Both are looked up at once.
    show = job.colors.for_glancing(job.colors.working, like=job.space)
    looked = show(torch.cat([back.flatten(1), laid.flatten(1)], 1)[:, None])
    plain, under = looked[:, 0].split([back[0].numel(), laid[0].numel()], 1)
    seen = plain.view_as(back)
    result = seen.clone()
    result[here] = under.view_as(laid)
    joined = torch.cat([seen, result, matte.expand(3, -1, -1)], -1)
    levels = joined.nan_to_num_(0.0).clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)
    return packed(levels)


def figures(plate: Plate, raw: Layer, layer: Layer) -> dict[str, Any]:
    """What tells a good frame from a bad one, measured under the matte in the working space.

    ``area`` of the matte in plate pixels; ``corner`` and ``size`` of the region; ``unsound``, pixels of the result
    that are no numbers where the plate's are; mean colors ``plate``, ``raw`` (the converter's) and ``result``;
    ``plate_detail``, ``result_detail``, ``plate_grain``, ``result_grain``, see ``ops.judge.textures``.
    """
    # Beyond the matte the result is the plate.
    here = (..., *occupied(layer.matte, RIM))
    back, drawn = plate.image[here], raw.image[here]
    front, soft, unsound = layer.image[here], layer.matte[here], 0
    matte = soft.nan_to_num(0.0).clamp_(0, 1)
    plain = all(bool(torch.isfinite(part.sum())) for part in (front, back, soft))
    if not plain:
        result = over(front, back, soft)
        unsound = int((~torch.isfinite(result).all(0) & torch.isfinite(back).all(0)).sum())
    found: dict[str, Any] = {
        "area": round(float(matte.sum(2).sum(dtype=torch.float64)), 2),
        "corner": list(plate.corner),
        "size": [plate.image.shape[-1], plate.image.shape[-2]],
        "unsound": unsound,
    }
    if found["area"] < LEAST:
        return found
    # The mean over some rows of a large face, and some of their pixels, is that of all.
    every = max(1, max(matte.shape[-2:]) // MEAN) ** 2
    rows = min(every, ROWS)
    some = (..., slice(None, None, rows), slice(None, None, every // rows))
    result = _laid(front[some], back[some], soft[some], plain)
    for name, picture in (("plate", back[some]), ("raw", drawn[some]), ("result", result)):
        found[name] = [_short(value) for value in under(picture, matte[some])]
    part = (..., *middle(matte, MIDDLE))
    result = _laid(front[part], back[part], soft[part], plain)
    for name, (detail, grain) in zip(("plate", "result"), textures((back[part], result), matte[part])):
        found |= {f"{name}_detail": _short(detail), f"{name}_grain": _short(grain)}
    return found


def _laid(front: Image, back: Image, matte: Matte, plain: bool) -> Image:
    """``over``, to a rounding where all is ``plain`` numbers."""
    return torch.lerp(back, front, matte) if plain else over(front, back, matte)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
