"""Matching nodes."""

from dataclasses import replace
from typing import Annotated, Literal

from mien.declare import Slider
from mien.ops import grade as moves
from mien.ops import region
from mien.types import ColorSample, Grade, Layer, Plate, Series, White

SOLVERS = {"tone": moves.tone, "mean": moves.mean, "reinhard": moves.reinhard, "mkl": moves.mkl}


def measure_color(
    layer: Layer,
    plate: Plate,
    *,
    trim: Annotated[float, Slider(0, 0.2, min=0, max=0.9)] = 0.02,
) -> ColorSample:
    """Measure the colors of face and plate under the matte; the weight is 0 where there is nothing to measure.

    Args:
        layer: Face and its matte.
        plate: Picture whose color the face should take on.
        trim: Share of the brightest pixels that does not count, so that a highlight does not pull the color.
    """
    (rows, columns), (there_rows, there_columns) = region.shared(
        (layer.corner, layer.matte.shape), (plate.corner, plate.image.shape)
    )
    return moves.measure(
        layer.image[..., rows, columns],
        plate.image[..., there_rows, there_columns],
        layer.matte[..., rows, columns],
        trim,
    )


def match_color(
    samples: Series[ColorSample],
    *,
    method: Literal["none", "tone", "mean", "reinhard", "mkl"] = "tone",
    smooth: Annotated[float, Slider(0, 50, unit="frames", min=0)] = 8.0,
) -> Series[Grade]:
    """Solve the color move from face to plate over the whole shot.

    Args:
        samples: What was measured in each frame.
        method: mean moves exposure and white balance and keeps black black; tone also matches contrast and is kind to
            spectacles and beards; reinhard matches contrast channel by channel; mkl also turns hues. The last two
            color what is dark on a face.
        smooth: Frames over which measurements are averaged, so that the color does not pump.
    """
    if method == "none":
        return Series(samples.first, tuple(moves.IDENTITY for _ in samples.values))
    solve = SOLVERS[method]
    steady = moves.smooth(samples, smooth)
    solved = tuple(moves.IDENTITY if sample is None else solve(sample) for sample in steady.values)
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
    steady = moves.smooth(samples, smooth)
    levels = tuple(None if sample is None else headroom * sum(sample.plate_mean) / 3 for sample in steady.values)
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
    return replace(layer, image=moves.apply(layer.image, moves.mix(grade, amount)))
