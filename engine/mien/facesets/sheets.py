"""Contact sheets of a face set: every face, in the set's order, some hundred to a page."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from mien.color import Colors
from mien.facesets.report import Picture, shown
from mien.files.faceset import FaceSet
from mien.files.whole import write_whole
from mien.types import MienError

SIDE, ACROSS, DOWN = 96, 20, 12
CAPTION = 14
"""Rows under a face, which hold its number in the index, its yaw, and its frame."""
FOLDER = "sheets"


def write_sheets(faceset: FaceSet, colors: Colors) -> Iterator[tuple[int, Path]]:
    """Write the pages into the set's folder, one after the other; gives how many faces are done, and the page.

    Faces that cannot be read stay dark.

    Raises:
        MienError: A page cannot be written.
    """
    count, each = len(faceset.faces), ACROSS * DOWN
    for page, first in enumerate(range(0, count, each), start=1):
        rows = range(first, min(first + each, count))
        path = faceset.folder / FOLDER / f"{page:04d}.jpg"
        write_whole(path, cv2.imencode(".jpg", _page(faceset, rows, colors)[..., ::-1])[1].tobytes())
        yield rows.stop, path


def clear_sheets(folder: Path) -> None:
    """Remove the pages that were written of a set before: it may hold other faces now."""
    for former in (folder / FOLDER).glob("[0-9][0-9][0-9][0-9].jpg"):
        former.unlink(missing_ok=True)


def _page(faceset: FaceSet, rows: range, colors: Colors) -> Picture:
    tall = SIDE + CAPTION
    page = np.full((-(-len(rows) // ACROSS) * tall, ACROSS * SIDE, 3), 27, np.uint8)
    for place, row in enumerate(rows):
        top, left = place // ACROSS * tall, place % ACROSS * SIDE
        face = faceset.faces[row]
        with suppress(MienError):
            page[top : top + SIDE, left : left + SIDE] = shown(faceset, row, SIDE, colors)[0]
        text, foot = f"{row}  {face.yaw:+.0f}  {face.frame}", (left + 2, top + SIDE + CAPTION - 4)
        cv2.putText(page, text, foot, cv2.FONT_HERSHEY_SIMPLEX, 0.33, (190, 190, 190), 1, cv2.LINE_AA)
    return page
