"""A face set as a trainer reads it: display-like crops of one size, on the device or streamed from disk.

The pictures are prepared once and kept in one flat file, named by what it was made from: (N, 5, P, P) half
floats, R, G, B, matte, and where eyes, brows and mouth are.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mien.color import Colors
from mien.files.atomic import appearing
from mien.files.faceset import FaceSet, read_face
from mien.files.whole import read_small
from mien.models.aligned import part_mattes
from mien.ops.warp import warp
from mien.pipeline import overlap
from mien.progress import Advance, Note, Tell
from mien.types import MienError

CHANNELS = 5
BLOCK = 8
"""Neighbors in time that are held out together: a frame beside one that was learned from is no test."""
RESIDENT = 1 << 30
"""Bytes of pictures that are kept in memory; larger stocks are read as they are needed."""


LARGEST_LIST = 1 << 26
"""Bytes of the largest list of pictures that is read."""


@dataclass(frozen=True)
class Stock:
    """The pictures of one person.

    Attributes:
        pictures: (N, 5, P, P) half floats, in memory or mapped from disk.
        learned, held: Rows to learn from, and rows to test on.
        margin: Side of the pictures over that of what the network sees.
        digest: Hash of the face set.
    """

    pictures: Tensor
    learned: Tensor
    held: Tensor
    margin: float
    digest: str

    def rows(self, index: Tensor, device: torch.device) -> Tensor:
        """(B, 5, P, P) float pictures of these rows, on the device."""
        return self.pictures[index.to(self.pictures.device)].to(device, non_blocking=True).float()


def stock(
    faceset: FaceSet,
    size: int,
    coverage: float,
    path: Path,
    colors: Colors,
    device: torch.device,
    tell: Tell,
) -> Stock:
    """Prepare a face set for a network that sees ``size`` pixels at ``coverage`` face heights.

    ``path`` is what the flat file's name begins with.

    Raises:
        MienError: No picture of the set can be read, or the folder cannot be written.
    """
    margin = max(1.0, faceset.coverage / coverage)
    side = round(size * margin)
    made_from = [faceset.digest, side, colors.digest, CHANNELS]
    key = hashlib.blake2b(json.dumps(made_from).encode(), digest_size=8).hexdigest()
    folder, name = path.parent, path.name
    path, index = folder / f"{name}.{key}.half", folder / f"{name}.{key}.json"
    count = _count(path, index, side)
    if not count:
        if path.is_file():
            tell(Note(f"{path} is not whole: it is made again.", "warning"))
        for former in folder.glob(f"{name}.*.half"):
            former.unlink(missing_ok=True)
        _prepare(faceset, side, path, index, colors, tell)
        count = _count(path, index, side)
    if not count:
        raise MienError(f"{path} is not whole. Delete it and start again.")
    values = count * CHANNELS * side * side
    pictures = torch.from_file(str(path), shared=False, size=values, dtype=torch.half)
    pictures = pictures.view(count, CHANNELS, side, side)
    if 2 * values <= RESIDENT:
        pictures = pictures.to(device, copy=True)
    held = held_out(count)
    learned = sorted(set(range(count)) - set(held)) or held
    return Stock(pictures, torch.tensor(learned), torch.tensor(held), faceset.coverage / coverage, faceset.digest)


def _count(path: Path, index: Path, side: int) -> int:
    """How many pictures lie in the flat file; 0 where it or its list is not whole."""
    if not (path.is_file() and index.is_file()):
        return 0
    try:
        rows = json.loads(read_small(index, LARGEST_LIST, "list of pictures"))
    except (ValueError, RecursionError):
        return 0
    count = len(rows) if isinstance(rows, list) else 0
    return count if path.stat().st_size == 2 * count * CHANNELS * side * side else 0


def held_out(count: int) -> list[int]:
    """Every tenth block of neighbors; of a set too small for that, its last picture."""
    block = min(BLOCK, max(1, count // 10))
    return [row for row in range(count) if (row // block) % 10 == 9] or [count - 1]


def evenly(rows: Tensor, most: int) -> Tensor:
    """At most so many of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[torch.linspace(0, len(rows) - 1, most).long()]


def _prepare(faceset: FaceSet, side: int, path: Path, index: Path, colors: Colors, tell: Tell) -> None:
    to_working = colors.between(faceset.space, colors.working)
    scale = torch.diag(torch.tensor([side / faceset.size, side / faceset.size, 1.0], dtype=torch.float64))
    total, rows = len(faceset.faces), list[int]()
    with appearing(path) as partial, partial.open("wb") as stream:

        def read(row: int) -> Tensor:
            return torch.from_numpy(read_face(faceset.picture(row), faceset.size)).movedim(-1, 0)

        def make(row: int, values: Tensor) -> Tensor:
            shown = colors.encoding.encode(to_working(values[:3].contiguous()))
            small = warp(torch.cat([shown, values[3:].nan_to_num(0)]), scale, (side, side)).clamp(0, 1)
            parts = part_mattes(faceset.points[row] * (side / faceset.size), side).amax(0, keepdim=True)
            return torch.cat([small, parts]).half().contiguous()

        def keep(row: int, made: Tensor) -> None:
            stream.write(made.numpy().tobytes())
            rows.append(row)

        for done, (row, error) in enumerate(overlap(range(total), read, make, keep), start=1):
            if error is not None:
                tell(Note(f"Skipped: {error}", "warning"))
            if done % 50 == 0 or done == total:
                tell(Advance("faceset", done, total, row))
        if not rows:
            raise MienError(f"No picture of {faceset.folder} can be read. Extract the face set again.")
    with appearing(index) as partial:
        partial.write_text(json.dumps(rows), "utf-8")


class Ahead:
    """The pictures of the next step, read while the present one is computed."""

    def __init__(self, stocks: Sequence[Stock], device: torch.device) -> None:
        self._stocks, self._device = stocks, device
        self._reader = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[list[Tensor]]] | None = None

    def take(self, step: int, wanted: Callable[[int], list[Tensor]]) -> list[Tensor]:
        """The pictures whose rows ``wanted`` names for a step."""
        ready = self._next
        now = ready[1].result() if ready is not None and ready[0] == step else self._read(wanted(step))
        self._next = (step + 1, self._reader.submit(self._read, wanted(step + 1)))
        return now

    def _read(self, rows: list[Tensor]) -> list[Tensor]:
        return [one.rows(index, self._device) for one, index in zip(self._stocks, rows)]
