"""Pixels for another process: ordinary uncompressed EXR files on a memory file system, laid out so that a
program without an EXR library can map them and read.

A file holds one scanline part without compression. From ``offset`` on rows follow each other every ``stride``
bytes, top row first; a row holds ``width`` values of the first channel, then of the second, and so on, in the
order of ``channels``, as little-endian half or float. All else in the file is what the format demands.

Memory of files that nobody needs any more is written again under a new name: pages that the system has cleared
once need no clearing again, which costs more than writing them.
"""

import mmap
import os
import re
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.files.atomic import alive
from mien.files.bare import BYTES, Pair, bare_header, in_order, offsets
from mien.types import MienError

MEMORY = Path("/dev/shm")
"""A file system in main memory, where there is one."""
KEPT = 8
"""Files that stay untouched after newer ones were handed over, unless they are released."""
GRAIN = 1 << 20
"""Files grow in steps of so many bytes, so that pictures of nearly the same size share their memory."""
ROOM = 1 << 30
"""Bytes that must be free there."""
_FOLDER = re.compile(r"mien-(?P<process>\d+)-\w+")


@dataclass(frozen=True)
class Layout:
    """Where the pixels of a handed-over file lie.

    Attributes:
        width, height: Of the data window.
        channels: Names in the order of the file.
        pixels: ``half`` or ``float``.
        offset: Bytes before the first value of the top row.
        stride: Bytes from one row to the next.
        header: Everything that comes before the first row.
    """

    width: int
    height: int
    channels: tuple[str, ...]
    pixels: str
    offset: int
    stride: int
    header: bytes = field(repr=False)

    @property
    def length(self) -> int:
        """Bytes of the whole file."""
        return self.offset - 8 + self.height * self.stride


def layout(
    channels: Sequence[str],
    *,
    size: Pair,
    corner: Pair,
    window: Pair,
    origin: Pair = (0, 0),
    aspect: float = 1.0,
    pixels: str = "half",
    attributes: Mapping[str, str] | None = None,
) -> Layout:
    """The header of an EXR with these channels, and where its pixels lie; ``bare_header`` says what is what."""
    names, (width, height) = in_order(channels), size
    head = bare_header(
        names,
        size=size,
        corner=corner,
        window=window,
        origin=origin,
        aspect=aspect,
        pixels=pixels,
        attributes=attributes,
    )
    stride = 8 + width * BYTES[pixels] * len(names)
    head += offsets(len(head), stride, height)
    return Layout(width, height, names, pixels, len(head) + 8, stride, head)


@dataclass
class _Slot:
    """A file and its memory."""

    path: Path
    memory: mmap.mmap


class HandOver:
    """A folder of pictures for another process; usable from several threads.

    A file stays as it is until it is released or until ``kept`` newer ones were handed over. The folder is a new
    one, inside of the one named or of a memory file system.
    """

    def __init__(self, folder: Path | None = None, kept: int = KEPT) -> None:
        self.folder = _private_folder(folder)
        self._kept = kept
        self._given: OrderedDict[str, _Slot] = OrderedDict()
        self._free: list[_Slot] = []
        self._count = 0
        self._lock = threading.Lock()

    def give(self, shape: Layout, corner: tuple[int, int], planes: Mapping[str, Tensor]) -> Path:
        """Write planes (height, width), by the names of the layout's channels, into a file of their own.

        ``corner`` is that of the data window. Values are stored as they are, rounded to the file's type.

        Raises:
            MienError: There is no room.
        """
        with self._lock:
            slot = self._slot(shape.length)
            _fill(slot.memory, shape, corner[1], planes)
            self._count += 1
            path = self.folder / f"{self._count:08d}.exr"
            slot.path.rename(path)
            slot.path = path
            self._given[path.name] = slot
            return path

    def release(self, name: str) -> None:
        """Let the memory of a file be used again; unknown names are none of ours any more."""
        with self._lock:
            if slot := self._given.pop(name, None):
                self._free.append(slot)

    def close(self) -> None:
        """Remove every file and the folder."""
        with self._lock:
            for slot in (*self._given.values(), *self._free):
                slot.memory.close()
            self._given.clear()
            self._free.clear()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _slot(self, length: int) -> _Slot:
        length = -(-length // GRAIN) * GRAIN
        while len(self._given) >= self._kept:
            self._free.append(self._given.popitem(last=False)[1])
        self._free.sort(key=lambda slot: len(slot.memory))
        fitting = next((i for i, slot in enumerate(self._free) if length <= len(slot.memory) <= 2 * length), None)
        if fitting is not None:
            return self._free.pop(fitting)
        while self._free:
            slot = self._free.pop()
            slot.memory.close()
            slot.path.unlink(missing_ok=True)
        path = self.folder / f"new-{self._count}.exr"
        try:
            with path.open("w+b") as file:
                # Room is claimed now: writing into a full memory file system later would end the process.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, length)
                file.truncate(length)
                return _Slot(path, mmap.mmap(file.fileno(), length))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise MienError(
                f"No room for {length >> 20} MiB of pixels in {self.folder}: {error.strerror}. "
                "Choose a smaller proxy scale, or a folder with more room."
            ) from error


def _fill(memory: mmap.mmap, shape: Layout, top: int, planes: Mapping[str, Tensor]) -> None:
    memory[: len(shape.header)] = shape.header
    kind = np.float16 if shape.pixels == "half" else np.float32
    rows = np.ndarray((shape.height, 2), "<i4", memory, shape.offset - 8, (shape.stride, 4))
    rows[:, 0] = np.arange(top, top + shape.height)
    rows[:, 1] = shape.stride - 8
    wide = kind().itemsize
    strides = (shape.stride, shape.width * wide, wide)
    values = np.ndarray((shape.height, len(shape.channels), shape.width), kind, memory, shape.offset, strides)
    target = torch.from_numpy(values)
    for index, name in enumerate(shape.channels):
        target[:, index].copy_(planes[name])


def _private_folder(place: Path | None) -> Path:
    """A new folder that only this user can look into; those of processes that are gone are removed."""
    if place is None:
        place = Path(tempfile.gettempdir())
        if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
            place = MEMORY
    for path in place.glob("mien-*"):
        name = _FOLDER.fullmatch(path.name)
        if name and not alive(int(name["process"])):
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid():
                    shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"mien-{os.getpid()}-", dir=place))
