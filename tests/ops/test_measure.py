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
