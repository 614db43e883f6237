"""Matching color: solved from weighted moments, applied to light that nothing clips."""

import math
from dataclasses import replace

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from mien.ops import grade, match, measure
from mien.ops.samples import smooth
from mien.types import ColorSample, Series

SOLVERS = match.SOLVERS
FULL = torch.ones(1, 64, 64)


def picture(seed: int, level: float = 0.3, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.eye(3) + 0.4 * torch.rand(3, 3, generator=generator)
    spread = torch.randn(3, size, size, generator=generator) * 0.1
    return level * (1 + torch.einsum("ij,jhw->ihw", mix, spread))


def moments(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = image.flatten(1).double()
    return flat.mean(1), torch.cov(flat, correction=0)


def test_measure_is_the_plain_moments_under_a_full_matte() -> None:
    face, plate = picture(1), picture(2, 0.8)
    sample = measure.measure(face, plate, FULL)
    assert sample.weight == 64 * 64
    for image, mean, covariance in (
        (face, sample.face_mean, sample.face_covariance),
        (plate, sample.plate_mean, sample.plate_covariance),
    ):
        expected = moments(image)
        assert torch.allclose(torch.tensor(mean, dtype=torch.float64), expected[0], atol=1e-9)
        assert torch.allclose(torch.tensor(covariance, dtype=torch.float64), expected[1], atol=1e-9)


def test_measure_weighs_like_numpy() -> None:
    face, plate = picture(1), picture(2)
    matte = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(3))
    sample = measure.measure(face, plate, matte)
    flat = face.flatten(1).double().numpy()
    weights = matte.flatten().double().numpy()
    assert numpy.allclose(sample.face_mean, numpy.average(flat, axis=1, weights=weights))
    assert numpy.allclose(sample.face_covariance, numpy.cov(flat, aweights=weights, ddof=0))


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("coverage", [0.25, 0.5, 0.9])
def test_does_not_depend_on_the_area_of_the_matte(method: str, coverage: float) -> None:
    # The same colors everywhere: only the area differs. Peers that keep zeros in the statistics drift by 8-13 %.
    whole = torch.ones(1, 256, 256)
    solve = SOLVERS[method]
    tiled_face = picture(1, size=64).repeat(1, 4, 4)
    tiled_plate = picture(2, 0.7, size=64).repeat(1, 4, 4)
    part = whole.clone()
    part[:, 64 * max(1, int(4 * coverage)) :] = 0
    all_of_it = solve(measure.measure(tiled_face, tiled_plate, whole))
    some_of_it = solve(measure.measure(tiled_face, tiled_plate, part))
    for a, b in zip(numpy.ravel(all_of_it.matrix), numpy.ravel(some_of_it.matrix)):
        assert abs(a - b) < 1e-6
    # What lies outside the matte does not matter at all.
    spoiled = torch.where(part > 0, tiled_face, 1e6)
    assert solve(measure.measure(spoiled, tiled_plate, part)) == some_of_it


def test_mean_brings_means_together() -> None:
    face, plate = picture(1), picture(2, 0.8)
    moved = grade.apply(face, match.mean(measure.measure(face, plate, FULL)))
    assert torch.allclose(moved.mean((1, 2)), plate.mean((1, 2)), rtol=1e-5)


def test_reinhard_brings_mean_and_spread_together() -> None:
    face, plate = picture(1), picture(2, 0.8)
    moved = grade.apply(face, match.reinhard(measure.measure(face, plate, FULL)))
    assert torch.allclose(moved.mean((1, 2)), plate.mean((1, 2)), rtol=1e-4)
    assert torch.allclose(moved.std((1, 2)), plate.std((1, 2)), rtol=1e-2)


def test_mkl_brings_mean_and_covariance_together() -> None:
    face, plate = picture(1), picture(2, 0.8)
    moved = grade.apply(face, match.mkl(measure.measure(face, plate, FULL)))
    assert torch.allclose(moments(moved)[0], moments(plate)[0], rtol=1e-4)
    assert torch.allclose(moments(moved)[1], moments(plate)[1], atol=5e-4)


def test_mkl_is_the_published_formula() -> None:
    sample = measure.measure(picture(1), picture(2, 0.8), FULL)
    a, b = (
        numpy.array(covariance) + (match.FLAT * max(mean)) ** 2 * numpy.eye(3)
        for covariance, mean in (
            (sample.face_covariance, sample.face_mean),
            (sample.plate_covariance, sample.plate_mean),
        )
    )
    root = linalg.sqrtm(a)
    expected = linalg.inv(root) @ linalg.sqrtm(root @ b @ root) @ linalg.inv(root)
    found = numpy.array(match.mkl(sample).matrix)
    assert numpy.allclose(found, expected, atol=1e-9)
    assert numpy.allclose(found, found.T, atol=1e-12)


@pytest.mark.parametrize("method", SOLVERS)
def test_the_same_picture_needs_no_grade(method: str) -> None:
    face = picture(1)
    solved = SOLVERS[method](measure.measure(face, face, FULL))
    assert numpy.allclose(solved.matrix, numpy.eye(3), atol=1e-9)
    assert numpy.allclose(solved.offset, 0, atol=1e-9)


@pytest.mark.parametrize("method", SOLVERS)
def test_exposure_alone_is_found_as_gain(method: str) -> None:
    face = picture(1)
    for stops in (-4.0, -0.5, 3.0):
        solved = SOLVERS[method](measure.measure(face, face * 2**stops, FULL))
        assert numpy.allclose(solved.matrix, 2**stops * numpy.eye(3), rtol=1e-5)


@pytest.mark.parametrize("method", SOLVERS)
def test_flat_and_empty_do_no_harm(method: str) -> None:
    flat = torch.full((3, 64, 64), 0.4)
    solved = SOLVERS[method](measure.measure(flat, flat * 2, FULL))
    assert torch.allclose(grade.apply(flat, solved), flat * 2, rtol=1e-5)
    from_flat = SOLVERS[method](measure.measure(flat, picture(2), FULL))
    assert numpy.isfinite(from_flat.matrix).all() and numpy.abs(from_flat.matrix).max() <= match.STRONGEST
    black = SOLVERS[method](measure.measure(flat * 0, flat * 0, FULL))
    assert torch.allclose(grade.apply(flat, black), flat, rtol=1e-5)
    assert SOLVERS[method](measure.measure(flat, flat, FULL * 0)) == grade.IDENTITY
    assert SOLVERS[method](measure.measure(flat * math.nan, flat, FULL)) == grade.IDENTITY


def test_bad_pixels_do_not_count() -> None:
    face, plate = picture(1), picture(2)
    without = FULL.clone()
    without[0, :2] = 0
    face[0, 0, :], plate[2, 1, :] = math.inf, math.nan
    spoiled, clean = measure.measure(face, plate, FULL), measure.measure(face, plate, without)
    assert spoiled.weight == clean.weight
    assert numpy.allclose(spoiled.face_mean, clean.face_mean, rtol=1e-12)
    assert numpy.allclose(spoiled.plate_covariance, clean.plate_covariance, rtol=1e-12)


def test_trim_leaves_out_highlights() -> None:
    face, plate = picture(1), picture(2, 0.8)
    lit = plate.clone()
    lit[:, 10:15, 10:20] = 40.0
    clean = measure.measure(face, plate, FULL, 0.03)
    trimmed = measure.measure(face, lit, FULL, 0.03)
    assert numpy.allclose(clean.plate_mean, trimmed.plate_mean, rtol=0.02)
    assert numpy.allclose(clean.plate_covariance, trimmed.plate_covariance, rtol=0.25)
    assert trimmed.weight / measure.measure(face, lit, FULL).weight == pytest.approx(0.94, abs=0.025)


def test_apply_clips_nothing_and_identity_is_the_picture() -> None:
    image = torch.tensor([16.0, -0.05, math.inf, math.nan]).expand(3, 1, 4).clone()
    assert grade.apply(image, grade.IDENTITY) is image
    move = grade.mix(grade.IDENTITY, 0.3)
    assert torch.equal(grade.apply(image, move)[:, 0, :2], image[:, 0, :2])
    gain = replace(grade.IDENTITY, matrix=((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0)), offset=(0.5,) * 3)
    assert torch.allclose(grade.apply(image, gain)[0, 0, :2], torch.tensor([32.5, 0.4]))
    stack = torch.stack([image, image * 2])
    assert torch.equal(grade.apply(stack, gain)[1, :, :, :2], grade.apply(stack[1], gain)[:, :, :2])


@settings(max_examples=30, deadline=None)
@given(amount=st.floats(0, 1))
def test_mix_runs_straight(amount: float) -> None:
    move = match.mkl(measure.measure(picture(1), picture(2, 0.8), FULL))
    image = picture(4)
    expected = image + amount * (grade.apply(image, move) - image)
    assert torch.allclose(grade.apply(image, grade.mix(move, amount)), expected, atol=1e-5)


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


def test_regions_must_agree() -> None:
    with pytest.raises(ValueError, match="same region"):
        measure.measure(picture(1), picture(1, size=32), FULL)


def test_tone_matches_means_and_the_spread_of_luminance() -> None:
    face, plate = picture(1, 0.2), picture(2, 0.6)
    move = match.tone(measure.measure(face, plate, FULL))
    moved = grade.apply(face, move)
    assert torch.allclose(moved.mean((1, 2)), plate.mean((1, 2)), rtol=1e-4)
    weights = torch.tensor([0.2722, 0.6741, 0.0537])[:, None, None]
    spread = [float((p * weights).sum(0).std()) for p in (moved, plate)]
    assert spread[0] == pytest.approx(spread[1], rel=0.02)


def test_tone_lifts_black_toward_the_plates_own_color() -> None:
    face, plate = picture(1, 0.2) * 3 - 0.4, picture(2, 0.6)
    move = match.tone(measure.measure(face, plate, FULL))
    lift, mean = torch.tensor(move.offset), plate.mean((1, 2))
    assert (lift > 0).all()
    assert torch.allclose(lift / lift.sum(), mean / mean.sum(), atol=1e-3)
