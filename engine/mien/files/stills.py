"""One picture from a file: EXR, DPX, TIFF, PNG, JPEG and whatever else OpenImageIO reads.

Public: ``Header``, ``Part``, ``read_headers``, ``choose_channels``, ``read_pixels``, ``read_native_pixels``.

Positions are plate pixels: (0, 0) is the top-left pixel of the display window, wherever the file puts it.
Values come as the file stores them: half and float untouched, integers as n / max in 0..1. Alpha is never
multiplied in or out. The top mip level is read, and only the scanlines or tiles that a region needs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import OpenImageIO as oiio
import torch
from numpy.typing import NDArray

from mien.files.lines import read_lines
from mien.files.region import Region
from mien.types import MienError

# The runner reads, computes and writes side by side; each call then keeps to its own thread. These are
# properties of the library in this process, there are none per file.
oiio.attribute("threads", 1)
oiio.attribute("exr_threads", -1)

_LONGEST_SIDE = 1 << 16
_MOST_PIXELS = 1 << 28
_FARTHEST = 1 << 24
_MOST_CHANNELS = 1024
_MOST_PARTS = 256
# Codecs of still pictures shrink flat pictures about a thousandfold; a header that promises more lies.
_MOST_SHRINKING = 20_000
_ALWAYS_FINE = 1 << 28
_LONGEST_MESSAGE = 200

_RED, _GREEN, _BLUE = ("r", "red"), ("g", "green"), ("b", "blue")
_GRAY = ("y", "l", "luminance", "gray", "grey")


@dataclass(frozen=True)
class Header:
    """What one part of a file says of itself before any pixel is read.

    Attributes:
        name: Name of the part; empty where the format has none.
        view: Stereo view of the part, if it names one.
        size: Width and height of the display window.
        origin: Where the file puts the top-left pixel of its display window.
        data: The pixels that are stored.
        channels: Channel names in the order of the pixels.
        types: Type of each channel: half, float, double, uint8, uint16, uint (32 bit), int8, int16, int.
        bits: Bits per sample that carry something, where fewer than the type holds (10-bit DPX); else 0.
        tiled: Stored in tiles rather than scanlines.
        deep: Several samples in a pixel.
        compression: Name of the compression; empty if unknown.
        aspect: Width of a pixel over its height.
        fps: Frames per second, where said.
        timecode: Timecode as hh:mm:ss:ff, with ; before ff for drop frame; where said.
        color: Name of the color space that the header gives (colorInteropID, else OpenImageIO's reading).
        chromaticities: x and y of red, green, blue and white, where said.
        orientation: How a camera was held, 1 to 8 as in EXIF; size and data are those after turning.
        metadata: All attributes by name.
        spec: OpenImageIO's own description, to be written again.
    """

    name: str
    view: str
    size: tuple[int, int]
    origin: tuple[int, int]
    data: Region
    channels: tuple[str, ...]
    types: tuple[str, ...]
    bits: int
    tiled: bool
    deep: bool
    compression: str
    aspect: float
    fps: Fraction | None
    timecode: str | None
    color: str | None
    chromaticities: tuple[float, ...] | None
    orientation: int
    metadata: Mapping[str, Any] = field(repr=False)
    spec: Any = field(repr=False, compare=False)

    @property
    def display(self) -> Region:
        """The display window in plate pixels."""
        return Region(0, 0, *self.size)


class Chosen(NamedTuple):
    """Which part of a file, and which three channels (or one, gray) of it, are the picture."""

    part: int
    channels: tuple[str, ...]


def first_line(text: str) -> str:
    """The first line of a library's message, short enough to be read."""
    lines = text.strip().splitlines() or ["no reason given"]
    return lines[0][:_LONGEST_MESSAGE].rstrip(". ")


def reason(error: Callable[[], str]) -> str:
    """What the library says went wrong; damaged files make it speak in bytes that are no text."""
    try:
        return first_line(error())
    except UnicodeDecodeError:
        return "its header is damaged"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
        str(path).encode()
    except UnicodeEncodeError as error:
        raise MienError(f"Cannot read {path}: its name, or a folder's, is no UTF-8. Rename it.") from error
    except OSError as error:
        raise MienError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    if empty:
        raise MienError(f"{path} is empty. Render or copy it again.")
    # Stored values must come back as they are; unassociated alpha would be multiplied into the color.
    wishes = oiio.ImageSpec()
    wishes["oiio:UnassociatedAlpha"] = 1
    file = oiio.ImageInput.open(str(path), wishes)
    if file is None:
        raise MienError(_unreadable(path, reason(oiio.geterror)))
    try:
        yield file
    finally:
        file.close()


def _unreadable(path: Path, message: str) -> str:
    if "ubsampled" in message:
        return f"{path} stores color at a lower resolution than luminance. Save it as RGB."
    return f"Cannot read {path}: {message}. Render or copy it again."


def read_headers(path: Path) -> tuple[Header, ...]:
    """The headers of all parts of a file.

    Raises:
        MienError: No picture, a damaged one, or one that claims an impossible size.
    """
    with _opened(path) as file:
        if file.format_name() == "jpeg" and not _jpeg_ends(path.read_bytes()):
            raise MienError(f"{path} is cut off in the middle. Copy it again.")
        headers: list[Header] = []
        while file.seek_subimage(len(headers), 0):
            spec = file.spec()
            _refuse_impossible(path, spec)
            try:
                headers.append(_header(spec))
            except UnicodeDecodeError as error:
                raise MienError(f"{path} has channel names that are no text. Render it again.") from error
            if len(headers) > _MOST_PARTS:
                raise MienError(f"{path} has more than {_MOST_PARTS} parts. Save what is needed of it.")
    if not headers or not any(header.channels for header in headers):
        raise MienError(f"{path} holds no picture. Render or copy it again.")
    return tuple(headers)


def _jpeg_ends(content: bytes) -> bool:
    """Whether the picture of a JPEG ends with its mark: the library paints gray what a cut file lacks."""
    place = 2
    while place + 4 <= len(content):
        mark = content[place + 1]
        if mark == 0xDA:
            # In coded pixels every FF is followed by 00 or a restart mark, up to the end mark.
            return content.find(b"\xff\xd9", place) >= 0
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return False


def _refuse_impossible(path: Path, spec: Any) -> None:
    sides = (spec.width, spec.height, spec.full_width, spec.full_height)
    corners = (spec.x, spec.y, spec.full_x, spec.full_y)
    if (
        min(sides) < 1
        or max(sides) > _LONGEST_SIDE
        or max(map(abs, corners)) > _FARTHEST
        or spec.width * spec.height > _MOST_PIXELS
        or spec.full_width * spec.full_height > _MOST_PIXELS
        or spec.depth > 1
        or not 0 <= spec.nchannels <= _MOST_CHANNELS
    ):
        raise MienError(
            f"{path} claims {spec.nchannels} channels of {spec.width} x {spec.height} pixels in a window of "
            f"{spec.full_width} x {spec.full_height}, which cannot be right. Render or copy it again."
        )
    claimed = spec.image_bytes(True)
    if claimed > max(_ALWAYS_FINE, _MOST_SHRINKING * path.stat().st_size):
        raise MienError(
            f"{path} claims {claimed >> 20} MiB of pixels in {path.stat().st_size} bytes. "
            "It is damaged: render or copy it again."
        )


def attribute_names(spec: Any) -> list[str]:
    """Names of the attributes of a description, but for those that are no text."""
    names = []
    for attribute in spec.extra_attribs:
        with suppress(UnicodeDecodeError):
            names.append(attribute.name)
    return names


def _attributes(spec: Any) -> dict[str, Any]:
    found = {}
    for attribute in spec.extra_attribs:
        # Old files hold text in old encodings; it is written again as it is but not shown.
        with suppress(UnicodeDecodeError):
            found[attribute.name] = attribute.value
    return found


def _header(spec: Any) -> Header:
    attributes = _attributes(spec)
    orientation = attributes.get("Orientation", 1)
    orientation = orientation if orientation in range(1, 9) else 1
    types = tuple(map(str, spec.channelformats)) or (str(spec.format),) * spec.nchannels
    bits = attributes.get("oiio:BitsPerSample", 0)
    width, height = spec.full_width, spec.full_height
    data = Region(spec.x - spec.full_x, spec.y - spec.full_y, spec.width, spec.height)
    if orientation > 1:
        # Only formats without overscan say how a camera was held.
        data = Region(0, 0, spec.width, spec.height)
        width, height = spec.width, spec.height
    if orientation > 4:
        width, height = height, width
        data = Region(0, 0, width, height)
    aspect = attributes.get("PixelAspectRatio", 1.0)
    chromaticities = attributes.get("chromaticities")
    return Header(
        name=str(attributes.get("oiio:subimagename", attributes.get("name", ""))),
        view=str(attributes.get("view", "")),
        size=(width, height),
        origin=(spec.full_x, spec.full_y),
        data=data,
        channels=tuple(spec.channelnames),
        types=types,
        bits=bits if isinstance(bits, int) and set(types) == {"uint16"} and 8 < bits < 16 else 0,
        tiled=spec.tile_width > 0,
        deep=bool(spec.deep),
        compression=str(attributes.get("compression", "")),
        aspect=float(aspect) if isinstance(aspect, (int, float)) and 0.01 < aspect < 100 else 1.0,
        fps=_rate(attributes),
        timecode=_timecode(attributes.get("smpte:TimeCode")),
        color=str(attributes.get("colorInteropID") or attributes.get("oiio:ColorSpace") or "") or None,
        chromaticities=tuple(chromaticities) if _is_numbers(chromaticities, 8) else None,
        orientation=orientation,
        metadata=attributes,
        spec=spec,
    )


def _is_numbers(value: Any, count: int) -> TypeGuard[tuple[float, ...]]:
    return isinstance(value, tuple) and len(value) == count and all(isinstance(n, (int, float)) for n in value)


def _rate(attributes: Mapping[str, Any]) -> Fraction | None:
    for name in ("FramesPerSecond", "dpx:FrameRate", "dpx:TemporalFrameRate"):
        value = attributes.get(name)
        if _is_numbers(value, 2) and value[0] > 0 and value[1] > 0:
            return Fraction(int(value[0]), int(value[1]))
        if isinstance(value, (int, float)) and 0.1 < value < 1000:
            return nearest_rate(float(value))
    return None


def nearest_rate(rate: float) -> Fraction:
    """The frame rate that a rounded number means: 23.976 is 24000/1001."""
    for whole in (24, 25, 30, 48, 50, 60, 96, 100, 120):
        for exact in (Fraction(whole), Fraction(whole * 1000, 1001)):
            if abs(rate - float(exact)) < 0.002:
                return exact
    return Fraction(rate).limit_denominator(1001)


def _timecode(value: Any) -> str | None:
    if not _is_numbers(value, 2):
        return None
    code = int(value[0]) & 0xFFFFFFFF
    hours, minutes, seconds, frames = (
        (code >> shift & 0xF) + 10 * (code >> (shift + 4) & tens) for shift, tens in ((24, 3), (16, 7), (8, 7), (0, 3))
    )
    drop = ";" if code >> 6 & 1 else ":"
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{drop}{frames:02d}"


def layers(headers: Sequence[Header]) -> dict[str, Chosen]:
    """Every picture in a file by the name an artist can ask for it, the default one first.

    Names are those of layers (``beauty`` of ``beauty.R``), of parts, of views, and ``part.layer`` where
    two parts have a layer of the same name. Channels R, G, B make a picture, and so does a luminance; of
    other layers each with one channel is a gray picture, and so is every single channel by its full name.
    """
    found: dict[str, Chosen] = {}
    for part, header in enumerate(headers):
        if header.deep:
            continue
        groups: dict[str, dict[str, str]] = {}
        for channel in header.channels:
            prefix, _, last = channel.rpartition(".")
            groups.setdefault(prefix, {}).setdefault(last.lower(), channel)
        for prefix, group in groups.items():
            channels = _picture(group)
            if not channels:
                continue
            names = [prefix] if prefix else []
            if header.name:
                names += [f"{header.name}.{prefix}" if prefix else header.name]
            if header.view and not prefix:
                names += [header.view]
            for name in names or [""]:
                found.setdefault(name, Chosen(part, channels))
        for channel in header.channels:
            found.setdefault(channel, Chosen(part, (channel,)))
    return found


def _picture(group: Mapping[str, str]) -> tuple[str, ...]:
    color = [next((group[name] for name in names if name in group), "") for names in (_RED, _GREEN, _BLUE)]
    if all(color):
        return tuple(color)
    gray = next((group[name] for name in _GRAY if name in group), "")
    if gray and "ry" in group and "by" in group:
        return (gray, group["ry"], group["by"])
    if gray:
        return (gray,)
    return tuple(group.values()) if len(group) == 1 else ()


def choose_channels(path: Path, headers: Sequence[Header], layer: str | None) -> Chosen:
    """Part and channels of the picture that a layer names; without a name, the main picture.

    The main picture is R, G, B without a layer name if there is one, else a luminance, else the first
    layer with three colors, else the first single channel.

    Raises:
        MienError: There is no such layer, or nothing but deep pictures.
    """
    found = layers(headers)
    if not found:
        raise MienError(f"{path} holds only deep pictures. Flatten it first.")
    if layer is not None:
        if layer.isdecimal() and layer not in found and int(layer) < len(headers):
            candidates = [chosen for chosen in found.values() if chosen.part == int(layer)]
            if candidates:
                return max(candidates, key=_rank)
        if layer not in found:
            raise MienError(f"{path} has no layer {layer!r}. It has: {', '.join(filter(None, found))[:400]}.")
        return found[layer]
    return max(found.values(), key=_rank)


def _rank(chosen: Chosen) -> tuple[bool, bool, bool, bool]:
    names = chosen.channels
    root = all("." not in name for name in names)
    gray = names[0].lower() in _GRAY
    return (root and len(names) == 3, root and gray, len(names) == 3, gray)


def read_pixels(path: Path, header: Header, part: int, channels: Sequence[str], region: Region) -> NDArray[np.float32]:
    """(height, width, channels) float32 values of a region; zero where the file stores nothing.

    Raises:
        MienError: Damaged, deep, or without one of the channels.
    """
    if header.deep:
        raise MienError(f"{path}: part {header.name or part} is deep. Flatten it first.")
    absent = [name for name in channels if name not in header.channels]
    if absent:
        raise MienError(f"{path} has no channel {', '.join(absent)}. It has: {', '.join(header.channels)[:400]}.")
    wanted = region.overlap(header.data)
    if not wanted.width or not wanted.height:
        return np.zeros((region.height, region.width, len(channels)), np.float32)
    rows, columns = wanted.within(region)
    if header.orientation == 1:
        there = wanted._replace(x=wanted.x + header.origin[0], y=wanted.y + header.origin[1])
        stored = read_lines(path, channels, there)
        if stored is not None:
            planes = np.zeros((len(channels), region.height, region.width), np.float32)
            planes[:, rows, columns] = _unit(stored, header)
            return np.moveaxis(planes, 0, 2)
    places = [header.channels.index(name) for name in channels]
    runs = _runs(places)
    with _opened(path) as file:
        read = [_read(path, file, header, part, first, last, wanted) for first, last in runs]
    pixels = np.zeros((region.height, region.width, len(channels)), np.float32)
    if places == list(range(places[0], places[0] + len(places))):
        whole = read[0][..., places[0] - runs[0][0] :][..., : len(places)]
        if wanted == region:
            return np.ascontiguousarray(whole)
        pixels[rows, columns] = whole
        return pixels
    for (first, last), values in zip(runs, read):
        for out, place in enumerate(places):
            if first <= place < last:
                pixels[rows, columns, out] = values[..., place - first]
    return pixels


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    # Compressed channels lie together: reading a few too many beats unpacking the same lines again.
    ordered = sorted(set(places))
    runs = [(ordered[0], ordered[0] + 1)]
    for place in ordered[1:]:
        first, last = runs[-1]
        if place - last <= 4:
            runs[-1] = (first, place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _read(path: Path, file: Any, header: Header, part: int, first: int, last: int, wanted: Region) -> NDArray[Any]:
    if header.orientation > 1:
        whole = _read_stored(path, file, header, part, first, last, None)
        return _unit(_upright(whole, header.orientation)[wanted.within(header.data)], header)
    return _unit(_read_stored(path, file, header, part, first, last, wanted), header)


def _read_stored(
    path: Path, file: Any, header: Header, part: int, first: int, last: int, wanted: Region | None
) -> NDArray[Any]:
    spec = header.spec
    kinds = set(header.types[first:last])
    # One type is read as it is, whole lines of it: what is wanted of them is converted here, integers exactly.
    kind = kinds.pop() if len(kinds) == 1 else "float" if kinds == {"half", "float"} else "double"
    if wanted is None:
        values = file.read_image(part, 0, first, last, kind)
        return _checked(path, file, values)
    x, y = wanted.x + header.origin[0], wanted.y + header.origin[1]
    if not header.tiled:
        values = file.read_scanlines(part, 0, y, y + wanted.height, 0, first, last, kind)
        return _checked(path, file, values)[:, x - spec.x : x - spec.x + wanted.width]
    left = spec.x + (x - spec.x) // spec.tile_width * spec.tile_width
    top = spec.y + (y - spec.y) // spec.tile_height * spec.tile_height
    right = min(spec.x + spec.width, left - (left - x - wanted.width) // spec.tile_width * spec.tile_width)
    bottom = min(spec.y + spec.height, top - (top - y - wanted.height) // spec.tile_height * spec.tile_height)
    values = file.read_tiles(part, 0, left, right, top, bottom, 0, 1, first, last, kind)
    return _checked(path, file, values)[y - top : y - top + wanted.height, x - left : x - left + wanted.width]


def _checked(path: Path, file: Any, values: Any) -> NDArray[Any]:
    if values is None:
        raise MienError(_unreadable(path, reason(file.geterror)))
    return np.asarray(values)


def _unit(values: NDArray[Any], header: Header) -> NDArray[np.float32]:
    if values.dtype == np.float16:
        # The processor's own conversion, which numpy does not use.
        light: NDArray[np.float32] = torch.from_numpy(np.ascontiguousarray(values)).float().numpy()
        return light
    if values.dtype.kind not in "iu":
        return values.astype(np.float32, copy=False)
    if header.bits:
        return (values >> (16 - header.bits)).astype(np.float32) / np.float32((1 << header.bits) - 1)
    if values.dtype.itemsize == 4:
        return (values / np.float64(np.iinfo(values.dtype).max)).astype(np.float32)
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation > 4:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def read_native_pixels(path: Path, header: Header, part: int) -> NDArray[Any]:
    """Every stored pixel of a part, all channels, bit for bit: (height, width, channels).

    float16 or float32 as stored, uint32 for 32-bit integers of an EXR; smaller integers become float32
    n / max. A part that mixes types comes as float32, or float64 where it mixes in integers.

    Raises:
        MienError: Damaged or deep.
    """
    if header.deep:
        raise MienError(f"{path}: part {header.name or part} is deep. Flatten it first.")
    kinds = set(header.types)
    with _opened(path) as file:
        if kinds <= {"half", "float"} or (kinds == {"uint"} and file.format_name() == "openexr"):
            kind = kinds.pop() if len(kinds) == 1 else "float"
        elif len(kinds) == 1 and kinds != {"double"}:
            return _read(path, file, header, part, 0, len(header.channels), header.data)
        else:
            kind = "double"
        values = _checked(path, file, file.read_image(part, 0, 0, len(header.channels), kind))
    return _upright(values, header.orientation)
