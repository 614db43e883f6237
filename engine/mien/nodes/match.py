"""Matching nodes."""

from dataclasses import replace
from typing import Annotated, Literal

import torch

from mien.declare import Slider
from mien.ops import grade as moves
from mien.ops import region as placing
from mien.ops import regions as slow
from mien.ops import spaces
from mien.ops.match import SOLVERS
from mien.ops.measure import centered, flat, moments, pool, ranked, trimmed, with_palettes
from mien.ops.samples import smooth as steadied
from mien.ops.skin import skin
from mien.types import ColorSample, Face, Grade, Image, Layer, Matte, Plate, Regions, RegionSample, Series, White

CELLS = 64
"""Squares across a face within which colors are averaged before they are measured."""


def measure_color(
    layer: Layer,
    plate: Plate,
    face: Face,
    *,
    region: Literal["face", "matte"] = "face",
    space: Literal["linear", "log", "perceptual"] = "linear",
    trim: Annotated[float, Slider(0, 0.2, min=0, max=0.9)] = 0.02,
    outliers: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.75,
) -> ColorSample:
    """Measure the colors of face and plate; the weight is 0 where there is nothing to measure.

    Args:
        layer: Face and its mattes.
        plate: Picture whose color the face should take on.
        face: Where the face is.
        region: face measures the skin of the tracked face, so that work on the matte's edge does not change the
            color; matte measures what the matte covers, for a patch.
        space: Where colors are compared: linear light, its logarithm (stops), or a perceptual opponent space. A
            match in linear light can be replayed by native nodes, others as a .cube.
        trim: Share of the brightest pixels that does not count, so that a highlight does not pull the color.
        outliers: How strongly what is unlike the usual skin is left out of the average: beards, spectacles, hands.
    """
    own, there, weight, _, cell = _cells(layer, plate, face, region)
    colors = trimmed(*flat(own, there, weight), trim)
    sample = with_palettes(ranked(moments(*colors, space), *colors), *colors)
    sample = centered(sample, *colors, outliers)
    return replace(sample, weight=sample.weight * cell * cell)


def match_color(
    samples: Series[ColorSample],
    *,
    method: Literal["none", "tone", "mean", "reinhard", "lct", "mkl", "luminance", "histogram", "transport"] = "mean",
    keep_luminance: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.0,
    keep_saturation: Annotated[float, Slider(0, 1, min=0, max=1)] = 0.0,
    smooth: Annotated[float, Slider(0, 50, unit="frames", min=0)] = 8.0,
) -> Series[Grade]:
    """Solve the color move from face to plate over the whole shot.

    Args:
        samples: What was measured in each frame.
        method: mean moves exposure and white balance and keeps black black; tone also brings a little of the plate's
            contrast, where its light is harder or softer; reinhard matches contrast channel by channel; lct and mkl
            also turn hues, mkl as little as it can; luminance bends one curve of brightness, histogram one curve for
            each channel, transport brings all colors together.
        keep_luminance: How much of its own luminance the face keeps: 1 matches color alone.
        keep_saturation: How much of its own saturation the face keeps.
        smooth: Frames over which measurements are averaged, so that the color does not pump.
    """
    if method == "none":
        return Series(samples.first, tuple(moves.IDENTITY for _ in samples.values))
    solve = SOLVERS[method]
    steady = steadied(samples, smooth)
    solved = tuple(
        moves.IDENTITY if sample is None else moves.protect(solve(sample), sample, keep_luminance, keep_saturation)
        for sample in steady.values
    )
    return Series(samples.first, solved)


def plate_white(
    samples: Series[ColorSample],
    *,
    headroom: Annotated[float, Slider(2, 12, min=1)] = 5.0,
    smooth: Annotated[float, Slider(0, 50, unit="frames", min=0)] = 8.0,
) -> Series[White]:
    """Find the light in each frame above which the plate shows highlights rather than skin.

    Args:
        samples: What was measured in each frame.
        headroom: How many times brighter than the plate's face on average a highlight is.
        smooth: Frames over which measurements are averaged.
    """
    steady = steadied(samples, smooth)
    levels = tuple(None if sample is None else headroom * _level(sample) for sample in steady.values)
    return Series(samples.first, levels)


def grade_face(
    layer: Layer,
    grade: Grade,
    *,
    amount: Annotated[float, Slider(0, 1, min=0, max=2)] = 1.0,
) -> Layer:
    """Give the face the color that was solved for it.

    Args:
        layer: Face to grade.
        grade: Color move of this frame.
        amount: How much of it: 0 leaves the face's own color.
    """
    image = moves.apply(layer.image, moves.mix(grade, amount))
    return layer if image is layer.image else replace(layer, image=image)


def measure_regions(
    layer: Layer,
    plate: Plate,
    face: Face,
) -> RegionSample:
    """Measure how color differs slowly over the skin of face and plate, in axes that follow the head.

    Args:
        layer: Face, its color matched as a whole.
        plate: Picture whose color the face should take on.
        face: Where the face is.
    """
    own, there, weight, corner, cell = _cells(layer, plate, face, "face")
    size = (weight.shape[-2], weight.shape[-1])
    return slow.measure(own, there, weight, slow.places(face, corner, size, cell))


def match_regions(
    samples: Series[RegionSample],
    *,
    size: Annotated[float, Slider(0.05, 0.5, min=0.05, max=1)] = 0.12,
    smooth: Annotated[float, Slider(0, 50, unit="frames", min=0)] = 12.0,
) -> Series[Regions]:
    """Solve, over the whole shot, where the plate's face is redder, darker or paler than its average.

    Args:
        samples: What was measured in each frame.
        size: Finest difference that is followed, in face widths; broader ones up to four times that always are.
        smooth: Frames over which differences are averaged.
    """
    return slow.match(samples, smooth, size)


def grade_regions(
    layer: Layer,
    regions: Regions,
    face: Face,
    *,
    amount: Annotated[float, Slider(0, 1, min=0, max=2)] = 0.5,
) -> Layer:
    """Give the face the plate's slow differences of color, each where it belongs on the head.

    Args:
        layer: Face to grade.
        regions: Differences in this frame.
        face: Where the face is.
        amount: How much of them: 0 leaves the face's own.
    """
    if amount == 0:
        return layer
    size = (layer.image.shape[-2], layer.image.shape[-1])
    where = slow.places(replace(face, points=face.points.to(layer.image)), layer.corner, size)
    return replace(layer, image=slow.apply(layer.image, regions, where, amount))


def _cells(layer: Layer, plate: Plate, face: Face, region: str) -> tuple[Image, Image, Matte, tuple[int, int], int]:
    """Face, plate and what counts, averaged over squares; the plate pixel where these begin, and their side."""
    (rows, columns), (there_rows, there_columns) = placing.shared(
        (layer.corner, layer.matte.shape), (plate.corner, plate.image.shape)
    )
    cell = max(1, round(layer.face_width / CELLS))
    corner = layer.corner[0] + columns.start, layer.corner[1] + rows.start
    x, y = _skipped(corner, face, cell)
    rows, there_rows = (slice(span.start + y, span.stop) for span in (rows, there_rows))
    columns, there_columns = (slice(span.start + x, span.stop) for span in (columns, there_columns))
    corner = corner[0] + x, corner[1] + y
    counts = layer.matte if region == "matte" else _shown(layer)
    own, there, weight = pool(
        layer.image[..., rows, columns],
        plate.image[..., there_rows, there_columns],
        counts[..., rows, columns],
        cell,
    )
    if region == "face" and weight.numel():
        points = (face.points[:, :2] - face.points.new_tensor(corner)) / cell
        size = (weight.shape[-2], weight.shape[-1])
        weight = weight * skin(points, face.scheme, size, face.width / cell).to(weight)
    return own, there, weight, corner, cell


def _skipped(corner: tuple[int, int], face: Face, cell: int) -> tuple[int, int]:
    """Columns and rows to leave out before a face, so that squares hold on to it, however far a region reaches."""
    low = face.points[:, :2].amin(0).floor().int().tolist()
    x, y = ((there - here) % cell if here < there else 0 for here, there in zip(corner, low))
    return x, y


def _shown(layer: Layer) -> Matte:
    """Where the layer shows a face that nothing stands in front of, whatever shape its matte was given."""
    known = layer.mattes.get("network", layer.matte)
    held = layer.mattes.get("hold_out")
    return known if held is None else known * (1 - held)


def _level(sample: ColorSample) -> float:
    """Scene-linear level of the plate's skin."""
    color = torch.tensor(sample.plate_mean, dtype=torch.float64)[:, None]
    return float(spaces.decode(color, sample.space).mean())
