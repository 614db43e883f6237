"""The entries of EXR headers, as bytes: https://openexr.com/en/latest/OpenEXRFileLayout.html.

For what libraries neither say of a file nor do with it. Nothing that a header claims is trusted: sizes are bounded,
and what is missing ends in ``EOFError``.

Public: ``Entries``, ``entry``, ``read_bytes``, ``read_entries``.
"""

import struct
from typing import BinaryIO

MAGIC, VERSION = 20000630, 2
TILED, DEEP, SEVERAL = 1 << 9, 1 << 11, 1 << 12
"""What the version field says of a file beside the version."""
LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Scanlines of a chunk, by compression."""
MOST = 1 << 24
LONGEST = 255
Entries = dict[bytes, bytes]
"""Values of a header by name."""


def entry(name: str, kind: str, value: bytes) -> bytes:
    """An entry as a header holds it."""
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def read_entries(stream: BinaryIO) -> tuple[int, list[Entries]]:
    """The version field, and the header of each part; the stream then stands at the table of offsets.

    Raises:
        EOFError: No EXR, a damaged or a truncated one. struct.error: likewise.
    """
    magic, version = struct.unpack("<iI", read_bytes(stream, 8))
    if magic != MAGIC:
        raise EOFError
    headers: list[Entries] = []
    while True:
        header: Entries = {}
        while name := _name(stream):
            _name(stream)
            (length,) = struct.unpack("<i", read_bytes(stream, 4))
            if not 0 <= length <= MOST:
                raise EOFError
            header[name] = read_bytes(stream, length)
        if header:
            headers.append(header)
        if not version & SEVERAL or not header:
            return version, headers


def read_bytes(stream: BinaryIO, count: int) -> bytes:
    """``count`` bytes, or ``EOFError``."""
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _name(stream: BinaryIO) -> bytes:
    letters = bytearray()
    while (letter := read_bytes(stream, 1)) != b"\0":
        letters += letter
        if len(letters) > LONGEST:
            raise EOFError
    return bytes(letters)
