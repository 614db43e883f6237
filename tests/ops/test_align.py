"""Laying points on points."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from mien.ops.align import umeyama
from mien.ops.warp import transform


def cloud(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 40


def turn(size: int, seed: int) -> torch.Tensor:
    q, _ = torch.linalg.qr(cloud(size, size, seed))
    return q if torch.linalg.det(q) > 0 else q * torch.tensor([-1.0] + [1.0] * (size - 1))


@settings(max_examples=30)
@given(seed=st.integers(0, 10000), size=st.sampled_from([2, 3]), scale=st.floats(0.01, 50))
def test_finds_the_move_that_was_made(seed: int, size: int, scale: float) -> None:
    source = cloud(9, size, seed)
    target = scale * source @ turn(size, seed + 1).T + cloud(1, size, seed + 2)
    matrix = umeyama(source, target)
    assert torch.allclose(transform(source, matrix), target, atol=1e-8 * (1 + scale) * 100)
    assert torch.linalg.det(matrix[:size, :size]) > 0


def test_agrees_with_scikit_image_on_noisy_points() -> None:
    source = cloud(20, 2)
    target = 0.7 * source @ turn(2, 5).T + cloud(20, 2, 3) * 0.1
    theirs = SimilarityTransform.from_estimate(source.numpy(), target.numpy())
    assert torch.allclose(umeyama(source, target), torch.from_numpy(theirs.params), atol=1e-9)


def test_never_mirrors() -> None:
    source = cloud(12, 2)
    matrix = umeyama(source, source * torch.tensor([-1.0, 1.0]))
    assert torch.linalg.det(matrix[:2, :2]) > 0


def test_weights_choose() -> None:
    source = cloud(8, 2)
    target = source + torch.tensor([5.0, -3.0])
    target[0] += 1000
    weight = torch.ones(8)
    weight[0] = 0
    matrix = umeyama(source, target, weight)
    assert torch.allclose(matrix[:2, 2], torch.tensor([5.0, -3.0], dtype=torch.float64), atol=1e-9)
    twice = umeyama(torch.cat([source, source[1:2]]), torch.cat([target, target[1:2]]), torch.ones(9))
    heavier = torch.ones(8)
    heavier[1] = 2
    assert torch.allclose(umeyama(source, target, heavier), twice, atol=1e-8)


def test_batches_equal_loops() -> None:
    source, target = torch.stack([cloud(7, 3, n) for n in range(4)]), cloud(7, 3, 9)
    together = umeyama(source, target)
    assert together.shape == (4, 4, 4)
    for one, matrix in zip(source, together):
        assert torch.allclose(umeyama(one, target), matrix, atol=1e-12)


def test_points_in_one_place_are_only_shifted() -> None:
    matrix = umeyama(torch.full((5, 2), 3.0), torch.full((5, 2), 8.0))
    assert torch.allclose(matrix, torch.tensor([[1.0, 0, 5], [0, 1, 5], [0, 0, 1]], dtype=torch.float64))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="match"):
        umeyama(cloud(5, 2), cloud(6, 2))
    with pytest.raises(ValueError, match="weights"):
        umeyama(cloud(5, 2), cloud(5, 2), torch.zeros(5))
    assert math.isfinite(float(umeyama(cloud(2, 2), cloud(2, 2, 1)).sum()))
