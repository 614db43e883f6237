"""Solvers: closed forms, published formulas, and no harm where there is nothing to match."""

import math

import numpy
import pytest
import torch
from made_pictures import FULL, moments, picture
from scipy import linalg

from mien.ops import grade, match, measure

SOLVERS = match.SOLVERS


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
    a, b = numpy.array(sample.face_covariance), numpy.array(sample.plate_covariance)
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
