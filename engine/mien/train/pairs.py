"""Pairs of pictures, before and after, as a trainer reads them.

Each pair lies in one flat file of half floats, encoded as the network sees it; small stocks are kept on the device,
large ones mapped from disk. Patches are cut at random, half of them where before and after differ.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from mien.files.atomic import appearing
from mien.train.augment import spread
from mien.train.kept import read_list, write_list
from mien.types import MienError

RESIDENT = 2 << 30
"""Bytes of pairs that are kept in memory."""
CELL = 16
"""Side, in pixels, of the cells in which differences are counted."""


@dataclass(frozen=True)
class Pair:
    """One pair.

    Attributes:
        name: What people call it, such as a frame.
        pictures: (I + O, H, W) half floats: before, then after.
        changed: (cells,) how much before and after differ, summed up from cell to cell, ending in 1.
        across: Cells in a row.
    """

    name: str
    pictures: Tensor
    changed: Tensor
    across: int


@dataclass(frozen=True)
class Views:
    """How patches are varied: degrees, share of the size, and how often they are mirrored."""

    turn: float = 4.0
    zoom: float = 0.15
    flip: float = 0.5


def keep_pairs(pairs: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    """Write pairs of (C, H, W) encoded pictures into ``folder``, the list of them last.

    Raises:
        MienError: Nothing to write, or no room.
    """
    entries = []
    for number, (name, pictures) in enumerate(pairs):
        path = folder / f"{number:05d}.half"
        with appearing(path) as partial:
            partial.write_bytes(pictures.half().contiguous().numpy().tobytes())
        entries.append((name, pictures.shape))
    if not entries:
        raise MienError("There is no pair to learn from. Check that before and after have frames in common.")
    write_list(folder / "pairs.json", entries)


def kept_pairs(folder: Path, inputs: int, device: torch.device) -> list[Pair]:
    """The pairs that ``keep_pairs`` wrote.

    Raises:
        MienError: A file is not whole.
    """
    entries = read_list(folder / "pairs.json", 3, ".half", 2)
    total = sum(2 * math.prod(shape) for _, shape, _ in entries)
    pairs = []
    for name, shape, path in entries:
        if shape[0] <= inputs:
            raise MienError(f"{folder} holds pairs of {shape[0]} channels. Delete it and start again.")
        pictures = torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=torch.half).view(shape)
        if total <= RESIDENT:
            pictures = pictures.to(device, copy=True)
        pairs.append(Pair(name, pictures, *_changes(pictures, inputs)))
    return pairs


def _changes(pictures: Tensor, inputs: int) -> tuple[Tensor, int]:
    before, after = pictures[:inputs].float(), pictures[inputs:].float()
    if before.shape[0] == 3 and after.shape[0] >= 3:
        apart = (before - after[:3]).abs().amax(0)
    else:
        # What is learned is a matte: its edges are where there is something to learn.
        apart = after.amax(0) - functional.avg_pool2d(after.amax(0)[None], 9, 1, 4)[0]
    cells = functional.avg_pool2d(apart.abs()[None], CELL, ceil_mode=True)[0]
    # Noise and compression differ everywhere: what counts is what stands out of it.
    cells = (cells - cells.median()).clamp(min=0).flatten().double()
    total = cells.cumsum(0)
    even = torch.arange(1, len(cells) + 1, dtype=torch.double) / len(cells)
    share = total.cpu() / total[-1].cpu() if float(total[-1]) > 0 else even
    return share, -(-pictures.shape[-1] // CELL)


def patch(pair: Pair, size: int, views: Views, random: torch.Generator, device: torch.device) -> Tensor:
    """(1, C, size, size) of a pair, turned and scaled at random."""
    height, width = pair.pictures.shape[-2:]
    zoom = float(torch.exp(spread(1, views.zoom, random)))
    angle = math.radians(float(spread(1, views.turn, random)))
    mirror = -1.0 if float(torch.rand((), generator=random)) < views.flip else 1.0
    anywhere, where, x, y = torch.rand(4, generator=random).double().tolist()
    # Pictures smaller than a patch are shown whole, larger ones in patches of their own scale.
    scale = min(zoom, min(height, width) / size)
    half = size * scale / 2
    if anywhere < 0.5:
        cell = min(int(torch.searchsorted(pair.changed, where)), len(pair.changed) - 1)
        row, column = divmod(cell, pair.across)
        wanted = (column + 0.5) * CELL + (2 * x - 1) * half / 2, (row + 0.5) * CELL + (2 * y - 1) * half / 2
    else:
        wanted = half + x * (width - 2 * half), half + y * (height - 2 * half)
    center = [min(max(place, half), max(half, side - half)) for place, side in zip(wanted, (width, height))]
    reach = half * (abs(math.cos(angle)) + abs(math.sin(angle))) + 2
    left, top = max(0, int(center[0] - reach)), max(0, int(center[1] - reach))
    right, bottom = min(width, int(center[0] + reach) + 1), min(height, int(center[1] + reach) + 1)
    part = pair.pictures[None, :, top:bottom, left:right].to(device).float()
    cosine, sine = math.cos(angle) * scale * size, math.sin(angle) * scale * size
    high, wide = bottom - top, right - left
    middle = 2 * (center[0] - left) / wide - 1, 2 * (center[1] - top) / high - 1
    rows = [[cosine * mirror / wide, -sine / wide, middle[0]], [sine * mirror / high, cosine / high, middle[1]]]
    place = functional.affine_grid(torch.tensor([rows], device=device), [1, 1, size, size], align_corners=False)
    return functional.grid_sample(part, place, padding_mode="reflection", align_corners=False)
