"""Contact sheets: pictures of several frames side by side, labeled, as one picture.

Pictures are display-like, uint8 (H, W, 3).
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from mien.files.atomic import appearing
from mien.types import MienError

Picture = NDArray[np.uint8]

GAP = 6
"""Pixels between pictures."""
MARGIN = 24
TEXT = 15
"""Height of labels in pixels; the title is a third larger."""
GROUND, INK, FAINT = 26, 225, 150
"""Gray of the ground, of labels and of remarks."""


def contact_sheet(
    path: Path,
    rows: Sequence[Sequence[Picture]],
    columns: Sequence[str],
    captions: Sequence[str],
    *,
    title: str = "",
    remark: str = "",
    width: int = 400,
) -> None:
    """Write a sheet with one row for each frame and one labeled column for each kind of picture.

    Args:
        path: File to write, PNG or JPEG by its ending.
        rows: Pictures, all of one size; they are scaled to ``width``.
        columns: What each column shows.
        captions: What stands before each row, such as the frame number.
        title: Line on top.
        remark: Fainter line at the bottom.
        width: Width of each picture on the sheet in pixels.

    Raises:
        ValueError: Rows, columns and captions do not fit each other.
        MienError: The file cannot be written.
    """
    if not rows or len(rows) != len(captions) or any(len(row) != len(columns) for row in rows):
        raise ValueError(f"{len(captions)} captions and {len(columns)} columns for rows of {[len(r) for r in rows]}")
    shapes = {picture.shape for row in rows for picture in row}
    if len(shapes) != 1 or shapes.pop()[2:] != (3,):
        raise ValueError(f"pictures of a sheet are (H, W, 3) of one size, not {[p.shape for r in rows for p in r]}")
    height = max(1, round(rows[0][0].shape[0] * width / rows[0][0].shape[1]))
    side = max(text_width(caption, TEXT) for caption in captions) + 2 * GAP
    top = MARGIN + (2 * TEXT if title else 0) + 2 * TEXT
    bottom = MARGIN + (2 * TEXT if remark else 0)
    left = MARGIN + side
    sheet = np.full(
        (
            top + len(rows) * (height + GAP) - GAP + bottom,
            left + len(columns) * (width + GAP) - GAP + MARGIN,
            3,
        ),
        GROUND,
        np.uint8,
    )
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = top + i * (height + GAP), left + j * (width + GAP)
            sheet[y : y + height, x : x + width] = scaled(picture, width, height)
    drawing = oiio.ImageBuf(sheet)
    drawing.specmod().attribute("Compression", "jpeg:92" if path.suffix.lower() in (".jpg", ".jpeg") else "zip")
    if title:
        write_text(drawing, title, left, MARGIN + TEXT, TEXT * 4 // 3, INK)
    for j, column in enumerate(columns):
        write_text(drawing, column, left + j * (width + GAP), top - TEXT * 2 // 3, TEXT, INK)
    for i, caption in enumerate(captions):
        write_text(drawing, caption, MARGIN, top + i * (height + GAP) + TEXT, TEXT, INK)
    if remark:
        write_text(drawing, remark, left, sheet.shape[0] - MARGIN, TEXT, FAINT)
    with appearing(path) as partial:
        if not drawing.write(str(partial), "uint8"):
            raise MienError(f"Cannot write {path}: {drawing.geterror()[:300]}. Choose another folder or make room.")


def over_checkerboard(picture: Picture, matte: NDArray[np.float32], square: int = 16) -> Picture:
    """``picture`` where ``matte`` (H, W) is 1, a gray checkerboard of ``square`` pixels where it is 0."""
    height, width = matte.shape
    y, x = np.ogrid[:height, :width]
    board = np.where((x // square + y // square) % 2, 118, 84).astype(np.float32)[..., None]
    cover = np.nan_to_num(np.clip(matte, 0, 1))[..., None]
    return np.round(board + cover * (picture - board)).astype(np.uint8)


def gray(matte: NDArray[np.float32]) -> Picture:
    """A matte (H, W) as a picture, 0 black and 1 white."""
    level = np.round(255 * np.nan_to_num(np.clip(matte, 0, 1))).astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=2)


def window_around(
    points: NDArray[np.float32], size: tuple[int, int], margin: float = 0.5, shape: float = 1.0
) -> tuple[slice, slice]:
    """Rows and columns of one window that shows all ``points`` (..., 2) of a shot, for cutting pictures of its frames.

    Args:
        points: Positions x, y in pixels; NaN where there are none.
        size: Height and width of the pictures.
        margin: Room on each side, as a share of the points' extent.
        shape: Width of the window over its height, where the picture is large enough.
    """
    flat = points.reshape(-1, points.shape[-1])[:, :2]
    flat = flat[np.isfinite(flat).all(1)]
    if not len(flat):
        return slice(0, size[0]), slice(0, size[1])
    low, high = flat.min(0), flat.max(0)
    wide, tall = (high - low) * (1 + 2 * margin)
    extent = max(tall, wide / shape), max(wide, tall * shape)
    (top, bottom), (left, right) = (
        within(center, length, limit)
        for center, length, limit in zip(((low + high) / 2)[::-1], extent, size, strict=True)
    )
    return slice(top, bottom), slice(left, right)


def within(center: float, length: float, limit: int) -> tuple[int, int]:
    """The span of about ``length`` around ``center``, moved and cut so that it lies between 0 and ``limit``."""
    whole = min(limit, max(1, round(length)))
    start = min(max(0, round(center - whole / 2)), limit - whole)
    return start, start + whole


def scaled(picture: Picture, width: int, height: int) -> Picture:
    """``picture`` at another size, averaged where it shrinks."""
    smaller = width < picture.shape[1]
    shown = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(shown, np.uint8)


def write_text(drawing: oiio.ImageBuf, text: str, x: int, y: int, height: int, level: int) -> None:
    """Write ``text`` into ``drawing`` from (x, y), the left end of its base line, in gray ``level``."""
    if not oiio.ImageBufAlgo.render_text(drawing, x, y, text, height, font(), (level / 255,) * 3):
        raise MienError(f"Cannot draw text: {drawing.geterror()[:300]}. Install OpenImageIO from PyPI with pip.")


def text_width(text: str, height: int) -> int:
    """Width of ``text`` in pixels."""
    return int(oiio.ImageBufAlgo.text_size(text, height, font()).width)


def font() -> str:
    """The typeface that matplotlib brings."""
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
