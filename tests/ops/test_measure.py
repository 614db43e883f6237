"""Measuring colors: weighted by the matte, blind to all else."""

import math

import numpy
import pytest
import torch
from made_pictures import FULL, moments, picture

from mien.ops import measure


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


def test_regions_must_agree() -> None:
    with pytest.raises(ValueError, match="same region"):
        measure.measure(picture(1), picture(1, size=32), FULL)


def test_quantiles_are_numpy_s() -> None:
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    weight = torch.rand(20_000, generator=torch.Generator().manual_seed(2))
    found = measure.quantiles(values, measure.whole(weight), 9).numpy()
    order = values.argsort()
    heap = weight[order].double().cumsum(0)
    expected = numpy.interp((numpy.arange(9) + 0.5) / 9 * float(heap[-1]), heap.numpy(), values[order].numpy())
    assert numpy.allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("space", ["linear", "log", "perceptual"])
def test_palettes_have_the_moments_of_the_picture(space: str) -> None:
    face, plate = picture(1), picture(2, 0.8)
    colors = measure.flat(face, plate, FULL)
    sample = measure.with_palettes(measure.moments(*colors, space), *colors)
    found = numpy.array(sample.plate_palette)
    assert found.shape == (64, 3)
    assert numpy.allclose(found.mean(0), sample.plate_mean, atol=1e-6)
    assert numpy.allclose(numpy.cov(found.T, bias=True), sample.plate_covariance, rtol=1e-3, atol=1e-6)


def test_palettes_of_one_picture_in_two_lights_correspond() -> None:
    face = picture(1)
    light = torch.tensor([2.0, 0.7, 1.2])[:, None, None]
    colors = measure.flat(face, face * light, FULL)
    sample = measure.with_palettes(measure.moments(*colors), *colors)
    assert numpy.allclose(numpy.array(sample.face_palette) * light.flatten().numpy(), sample.plate_palette, atol=1e-5)


def test_pooling_averages_under_the_matte_alone() -> None:
    face, plate = picture(1), picture(2)
    matte = FULL.clone()
    matte[0, :, 32:] = 0
    face[:, :, 32:], plate[0, 3, 3] = math.nan, math.inf
    front, back, weight = measure.pool(face, plate, matte, 8)
    assert front.shape == (3, 8, 8) and torch.isfinite(front).all() and torch.isfinite(back).all()
    assert torch.equal(weight[0, :, 4:], torch.zeros(8, 4)) and float(weight[0, 0, 0]) == 63 / 64
    assert torch.allclose(front[:, 1, 1], face[:, 8:16, 8:16].mean((1, 2)))
    assert measure.pool(face, plate, matte, 1)[0] is face


def test_outliers_move_means_and_leave_spreads() -> None:
    face, plate = picture(1), picture(2, 0.8)
    spoiled = plate.clone()
    spoiled[:, :16] = 0.01
    clean, plain, robust = (
        measure.measure(face, one, FULL, outliers=strength)
        for one, strength in ((plate, 0.0), (spoiled, 0.0), (spoiled, 1.0))
    )
    assert numpy.allclose(robust.plate_mean, clean.plate_mean, rtol=0.02)
    assert not numpy.allclose(plain.plate_mean, clean.plate_mean, rtol=0.15)
    assert robust.plate_covariance == plain.plate_covariance
