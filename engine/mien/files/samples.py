"""Samples as a movie codes them: what they mean, and their planes as arrays.

Public: ``rgb_of``, ``alpha_of``, ``eight_bits``.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from mien.files.region import Region
from mien.files.yuv import Coding, Plane, to_rgb
from mien.types import MienError

_PLANAR = re.compile(r"(?P<kind>yuvj|yuva|yuv|gbrp|gbrap|gray)(?P<chroma>4\d\dp)?(?P<float>f)?(?P<depth>\d*)(le)?")
_SUBSAMPLING = {"444p": (1, 1), "440p": (1, 2), "422p": (2, 1), "420p": (2, 2), "411p": (4, 1), "410p": (4, 4)}
# Codecs that put chroma in the middle of its pixels.
_CENTERED = frozenset(("mpeg1video", "mjpeg"))
# The same samples, laid out in planes.
_UNPACKED = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p",
    "p010le": "yuv420p10le", "p210le": "yuv422p10le", "p410le": "yuv444p10le", "y210le": "yuv422p10le",
    "p012le": "yuv420p12le", "p212le": "yuv422p12le", "p412le": "yuv444p12le", "y212le": "yuv422p12le",
    "p016le": "yuv420p16le", "p216le": "yuv422p16le", "p416le": "yuv444p16le", "ayuv64le": "yuva444p16le",
    "rgb24": "gbrp", "bgr24": "gbrp", "rgb0": "gbrp", "bgr0": "gbrp", "0rgb": "gbrp", "0bgr": "gbrp",
    "rgba": "gbrap", "bgra": "gbrap", "argb": "gbrap", "abgr": "gbrap", "pal8": "gbrap",
    "rgb48le": "gbrp16le", "rgb48be": "gbrp16le", "bgr48le": "gbrp16le",
    "rgba64le": "gbrap16le", "rgba64be": "gbrap16le", "bgra64le": "gbrap16le",
    "ya8": "gray", "ya16le": "gray16le", "monow": "gray", "monob": "gray",
}  # fmt: skip
_MATRIX = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_MATRIX_NAME = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp"}
_SWSCALE = {"bt709": 1, "fcc": 4, "bt601": 5, "smpte240m": 7, "bt2020": 9}
_LIMITED, _FULL = 1, 2


def rgb_of(path: Path, frame: Any, codec: str, region: Region) -> NDArray[np.float32]:
    """(height, width, 3) R'G'B' of a region of a decoded frame, 0 black to 1 white.

    Raises:
        MienError: Its matrix is none that is read.
    """
    return to_rgb(_planes(_planar(frame)), _coding(path, frame, codec), region)


def eight_bits(path: Path, frame: Any, codec: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(height, width, 3) R'G'B' in 8 bits of a decoded frame, at a size (width, height); fast, for looking at.

    Raises:
        MienError: Its matrix is none that is read.
    """
    coding = _coding(path, frame, codec)
    matrix = _SWSCALE.get(coding.matrix)
    small = frame.reformat(
        width=size[0],
        height=size[1],
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        src_color_range=_FULL if coding.full else _LIMITED,
        dst_color_range=_FULL,
        threads=1,
    )
    picture: NDArray[np.uint8] = small.to_ndarray()
    return picture


def _coding(path: Path, frame: Any, codec: str) -> Coding:
    """What the samples of a frame mean, once they lie in planes."""
    name = _UNPACKED.get(frame.format.name, frame.format.name)
    layout = _PLANAR.fullmatch(name)
    bits = int((layout["depth"] if layout else "") or 8)
    floats = bool(layout and layout["float"])
    tagged = int(frame.color_range)
    if layout is None or layout["kind"] in ("gbrp", "gbrap", "gray"):
        matrix = "gray" if layout and layout["kind"] == "gray" else "rgb"
        return Coding(matrix, 0 if floats else bits if layout else 16, full=tagged != _LIMITED)
    code = int(frame.colorspace)
    if code in _MATRIX_NAME:
        raise MienError(f"{path} codes color as {_MATRIX_NAME[code]}, which is not read. Convert it to BT.709.")
    return Coding(
        _MATRIX.get(code, "bt709" if frame.height >= 720 else "bt601"),
        bits,
        full=tagged == _FULL or layout["kind"] == "yuvj",
        subsampling=_SUBSAMPLING[layout["chroma"]],
        centered=codec in _CENTERED,
    )


def _planar(frame: Any) -> Any:
    name = frame.format.name
    if _PLANAR.fullmatch(name):
        return frame
    wanted = _UNPACKED.get(name)
    if wanted is None and name.endswith("be") and _PLANAR.fullmatch(name[:-2] + "le"):
        wanted = name[:-2] + "le"
    alpha = any(component.is_alpha for component in frame.format.components)
    return frame.reformat(format=wanted or ("gbrap16le" if alpha else "gbrp16le"), threads=1)


def _planes(frame: Any) -> list[Plane]:
    name = frame.format.name
    planes: list[Plane] = []
    for plane, component in zip(frame.planes, frame.format.components):
        kind: Any = np.float32 if "f32" in name else np.uint16 if component.bits > 8 else np.uint8
        values = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
        planes.append(values[: plane.height, : plane.width])
    return planes


def alpha_of(frame: Any, region: Region) -> NDArray[np.float32]:
    """(height, width, 1) alpha of a region of a decoded frame; 1 where it has none."""
    planar = _planar(frame)
    components = planar.format.components
    index = next((place for place, component in enumerate(components) if component.is_alpha), None)
    if index is None:
        return np.ones((region.height, region.width, 1), np.float32)
    values = _planes(planar)[index][region.y : region.bottom, region.x : region.right].astype(np.float32)
    if "f32" not in planar.format.name:
        values /= np.float32((1 << components[index].bits) - 1)
    return values[..., None]
