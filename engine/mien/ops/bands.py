"""Pictures in bands of rows: what several operations in a row read and write then stays in a processor's cache."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

PIXELS = 1 << 15
"""Pixels of one channel that a processor's core works on at once."""


def bands(picture: Tensor, share: float = 1) -> Iterator[slice]:
    """Rows of a (..., H, W) picture, so many at a time as the caches of all cores hold; all of them on a GPU.

    ``share`` divides that: 2 takes half as many rows, for work on many channels at once.
    """
    height, width = picture.shape[-2:]
    step = height
    if picture.device.type == "cpu":
        step = max(16, int(PIXELS * torch.get_num_threads() / (share * max(width, 1))))
    for top in range(0, height, max(step, 1)):
        yield slice(top, min(height, top + step))


def shown(matte: Tensor, rows: Sequence[slice], reach: int = 0, whole: float = 1.0) -> list[tuple[slice, slice]]:
    """For each of some bands of rows of an (H, W) matte, which columns see anything of it within ``reach`` pixels, and
    which of these, side by side around their middle, see no less than ``whole``; empty slices for none."""
    if not rows:
        return []
    near = [matte[max(0, band.start - reach) : band.stop + reach] for band in rows]
    most, least = (torch.stack(lines) for lines in ([part.amax(0) for part in near], [part.amin(0) for part in near]))
    if bool(most.isnan().any()):
        return shown(matte.nan_to_num(0.0), rows, reach, whole)
    width = matte.shape[1]
    seen = (most > 0).view(torch.uint8)
    first, last = seen.argmax(1), width - seen.flip(1).argmax(1)
    place, middle = torch.arange(width, device=matte.device), ((first + last) // 2)[:, None]
    hole = least < whole
    start = torch.where(hole & (place <= middle), place, -1).amax(1) + 1
    stop = torch.where(hole & (place >= middle), place, width).amin(1)
    found = []
    for any_there, *ends in torch.stack([seen.amax(1).long(), first, last, start, stop], 1).tolist():
        columns = slice(max(0, ends[0] - reach), min(width, ends[1] + reach)) if any_there else slice(0, 0)
        inside = slice(ends[2] + reach, ends[3] - reach)
        found.append((columns, inside if inside.start < inside.stop else slice(columns.start, columns.start)))
    return found
