"""Whether an EXR reaches to its end: told by its table of offsets, without reading pixels.

Public: ``complete``.
"""

import struct
from pathlib import Path

from mien.files.entries import DEEP, LINES, SEVERAL, TILED, Entries, read_bytes, read_entries

LEVELS = 15
"""Bits of a description of tiles that say of more levels than one."""
MOST_CHUNKS = 1 << 24


def complete(path: Path) -> bool:
    """Whether the file holds all that its table of offsets promises.

    A file that was cut short by a full disk or a copy still has its header. Deep files and those with many parts or
    levels of tiles, which mien does not write, count as complete where their headers can be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            version, headers = read_entries(stream)
            tiled = bool(version & TILED)
            kind = b"tiledimage" if tiled else b"scanlineimage"
            others = any(header.get(b"type", kind) != kind for header in headers)
            if version & DEEP or others or (tiled and headers[0][b"tiles"][8] & LEVELS):
                return True
            count = sum(_chunks(header) for header in headers)
            if not 0 < count <= MOST_CHUNKS:
                return False
            offsets = struct.unpack(f"<{count}Q", read_bytes(stream, 8 * count))
            if min(offsets) == 0 or max(offsets) >= size:
                return False
            stream.seek(max(offsets))
            lead = (16 if tiled else 4) + (4 if version & SEVERAL else 0)
            length = int(struct.unpack("<i", read_bytes(stream, lead + 4)[lead:])[0])
            return bool(max(offsets) + lead + 4 + length <= size)
    except (OSError, struct.error, KeyError, IndexError, ZeroDivisionError, EOFError):
        return False


def _chunks(header: Entries) -> int:
    if b"chunkCount" in header:
        return int(struct.unpack("<i", header[b"chunkCount"])[0])
    left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
    if b"tiles" in header:
        across, down = struct.unpack("<2I", header[b"tiles"][:8])
    else:
        across, down = right - left + 1, LINES[header[b"compression"][0]]
    return int(-(-(right - left + 1) // across) * -(-(bottom - top + 1) // down))
