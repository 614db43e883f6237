"""Between the sample planes of movies and R'G'B' pictures, in float, at the movie's own depth.

Public: ``Coding``, ``to_rgb``, ``from_rgb``.

Formulas: ITU-R BT.601, BT.709, BT.2020 (non-constant luminance) and their limited and full ranges. Nothing is
clipped on the way to R'G'B': what a limited range holds above white and below black survives. Where chroma
is stored at half the width it sits on the left of its two pixels, at half the height between its two rows,
as MPEG-2, H.264 and HEVC say by default; it is interpolated linearly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.files.region import Region

Plane = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

# Weights of red and blue in luma.
WEIGHTS = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}


@dataclass(frozen=True)
class Coding:
    """What sample values mean.

    Attributes:
        matrix: A name of ``WEIGHTS``; ``rgb`` for planes that are green, blue, red; ``gray`` for one plane.
        bits: Depth of the samples; 0 for float samples.
        full: The samples use all codes; else 16 to 235 (chroma to 240) times 2 ** (bits - 8).
        subsampling: Pixels per chroma sample across and down.
        centered: Chroma sits in the middle of its pixels across, as MPEG-1 and JPEG have it.
    """

    matrix: str
    bits: int
    full: bool
    subsampling: tuple[int, int] = (1, 1)
    centered: bool = False

    @property
    def luma_scale(self) -> tuple[float, float]:
        """Offset and span of luma and of R'G'B' in codes."""
        if not self.bits:
            return 0.0, 1.0
        if self.full:
            return 0.0, float((1 << self.bits) - 1)
        return float(16 << self.bits - 8), float(219 << self.bits - 8)

    @property
    def chroma_scale(self) -> tuple[float, float]:
        """Offset and span of chroma in codes."""
        middle = float(1 << self.bits - 1)
        return (middle, float((1 << self.bits) - 1)) if self.full else (middle, float(224 << self.bits - 8))


def to_rgb(planes: Sequence[Plane], coding: Coding, region: Region) -> NDArray[np.float32]:
    """(height, width, 3) R'G'B' of a region that lies inside the picture; 0 is black, 1 is white.

    Planes are (H, W); those of chroma (H / down, W / across) rounded up. Order is Y, Cb, Cr, or G, B, R,
    or Y alone. Source: ITU-R BT.709-6 section 3, BT.2020-2 table 4 and 5.
    """
    columns = slice(region.x, region.right)
    rows = slice(region.y, region.bottom)
    offset, span = coding.luma_scale
    picture = np.empty((region.height, region.width, 3), np.float32)
    luma = _normal(planes[0][rows, columns], offset, span)
    if coding.matrix == "gray":
        picture[...] = luma[..., None]
        return picture
    if coding.matrix == "rgb":
        for channel, plane in ((1, luma), (2, planes[1]), (0, planes[2])):
            picture[..., channel] = plane if channel == 1 else _normal(plane[rows, columns], offset, span)
        return picture
    offset, span = coding.chroma_scale
    across, down = coding.subsampling
    blue, red = (
        _normal(_upsampled(plane, region, across, down, coding.centered), offset, span) for plane in planes[1:3]
    )
    weight_red, weight_blue = WEIGHTS[coding.matrix]
    weight_green = 1.0 - weight_red - weight_blue
    np.multiply(red, np.float32(2.0 * (1.0 - weight_red)), out=picture[..., 0])
    picture[..., 0] += luma
    np.multiply(blue, np.float32(2.0 * (1.0 - weight_blue)), out=picture[..., 2])
    picture[..., 2] += luma
    green = luma
    green -= np.float32(2.0 * weight_red * (1.0 - weight_red) / weight_green) * red
    green -= np.float32(2.0 * weight_blue * (1.0 - weight_blue) / weight_green) * blue
    picture[..., 1] = green
    return picture


def _normal(codes: NDArray[Any], offset: float, span: float) -> NDArray[np.float32]:
    values = codes.astype(np.float32)
    values -= np.float32(offset)
    values /= np.float32(span)
    return values


def _upsampled(plane: Plane, region: Region, across: int, down: int, centered: bool) -> NDArray[Any]:
    rows = _neighbors(region.y, region.height, down, plane.shape[0], centered=True)
    columns = _neighbors(region.x, region.width, across, plane.shape[1], centered)
    values: NDArray[Any] = plane[rows[0].min() : rows[1].max() + 1, columns[0].min() : columns[1].max() + 1]
    values = _between(values, columns, axis=1)
    return _between(values, rows, axis=0)


def _neighbors(
    first: int, count: int, step: int, limit: int, centered: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The samples before and after each pixel, and how far it lies on the way from one to the other."""
    place = np.arange(first, first + count) / step
    if centered:
        place = place - (step - 1) / (2 * step)
    before = np.floor(place).astype(np.intp)
    way = (place - before).astype(np.float32)
    return np.clip(before, 0, limit - 1), np.clip(before + 1, 0, limit - 1), way


def _between(
    values: NDArray[Any],
    neighbors: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]],
    axis: int,
) -> NDArray[Any]:
    before, after, way = neighbors
    start = before.min()
    near: NDArray[Any] = values.take(before - start, axis)
    if not way.any():
        return near
    shape = (-1, 1) if axis == 0 else (1, -1)
    low = near.astype(np.float32)
    high: NDArray[Any] = values.take(after - start, axis).astype(np.float32)
    high -= low
    high *= way.reshape(shape)
    high += low
    return high


def from_rgb(picture: NDArray[np.float32], coding: Coding) -> list[NDArray[np.uint16]]:
    """Sample planes of an (H, W, 3) R'G'B' picture, rounded; H and W must be multiples of the subsampling.

    What the codes cannot hold is clipped to them. The inverse of ``to_rgb`` but for rounding and for the
    resolution of chroma, which is averaged over 1-2-1 pixels across, centered on the left one.
    """
    top = (1 << coding.bits) - 1
    offset, span = coding.luma_scale
    if coding.matrix == "rgb":
        return [_codes(picture[..., channel], offset, span, top) for channel in (1, 2, 0)]
    weight_red, weight_blue = WEIGHTS[coding.matrix]
    weights = np.array([weight_red, 1.0 - weight_red - weight_blue, weight_blue], np.float32)
    luma: NDArray[np.float32] = picture @ weights
    planes = [_codes(luma, offset, span, top)]
    offset, span = coding.chroma_scale
    across, down = coding.subsampling
    for channel, weight in ((2, weight_blue), (0, weight_red)):
        chroma = (picture[..., channel] - luma) / np.float32(2.0 * (1.0 - weight))
        planes.append(_codes(_downsampled(chroma, across, down), offset, span, top))
    return planes


def _downsampled(chroma: NDArray[np.float32], across: int, down: int) -> NDArray[np.float32]:
    if across == 2:
        padded = np.pad(chroma, ((0, 0), (1, 0)), mode="edge")
        chroma = 0.25 * padded[:, :-2:2] + 0.5 * padded[:, 1:-1:2] + 0.25 * padded[:, 2::2]
    if down == 2:
        chroma = 0.5 * (chroma[::2] + chroma[1::2])
    return chroma


def _codes(values: NDArray[np.float32], offset: float, span: float, top: int) -> NDArray[np.uint16]:
    finite = np.nan_to_num(values, nan=0.0, posinf=1e6, neginf=-1e6)
    codes: NDArray[np.float32] = np.clip(np.rint(finite * np.float32(span) + np.float32(offset)), 0, top)
    return codes.astype(np.uint16)
