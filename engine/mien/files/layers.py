"""What a render delivers as EXR: layers, host sequences, full frames, ST maps; and what made a file.

Public: ``write_layer``, ``write_empty_layer``, ``write_host``, ``write_full``, ``write_stmap``, ``write_plain``,
``read_provenance``.

Arrays are (height, width, channels) or (height, width) float32; ``corner`` is the plate pixel of their top-left
pixel. A header read from the plate (``shot.read_header``) lends its display window, pixel aspect, frame rate,
timecode and metadata. ``provenance`` becomes attributes ``mien:NAME``. ``color`` is the interchange name of the
color space of what is written; without it the plate's own stands. Files appear under their names when whole.
The same values give the same bytes: the date is the plate's, or none.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import OpenImageIO as oiio
import torch
from numpy.typing import NDArray

from mien.files.atomic import appearing
from mien.files.listing import open_container
from mien.files.region import Region
from mien.files.shot import MOVIES, Native
from mien.files.stills import Header, attribute_names, first_line, read_headers, reason
from mien.files.timecode import packed
from mien.types import MienError

PixelType = Literal["half", "float"]

ASKED = 1 << 20
"""Bytes that are asked of a disk on which a file could not be written."""
_HALF_MAX = np.float32(65504.0)
_UINT_MAX = np.float64(2**32 - 1)
_DATA = "data"
# What belongs to the layout of the plate's file rather than to the picture, or to another file format.
_FOREIGN = re.compile(
    r"oiio:.*|openexr:.*|tiff:.*|jpeg:.*|png:.*|ICCProfile.*|CICP|Orientation|compression|type|version|chunkCount"
    r"|thumbnail_.*|preview|textureformat|wrapmodes|envmap|deepImageState|mien:.*|worldto.*|dwaCompressionLevel"
)
_PART = re.compile(r"name|view|multiView|acesImageContainerFlag")
_COLOR = re.compile(r"colorInteropID|chromaticities|adoptedNeutral")
_LOSSLESS = frozenset(("none", "rle", "zip", "zips", "piz"))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def write_layer(
    path: Path,
    header: Header,
    *,
    image: NDArray[np.float32],
    matte: NDArray[np.float32],
    raw: NDArray[np.float32],
    mattes: Mapping[str, NDArray[np.float32]],
    corner: tuple[int, int],
    provenance: Mapping[str, str],
    color: str | None = None,
    pixel_type: PixelType = "half",
    window: Literal["region", "full"] = "region",
) -> None:
    """Write a layer EXR: premultiplied R G B A, ``raw`` unmatted, and every matte by its name.

    ``image`` (h, w, 3) is the finished face, not multiplied; ``matte`` (h, w) becomes A. Where A is stored
    as 0, so are R, G and B, whatever the face holds there. The data window is the region, or with ``full``
    the display window. Values beyond half float are brought to its largest.

    Raises:
        MienError: The file cannot be written. ValueError: shapes that do not belong together.
    """
    height, width = matte.shape
    if image.shape != (height, width, 3) or raw.shape != (height, width, 3):
        raise ValueError(f"image {image.shape} and raw {raw.shape} must be (h, w, 3) of matte {matte.shape}")
    kind = np.float16 if pixel_type == "half" else np.float32
    alpha = _stored(matte, kind)
    multiplied = _premultiplied(image, np.where(alpha > 0, matte, np.float32(0)))
    names = sorted(mattes)
    for name in names:
        if not _NAME.fullmatch(name) or mattes[name].shape != matte.shape:
            raise ValueError(f"matte {name!r} {mattes[name].shape} must have a plain name and the shape {matte.shape}")
    parts = [_stored(multiplied, kind), alpha, _stored(raw, kind), *(_stored(mattes[name], kind) for name in names)]
    channels = (*"RGBA", *(f"raw.{name}" for name in "RGB"), *(f"matte.{name}" for name in names))
    region = Region(*corner, width, height)
    pixels = np.dstack(parts)
    if window == "full":
        pixels, region = _placed(pixels, region, header.display, 0.0), header.display
    spec = _spec(header, region, channels, pixel_type, color, provenance)
    _write(path, [(spec, pixels)])


def _premultiplied(image: NDArray[np.float32], matte: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 3) times (h, w), and 0 where that is 0, whatever the picture holds there."""
    # Zero times a negative would be stored as another zero.
    product = (torch.from_numpy(image) * torch.from_numpy(matte)[..., None]).add_(0.0)
    if not bool(torch.isfinite(product.sum())):
        # Infinity times nothing.
        product.masked_fill_(torch.from_numpy(matte == 0)[..., None], 0.0)
    multiplied: NDArray[np.float32] = product.numpy()
    return multiplied


def write_empty_layer(
    path: Path,
    header: Header,
    *,
    mattes: Sequence[str],
    provenance: Mapping[str, str],
    color: str | None = None,
    pixel_type: PixelType = "half",
    window: Literal["region", "full"] = "region",
) -> None:
    """Write the layer of a frame without a face: the same channels, one transparent pixel.

    Raises:
        MienError: The file cannot be written.
    """
    nothing = np.zeros((1, 1, 3), np.float32)
    write_layer(
        path,
        header,
        image=nothing,
        matte=nothing[..., 0],
        raw=nothing,
        mattes=dict.fromkeys(mattes, nothing[..., 0]),
        corner=(0, 0),
        provenance=provenance,
        color=color,
        pixel_type=pixel_type,
        window=window,
    )


def write_host(
    paths: tuple[Path, Path, Path],
    header: Header,
    *,
    raw: NDArray[np.float32],
    face: NDArray[np.float32],
    matte: NDArray[np.float32],
    distance: NDArray[np.float32],
    hold_out: NDArray[np.float32],
    corner: tuple[int, int],
    provenance: Mapping[str, str],
    color: str | None = None,
    pixel_type: PixelType = "half",
) -> None:
    """Write the pictures for hosts that take single layers and full windows: raw, face, and last the matte.

    ``raw`` and ``face`` (h, w, 3) become finite R G B of ``pixel_type``. The third file is float: R the matte, G the
    signed distance in pixels (positive inside), B the hold-out, A 1. Around the region the distance goes on as its
    lowest.

    Raises:
        MienError: A file cannot be written.
    """
    region = Region(*corner, matte.shape[1], matte.shape[0])
    for path, picture in zip(paths, (raw, face)):
        finite = np.nan_to_num(picture, nan=0.0, posinf=float(_HALF_MAX), neginf=-float(_HALF_MAX))
        full = _placed(_stored(finite, np.float16 if pixel_type == "half" else np.float32), region, header.display, 0.0)
        spec = _spec(header, header.display, ("R", "G", "B"), pixel_type, color, provenance)
        _write(path, [(spec, full)])
    shape = np.empty((header.display.height, header.display.width, 4), np.float32)
    lowest = min(0.0, float(distance.min())) if distance.size else 0.0
    for index, (values, around) in enumerate(((matte, 0.0), (distance, lowest), (hold_out, 0.0))):
        shape[..., index] = _placed(values[..., None], region, header.display, around)[..., 0]
    shape[..., 3] = 1.0
    spec = _spec(header, header.display, ("R", "G", "B", "A"), "float", _DATA, provenance)
    _write(paths[2], [(spec, shape)])


def write_stmap(
    path: Path,
    header: Header,
    *,
    coordinates: NDArray[np.float32],
    corner: tuple[int, int],
    provenance: Mapping[str, str],
) -> None:
    """Write an ST map: (h, w, 2) coordinates, 0 to 1, as R and G in 32-bit float; B is 0.

    Raises:
        MienError: The file cannot be written.
    """
    height, width = coordinates.shape[:2]
    pixels = np.concatenate([coordinates, np.zeros((height, width, 1), np.float32)], axis=2).astype(np.float32)
    spec = _spec(header, Region(*corner, width, height), ("R", "G", "B"), "float", _DATA, provenance)
    _write(path, [(spec, pixels)])


def write_plain(
    path: Path,
    pixels: NDArray[np.float32],
    *,
    channels: Sequence[str] = ("R", "G", "B"),
    provenance: Mapping[str, str],
    color: str | None = None,
    pixel_type: PixelType = "half",
) -> None:
    """Write (h, w, channels) values as an EXR of their own, without a plate.

    Raises:
        MienError: The file cannot be written.
    """
    region = Region(0, 0, pixels.shape[1], pixels.shape[0])
    spec = _spec(_plain_header(region), region, tuple(channels), pixel_type, color, provenance)
    _write(path, [(spec, _stored(pixels, np.float16 if pixel_type == "half" else np.float32))])


def write_fitted(path: Path, header: Header, pixels: NDArray[np.float32]) -> None:
    """Write a plate's (h, w, 3) pixels again with its data window equal to its display window.

    Plates of half floats stay half, all others become float; metadata and color space are the plate's.

    Raises:
        MienError: The file cannot be written.
    """
    kind = "half" if set(header.types) == {"half"} else "float"
    spec = _spec(header, header.display, ("R", "G", "B"), kind, None, {})
    _write(path, [(spec, pixels.astype(np.float16 if kind == "half" else np.float32))])


def write_full(
    path: Path,
    native: Native,
    *,
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    provenance: Mapping[str, str],
) -> None:
    """Write a whole plate frame again with ``image`` (h, w, 3) where ``mask`` (h, w) is set.

    Everything else keeps its bits: windows, parts, channels, pixel types and metadata are the plate's, and
    so is the compression unless it would lose something; then it is ZIP. Plates that are no EXR become
    float EXR. What falls outside the data window is not stored. A gray plate receives Rec.709 luma.

    Raises:
        MienError: The file cannot be written.
    """
    parts = []
    for index, (header, pixels) in enumerate(zip(native.headers, native.pixels)):
        if index == native.chosen.part:
            pixels = _patched(native, pixels, image, mask, Region(*corner, mask.shape[1], mask.shape[0]))
        parts += _parts(header, pixels, provenance)
    _write(path, parts)


def _patched(
    native: Native,
    pixels: NDArray[Any],
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    region: Region,
) -> NDArray[Any]:
    header = native.headers[native.chosen.part]
    inside = region.overlap(header.data)
    here, there = inside.within(region), inside.within(header.data)
    changed = mask[here]
    values = image[here][changed]
    names = native.chosen.channels
    if len(names) == 3 and names[1].rpartition(".")[2].lower() == "ry":
        raise MienError(f"{native.source} is stored as luminance and chroma. Save it as RGB to write full frames.")
    if len(names) == 1:
        values = values @ np.array([[0.2126], [0.7152], [0.0722]], np.float32)
    pixels = pixels.copy()
    for column, name in enumerate(names):
        channel = header.channels.index(name)
        new = values[:, column]
        if header.types[channel] == "half":
            new = _stored(new, np.float16)
        if pixels.dtype == np.uint32:
            new = np.rint(np.clip(new.astype(np.float64), 0, 1) * _UINT_MAX)
        pixels[there[0], there[1], channel][changed] = new.astype(pixels.dtype)
    return pixels


def _parts(header: Header, pixels: NDArray[Any], provenance: Mapping[str, str]) -> list[tuple[Any, NDArray[Any]]]:
    """A plate's part as EXR parts: one, or two where 32-bit integers lie among floats."""
    exr = header.spec is not None and set(header.types) <= {"half", "float", "uint"}
    types = header.types if exr else ("float",) * len(header.channels)
    compression = header.compression.partition(":")[0]
    if compression not in _LOSSLESS and not (compression == "pxr24" and set(types) <= {"half", "uint"}):
        compression = "zip"
    whole = [index for index, kind in enumerate(types) if kind == "uint"]
    # The library converts mixed channels through floats, which cannot hold every integer.
    split = bool(whole) and len(whole) < len(types)
    groups = [[i for i in range(len(types)) if i not in whole], whole] if split else [list(range(len(types)))]
    parts = []
    for number, group in enumerate(groups):
        names = tuple(header.channels[index] for index in group)
        kinds = tuple(types[index] for index in group)
        one = len(set(kinds)) == 1
        spec = _spec(header, header.data, names, kinds[0] if one else "float", None, provenance, compression)
        if not one:
            spec.channelformats = kinds
        if split:
            spec["name"] = f"{header.name or 'rgba'}.{number}" if number else header.name or "rgba"
        chosen = pixels if len(group) == len(types) else pixels[..., group]
        if number:
            chosen = np.rint(chosen * _UINT_MAX).astype(np.uint32)
        parts.append((spec, chosen))
    if not exr:
        return [(spec, values.astype(np.float32, copy=False)) for spec, values in parts]
    return parts


def _stored(values: NDArray[np.float32], kind: Any) -> NDArray[Any]:
    """Values in the type of the file; finite ones stay finite."""
    if kind == np.float16:
        # The processor's own conversion, which numpy does not use: eight times as fast, the same bits.
        light = torch.from_numpy(np.ascontiguousarray(values))
        most = float(_HALF_MAX)
        low, high = map(float, light.aminmax()) if light.numel() else (0.0, 0.0)
        # What is no number at all is neither.
        if not (-most <= low and high <= most):
            light = torch.where(light.isinf(), light, light.clamp(-most, most))
        stored: NDArray[np.float16] = light.half().numpy()
        return stored
    return values.astype(np.float32, copy=False)


def _placed(values: NDArray[Any], region: Region, window: Region, around: float) -> NDArray[Any]:
    """An array of a region laid into one of a window."""
    full = np.full((window.height, window.width, values.shape[2]), around, values.dtype)
    shared = region.overlap(window)
    full[shared.within(window)] = values[shared.within(region)]
    return full


def _plain_header(window: Region) -> Header:
    return Header(
        name="", view="", size=(window.width, window.height), origin=(0, 0), data=window, channels=(), types=(),
        bits=0, tiled=False, deep=False, compression="zip", aspect=1.0, fps=None, timecode=None, color=None,
        chromaticities=None, orientation=1, metadata={}, spec=None,
    )  # fmt: skip


def _bare(header: Header, data: Region, channels: int, kind: str) -> Any:
    if header.spec is None:
        return oiio.ImageSpec(data.width, data.height, channels, kind)
    # Copied rather than listed, so that attributes that Python cannot hold come along.
    spec = oiio.ImageSpec(header.spec)
    spec.width, spec.height, spec.depth = data.width, data.height, 1
    spec.tile_width = spec.tile_height = spec.tile_depth = 0
    spec.deep = False
    spec.nchannels = channels
    spec.channelformats = ()
    spec.set_format(kind)
    return spec


def _spec(
    header: Header,
    data: Region,
    channels: tuple[str, ...],
    kind: str,
    color: str | None,
    provenance: Mapping[str, str],
    compression: str | None = None,
) -> Any:
    """A description to write with: the plate's metadata, other windows and channels.

    With ``compression`` the file stands for the plate's own part and keeps its name.
    """
    spec = _bare(header, data, len(channels), kind)
    for name in attribute_names(spec):
        foreign = _FOREIGN.fullmatch(name) or (compression is None and _PART.fullmatch(name))
        # Another color space makes what the header says of the plate's untrue.
        untrue = color is not None and color != header.color and _COLOR.fullmatch(name)
        if foreign or untrue:
            spec.erase_attribute(name)
    spec.channelnames = channels
    spec.alpha_channel = channels.index("A") if "A" in channels else -1
    spec.x, spec.y = data.x + header.origin[0], data.y + header.origin[1]
    spec.full_x, spec.full_y = header.origin
    spec.full_width, spec.full_height = header.size
    spec["compression"] = compression or "zip"
    spec["PixelAspectRatio"] = float(header.aspect)
    if header.fps is not None:
        spec.attribute("FramesPerSecond", "rational", (header.fps.numerator, header.fps.denominator))
    if header.timecode is not None and spec.getattribute("smpte:TimeCode") is None:
        spec.attribute("smpte:TimeCode", "timecode", packed(header.timecode))
    if spec.getattribute("DateTime") is None:
        # Left alone, the library writes the current time.
        spec["DateTime"] = ""
    if color is not None:
        spec["colorInteropID"] = color
    for name, value in provenance.items():
        spec[f"mien:{name}"] = value
    return spec


def _write(path: Path, parts: Sequence[tuple[Any, NDArray[Any]]]) -> None:
    if path.suffix.lower() != ".exr":
        raise MienError(f"{path} must end in .exr to be written as one.")
    with appearing(path) as partial:
        # Errors of the disk then come with their own reason rather than the library's.
        partial.touch()
        file: Any = oiio.ImageOutput.create(str(partial))
        try:
            written = file.open(str(partial), [spec for spec, _ in parts])
            for index, (spec, pixels) in enumerate(parts):
                if index and written:
                    written = file.open(str(partial), spec, "AppendSubimage")
                written = written and file.write_image(np.ascontiguousarray(pixels))
            said = reason(file.geterror)
        finally:
            closed = file.close()
        if not written or not closed:
            # The library does not say that a disk is full; the system does, to who asks for more.
            with partial.open("ab") as more:
                more.write(bytes(ASKED))
            raise MienError(f"Cannot write {path}: {said}. Check permissions and free space.")


def read_provenance(path: Path) -> dict[str, str]:
    """What made a file: the ``mien:`` attributes of an EXR, or those in a movie's comment; empty if none.

    Raises:
        MienError: The file cannot be read.
    """
    if path.suffix.lower() in MOVIES:
        try:
            with open_container(path) as container:
                said = {name.lower(): value for name, value in container.metadata.items()}
        except (OSError, ValueError) as error:
            raise MienError(f"Cannot read {path}: {first_line(str(error))}. Check the path.") from error
        return parse_comment(said.get("comment", ""))
    found: dict[str, str] = {}
    for header in read_headers(path):
        for name, value in header.metadata.items():
            if name.startswith("mien:") and isinstance(value, str):
                found.setdefault(name.removeprefix("mien:"), value)
    return found


def parse_comment(comment: str) -> dict[str, str]:
    """Provenance from a movie's comment, which is a JSON object ``{"mien": {...}}``; empty if it is not."""
    try:
        said = json.loads(comment)
    except ValueError:
        return {}
    inner = said.get("mien") if isinstance(said, dict) else None
    return {str(key): str(value) for key, value in inner.items()} if isinstance(inner, dict) else {}
