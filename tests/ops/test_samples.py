"""Smoothing measurements over a shot."""

import math
from dataclasses import replace

import numpy
import pytest
from made_pictures import FULL, picture

from mien.ops import measure
from mien.ops.samples import smooth
from mien.types import ColorSample, Series, Table


def series(levels: list[float | None], wobble: float = 0.0, seed: int = 0) -> Series[ColorSample]:
    generator = numpy.random.default_rng(seed)
    base = measure.measure(picture(1), picture(2), FULL)
    values: list[ColorSample | None] = []
    for level in levels:
        if level is None:
            values.append(None)
            continue
        level = level * (1 + wobble * generator.standard_normal())
        rows = tuple(tuple(v * level**2 for v in row) for row in base.plate_covariance)
        mean = tuple(v * level for v in base.plate_mean)
        values.append(replace(base, plate_mean=mean, plate_covariance=rows))
    return Series(10, tuple(values))


def levels(samples: Series[ColorSample]) -> numpy.ndarray:
    base = measure.measure(picture(1), picture(2), FULL)
    return numpy.array([math.nan if s is None else s.plate_mean[0] / base.plate_mean[0] for s in samples.values])


def test_smoothing_takes_out_wobble() -> None:
    wobbling = series([1.0] * 100, 0.02)
    before, after = levels(wobbling), levels(smooth(wobbling, 8.0))
    assert after.std() < 0.35 * before.std()
    assert abs(numpy.diff(after)).max() < 0.1 * abs(numpy.diff(before)).max()


def test_smoothing_follows_a_steady_change_without_lag() -> None:
    ramp = [1.0 + 0.004 * n for n in range(80)]
    assert numpy.abs(levels(smooth(series(ramp), 8.0)) - ramp).max() < 2e-3


def test_smoothing_is_the_same_backwards() -> None:
    wobbling = series([1.0 + 0.1 * math.sin(n / 5) for n in range(40)], 0.02)
    reverse = Series(wobbling.first, wobbling.values[::-1])
    forward, backward = levels(smooth(wobbling, 5.0)), levels(smooth(reverse, 5.0))
    assert numpy.allclose(forward, backward[::-1], rtol=1e-9)


def test_a_flash_is_followed_at_once() -> None:
    flash = [1.0] * 20 + [3.0] * 3 + [1.0] * 20
    assert numpy.abs(levels(smooth(series(flash), 8.0)) / flash - 1).max() < 0.02


def test_gaps_are_filled_in_a_straight_line_and_ends_repeated() -> None:
    gappy = series([None, None, 1.0, 1.1, None, None, None, 1.5, None])
    filled = levels(smooth(gappy, 0.0))
    assert numpy.allclose(filled, [1.0, 1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.5])
    assert smooth(gappy, 0.0).first == 10


def test_empty_measurements_are_gaps() -> None:
    with_nothing = series([1.0, 1.0, 1.0])
    values = (with_nothing.values[0], measure.NOTHING, with_nothing.values[2])
    assert numpy.allclose(levels(smooth(Series(10, values), 4.0)), 1.0)
    assert smooth(Series(1, (None, None)), 4.0).values == (None, None)


@pytest.mark.parametrize("space", ["linear", "log", "perceptual"])
def test_tables_are_smoothed_with_the_rest(space: str) -> None:
    colors = measure.flat(picture(1), picture(2), FULL)
    one = measure.with_palettes(measure.ranked(measure.moments(*colors, space), *colors), *colors)
    values = tuple(
        None
        if frame == 7
        else replace(one, plate_palette=Table([v + 0.01 * (-1) ** frame for v in row] for row in one.plate_palette))
        for frame in range(24)
    )
    steady = smooth(Series(1, values), 6.0)
    assert all(value is not None and value.space == space for value in steady.values)
    first = numpy.array([value.plate_palette[0][0] for value in steady.values if value is not None])
    assert numpy.abs(numpy.diff(first)).max() < 0.004
    exact = numpy.array([value.face_quantiles for value in steady.values if value is not None])
    assert numpy.allclose(exact, one.face_quantiles, atol=1e-9)


def test_measurements_of_two_kinds_are_refused() -> None:
    one = measure.measure(picture(1), picture(2), FULL)
    with pytest.raises(ValueError, match="one space"):
        smooth(Series(1, (one, replace(one, space="log"))), 4.0)
