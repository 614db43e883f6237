"""A region of a large EXR: of the lines it lies on, what lies beside it is unpacked but never put together.

Lines packed with ZIP hold the first bytes of all their pairs, then the second ones, each as the difference from the one
before (https://openexr.com/en/latest/TechnicalIntroduction.html#data-compression). Where a region begins, the sum of
all before it is enough. On one thread that is three to five times as fast as the wheels of OpenImageIO and OpenEXR,
which undo every byte of a line, one after the other.

What is out of the ordinary, and what cannot be read, is left to OpenImageIO, which then tells why.

Public: ``read_lines``.
"""

import io
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from mien.files.entries import DEEP, LINES, SEVERAL, TILED, Entries, read_bytes, read_entries
from mien.files.region import Region

TYPES: tuple[type[np.generic], ...] = (np.uint32, np.float16, np.float32)
"""Types of values by their numbers."""
NONE, ZIPS, ZIP = 0, 2, 3
WIDEST = 0.75
"""Share of a line from which on nothing is gained."""
AT_ONCE = 1 << 22
"""Bytes that are put together at once: in few large steps, since after each one waits for the interpreter, which the
other stages of a render have then; and near the processor."""
Octets = NDArray[np.uint8]
# The stub takes the class for one of its errors.
_Damaged = cast(type[Exception], isal_zlib.error)


@dataclass(frozen=True)
class _Channel:
    """Where a channel lies: bytes of a line before it, and the type of its values."""

    place: int
    type: type[np.generic]


@dataclass(frozen=True)
class _Chunk:
    """Some lines as they are stored, from line ``first``; ``packed`` unless packing made them no smaller."""

    first: int
    lines: int
    content: memoryview
    packed: bool


def read_lines(path: Path, channels: Sequence[str], wanted: Region) -> NDArray[Any] | None:
    """(channels, height, width) values as stored of a region in the file's own coordinates.

    None where the file is not one part of plain lines, uncompressed or ZIP, whose ``channels`` are of one type and all
    in full resolution; where it is damaged there; and where it does not hold the region, or hardly more than its lines.
    """
    try:
        with path.open("rb") as stream:
            version, (header,) = read_entries(stream)
            left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
            inside = left <= wanted.x < wanted.right <= right + 1 and top <= wanted.y < wanted.bottom <= bottom + 1
            across = right - left + 1
            if version & (TILED | DEEP | SEVERAL) or not inside or wanted.width > WIDEST * across:
                return None
            stride, listed = _layout(header[b"channels"], across)
            found = [listed[name.encode()] for name in channels]
            if len({channel.type for channel in found}) != 1:
                return None
            pixels = np.empty((len(found), wanted.height, wanted.width), found[0].type)
            size = pixels.itemsize
            spans = [slice(c.place + size * (wanted.x - left), c.place + size * (wanted.right - left)) for c in found]
            for group in _groups(_chunks(stream, header, stride, wanted.y, wanted.bottom), stride):
                first, lines = group[0].first, sum(chunk.lines for chunk in group)
                begin, end = max(first, wanted.y), min(first + lines, wanted.bottom)
                for out, values in zip(pixels, _values(group, stride, spans)):
                    out[begin - wanted.y : end - wanted.y] = values[begin - first : end - first].view(pixels.dtype)
            return pixels
    except (OSError, EOFError, struct.error, KeyError, IndexError, ValueError, _Damaged):
        return None


def _layout(listed: bytes, across: int) -> tuple[int, dict[bytes, _Channel]]:
    """Bytes of a line, and where each channel lies in it.

    Raises:
        struct.error: Cut short. IndexError: No such type. ValueError: A channel of lower resolution, or out of order.
    """
    stride, last, found = 0, b"", {}
    while listed != b"\0":
        name, _, rest = listed.partition(b"\0")
        number, _, *steps = struct.unpack("<I3i", rest[:16])
        if steps != [1, 1] or name <= last:
            raise ValueError(name)
        last = name
        found[name] = _Channel(stride, TYPES[number])
        stride += across * np.dtype(TYPES[number]).itemsize
        listed = rest[16:]
    return stride, found


def _chunks(stream: BinaryIO, header: Entries, stride: int, begin: int, end: int) -> Iterator[_Chunk]:
    """The chunks that hold the lines from ``begin`` to before ``end``; ``stream`` stands at the table of offsets.

    Raises:
        EOFError: A chunk that is not there or not what the table says.
    """
    _, top, _, bottom = struct.unpack("<4i", header[b"dataWindow"])
    compression = header[b"compression"][0]
    if compression not in (NONE, ZIPS, ZIP):
        raise EOFError
    each = LINES[compression]
    numbers = range((begin - top) // each, (end - 1 - top) // each + 1)
    stream.seek(8 * numbers[0], io.SEEK_CUR)
    table = struct.unpack(f"<{len(numbers)}Q", read_bytes(stream, 8 * len(numbers)))
    there = os.fstat(stream.fileno()).st_size
    if not table[0] <= table[-1] < there:
        raise EOFError
    # One after the other, as everybody writes them, they are read at once.
    stream.seek(table[0])
    span = memoryview(stream.read(min(table[-1] + 8 + each * stride, there) - table[0]))
    for number, place in zip(numbers, table):
        first = top + number * each
        lines = min(each, bottom + 1 - first)
        if not 0 <= place - table[0] <= len(span) - 8:
            raise EOFError
        line, length = struct.unpack_from("<2i", span, place - table[0])
        content = span[place - table[0] + 8 :][: max(length, 0)]
        # What does not become smaller is stored as it is.
        if line != first or not 0 < length == len(content) <= lines * stride:
            raise EOFError
        packed = length < lines * stride
        if packed and compression == NONE:
            raise EOFError
        yield _Chunk(first, lines, content, packed)


def _groups(chunks: Iterator[_Chunk], stride: int) -> Iterator[list[_Chunk]]:
    """Chunks that can be put together at once: of as many lines, packed or not."""
    group: list[_Chunk] = []
    for chunk in chunks:
        alike = group and (group[0].lines, group[0].packed) == (chunk.lines, chunk.packed)
        if group and not (alike and len(group) * chunk.lines * stride < AT_ONCE):
            yield group
            group = []
        group.append(chunk)
    yield group


def _values(group: Sequence[_Chunk], stride: int, spans: Sequence[slice]) -> Iterator[NDArray[Any]]:
    """(lines, ...) memory of each span of bytes of every line.

    Raises:
        EOFError: Too few bytes, or too many. isal_zlib.error: No such stream, or a damaged one.
    """
    lines = group[0].lines
    if not group[0].packed:
        rows = np.frombuffer(b"".join(chunk.content for chunk in group), np.uint8).reshape(-1, stride)
        yield from (np.ascontiguousarray(rows[:, span]) for span in spans)
        return
    differences = np.frombuffer(b"".join(_unpacked(chunk.content, lines * stride) for chunk in group), np.uint8)
    # The first bytes of all pairs in a chunk, then the second ones; values are of one pair or two.
    halves = differences.reshape(len(group), 2 * lines, stride // 2)
    # In one pass: up to each span, over it, up to the next, and over the rest.
    cuts = sorted({0, *(edge // 2 for span in spans for edge in (span.start, span.stop))} - {stride // 2})
    sums = np.add.reduceat(halves, cuts, axis=2, dtype=np.uint8)
    totals = np.add.reduce(sums, axis=2, dtype=np.uint8)
    before = np.add.accumulate(totals, axis=1, dtype=np.uint8) - totals
    # Differences have 128 added, from a chunk's second byte on: together 128 at every other byte.
    before ^= _at_odd(np.arange(2 * lines) * (stride // 2))
    for span in spans:
        place = slice(span.start // 2, span.stop // 2)
        start = before + np.add.reduce(sums[..., : cuts.index(place.start)], axis=2, dtype=np.uint8)
        octets = np.add.accumulate(halves[..., place], axis=2, dtype=np.uint8)
        octets += start[..., None]
        octets ^= _at_odd(np.arange(place.start, place.stop))
        first, second = octets.reshape(len(group), 2, -1).swapaxes(0, 1)
        pairs = second.astype("<u2")
        pairs <<= 8
        pairs |= first
        yield pairs.reshape(len(group) * lines, -1)


def _at_odd(numbers: NDArray[np.int_]) -> Octets:
    """128 where a number is odd."""
    return (numbers % 2 * 128).astype(np.uint8)


def _unpacked(content: memoryview, size: int) -> bytes:
    unpacking = isal_zlib.decompressobj()
    # One byte more is asked for, so that its end is looked for and what claims to be larger fills no memory.
    unpacked: bytes = unpacking.decompress(content, size + 1)
    if not unpacking.eof or len(unpacked) != size:
        raise EOFError
    return unpacked
