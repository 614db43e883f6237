"""Whether an EXR reaches to its end: told by its table of offsets, without reading pixels.

Public: ``complete``.
"""

import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = 20000630
LONG_NAMES, DEEP, MULTIPLE, TILED = 1 << 10, 1 << 11, 1 << 12, 1 << 9
LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Scanlines of a chunk, by compression."""
LEVELS = 15
"""Bits of a description of tiles that say of more levels than one."""
MOST_HEADER = 1 << 24
MOST_CHUNKS = 1 << 24
Header = dict[bytes, bytes]


def complete(path: Path) -> bool:
    """Whether the file holds all that its table of offsets promises.

    A file that was cut short by a full disk or a copy still has its header. Deep files and those with many parts or
    levels of tiles, which mien does not write, count as complete where their headers can be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            magic, version = struct.unpack("<iI", _read(stream, 8))
            if magic != MAGIC:
                return False
            headers = _headers(stream, bool(version & MULTIPLE))
            tiled = bool(version & TILED)
            kind = b"tiledimage" if tiled else b"scanlineimage"
            others = any(header.get(b"type", kind) != kind for header in headers)
            if version & DEEP or others or (tiled and headers[0][b"tiles"][8] & LEVELS):
                return True
            count = sum(_chunks(header) for header in headers)
            if not 0 < count <= MOST_CHUNKS:
                return False
            offsets = struct.unpack(f"<{count}Q", _read(stream, 8 * count))
            if min(offsets) == 0 or max(offsets) >= size:
                return False
            stream.seek(max(offsets))
            lead = (16 if tiled else 4) + (4 if version & MULTIPLE else 0)
            length = int(struct.unpack("<i", _read(stream, lead + 4)[lead:])[0])
            return bool(max(offsets) + lead + 4 + length <= size)
    except (OSError, struct.error, KeyError, IndexError, ZeroDivisionError, EOFError):
        return False


def _read(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _headers(stream: BinaryIO, several: bool) -> list[Header]:
    headers: list[Header] = []
    while True:
        header: Header = {}
        while name := _name(stream):
            _name(stream)
            (length,) = struct.unpack("<i", _read(stream, 4))
            if not 0 <= length <= MOST_HEADER:
                raise EOFError
            header[name] = _read(stream, length)
        if header:
            headers.append(header)
        if not several or not header:
            return headers


def _name(stream: BinaryIO) -> bytes:
    letters = bytearray()
    while (letter := _read(stream, 1)) != b"\0":
        letters += letter
        if len(letters) > 255:
            raise EOFError
    return bytes(letters)


def _chunks(header: Header) -> int:
    if b"chunkCount" in header:
        return int(struct.unpack("<i", header[b"chunkCount"])[0])
    left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
    if b"tiles" in header:
        across, down = struct.unpack("<2I", header[b"tiles"][:8])
    else:
        across, down = right - left + 1, LINES[header[b"compression"][0]]
    return int(-(-(right - left + 1) // across) * -(-(bottom - top + 1) // down))
