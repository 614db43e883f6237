"""What comes before the pixels of an uncompressed EXR file: https://openexr.com/en/latest/OpenEXRFileLayout.html."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from mien.files.entries import MAGIC, TILED, VERSION, entry

Pair = tuple[int, int]
BYTES = {"half": 2, "float": 4}
_CODES = {"half": 1, "float": 2}


def in_order(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of channels as files have them: in the order of their bytes."""
    names = tuple(sorted(channels, key=lambda name: name.encode()))
    if not names or len(set(names)) != len(names) or max(map(len, names)) > 31:
        raise ValueError(f"no EXR can hold the channels {names}")
    return names


def bare_header(
    names: Sequence[str],
    *,
    size: Pair,
    corner: Pair,
    window: Pair,
    origin: Pair = (0, 0),
    aspect: float = 1.0,
    pixels: str = "half",
    attributes: Mapping[str, str] | None = None,
    strip: int | None = None,
) -> bytes:
    """A header, up to the table of offsets, as long as a multiple of the size of any value.

    Args:
        names: Channels, ``in_order``.
        size: Width and height of the data window.
        corner: Its top-left pixel.
        window: Width and height of the display window.
        origin: Its top-left pixel.
        aspect: Pixel aspect.
        pixels: ``half`` or ``float``.
        attributes: What else the header says, as text.
        strip: Lines of a tile as wide as the picture; lines stand alone without.
    """
    (width, height), (x, y), (display_width, display_height), (left, top) = size, corner, window, origin
    if min(*size, *window) < 1:
        raise ValueError(f"no EXR is of the size {size} in {window}")
    listed = b"".join(name.encode() + struct.pack("<xiB3xii", _CODES[pixels], 0, 1, 1) for name in names) + b"\0"
    entries = [
        ("channels", "chlist", listed),
        ("compression", "compression", b"\0"),
        ("dataWindow", "box2i", struct.pack("<4i", x, y, x + width - 1, y + height - 1)),
        ("displayWindow", "box2i", struct.pack("<4i", left, top, left + display_width - 1, top + display_height - 1)),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", aspect)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
        *((name, "string", text.encode()) for name, text in (attributes or {}).items()),
    ]
    if strip:
        entries.append(("tiles", "tiledesc", struct.pack("<2IB", width, strip, 0)))
    head = struct.pack("<2i", MAGIC, VERSION | (TILED if strip else 0)) + b"".join(entry(*e) for e in entries)
    filler = -(len(head) + len(entry("filler", "string", b"")) + 1) % 4
    return head + entry("filler", "string", b" " * filler) + b"\0"


def offsets(head: int, stride: int, count: int) -> bytes:
    """The table behind a header of ``head`` bytes: where chunks begin that lie ``stride`` bytes apart."""
    return (np.arange(count, dtype="<u8") * stride + (head + 8 * count)).tobytes()
