"""Preview grids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mien.sheet import contact_sheet

LEAST = 128
"""Pixels that a picture of a preview is at least wide."""


def display(pictures: Tensor) -> list[NDArray[np.uint8]]:
    """(B, 1 or 3, H, W) display-like pictures for looking at."""
    three = pictures.detach().float().clamp(0, 1).expand(-1, 3, -1, -1)
    return list((three.movedim(1, -1).cpu().numpy() * 255 + 0.5).astype(np.uint8))


def write_grid(path: Path, columns: Sequence[Sequence[NDArray[np.uint8]]], names: Sequence[str], title: str) -> None:
    """Write a grid with one named column for each list of pictures.

    Raises:
        MienError: It cannot be written.
    """
    rows = [list(row) for row in zip(*columns)]
    width = max(LEAST, rows[0][0].shape[1])
    contact_sheet(path, rows, names, [str(number + 1) for number in range(len(rows))], title=title, width=width)
