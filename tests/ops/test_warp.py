"""Resampling: exact where nothing is to be done, alias-free where it shrinks."""

import math

import cv2
import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ops import warp


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def turned(angle: float, scale: float, x: float = 0.0, y: float = 0.0) -> torch.Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, x], [s, c, y], [0, 0, 1]], dtype=torch.float64)


def waves(places: torch.Tensor) -> torch.Tensor:
    x, y = places.unbind(-1)
    return (torch.sin(x / 7) + torch.cos(y / 9 + x / 20))[None]


def test_identity_keeps_every_bit() -> None:
    image = noise(3, 20, 30) * 1e4 - 10
    image[0, 3, 3], image[1, 4, 4], image[2, 5, 5] = math.nan, math.inf, -math.inf
    assert torch.equal(warp.warp(image, torch.eye(3), (20, 30)).view(torch.int32), image.view(torch.int32))
    there = warp.positions((20, 30))
    assert torch.equal(warp.sample(image, there).view(torch.int32), image.view(torch.int32))


@settings(max_examples=25)
@given(x=st.integers(-40, 40), y=st.integers(-40, 40))
def test_whole_pixel_moves_are_exact(x: int, y: int) -> None:
    image = noise(3, 20, 30) * 100
    moved = warp.warp(image, torch.tensor([[1.0, 0, x], [0, 1, y], [0, 0, 1]]), (25, 35))
    rows = (torch.arange(25) - y).clamp(0, 19)
    columns = (torch.arange(35) - x).clamp(0, 29)
    assert torch.equal(moved, image[:, rows][:, :, columns])
    assert torch.equal(warp.sample(image, warp.positions((25, 35), (-x, -y))), moved)


def test_batches_equal_loops() -> None:
    images = noise(2, 3, 40, 40)
    matrices = torch.stack([turned(0.2, 0.4, 5, 3), turned(-0.4, 1.7, -9, 2)])
    together = warp.warp(images, matrices, (30, 20))
    for image, matrix, result in zip(images, matrices, together):
        assert torch.equal(warp.warp(image, matrix, (30, 20)), result)
    maps = torch.stack([warp.transform(warp.positions((8, 9)).double(), m).float() for m in matrices])
    both = warp.sample(images, maps)
    assert torch.equal(both[1], warp.sample(images[1], maps[1]))
    assert warp.sample(images[0], maps).shape == (2, 3, 8, 9)


def test_enlarging_is_keys_cubic() -> None:
    # OpenCV's INTER_CUBIC has a = -0.75; Keys' -0.5 follows a parabola exactly, which -0.75 does not.
    x = torch.arange(40.0) + 0.5
    parabola = (0.03 * x.square() - x)[None, None].expand(1, 40, 40).contiguous()
    there = warp.positions((50, 50)) * 0.37 + 8.0
    u = there[..., 0]
    assert torch.allclose(warp.sample(parabola, there)[0], 0.03 * u.square() - u, atol=1e-4)


@pytest.mark.parametrize("scale", [0.8, 0.37, 0.21, 0.11])
def test_shrinking_agrees_with_area_average_of_a_smooth_picture(scale: float) -> None:
    size = int(200 * scale)
    image = waves(warp.positions((300, 300)))
    matrix = turned(0.15, scale, scale * -20, scale * -50)
    result = warp.warp(image, matrix, (size, size))
    fine = warp.transform((warp.positions((size * 8, size * 8)) / 8).double(), torch.linalg.inv(matrix))
    average = waves(fine).unflatten(-2, (size, 8)).unflatten(-1, (size, 8)).mean((-1, -3))
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert (result - average)[inner].abs().max() < 0.06
    assert (result - average)[inner].abs().mean() < 0.02


@pytest.mark.parametrize("scale", [2.0, 3.0, 4.4, 7.0, 13.0])
def test_a_checkerboard_shrinks_to_gray(scale: float) -> None:
    y, x = torch.meshgrid(torch.arange(512), torch.arange(512), indexing="ij")
    board = ((x + y) % 2).float()[None]
    small = warp.warp(board, turned(0.0, 1 / scale), (32, 32))[:, 3:-3, 3:-3]
    assert (small - 0.5).abs().max() < 1e-5


def test_an_uneven_map_shrinks_without_aliasing() -> None:
    x = torch.arange(400).expand(400, 400)
    stripes = (x % 2).float()[None].expand(1, 400, 400)
    there = warp.positions((60, 60)) * torch.tensor([5.0, 1.0]) + torch.tensor([40.0, 150.3])
    assert (warp.sample(stripes, there) - 0.5).abs().max() < 0.02
    # Along y nothing shrinks, so nothing may be lost there.
    across = stripes.mT.contiguous()
    sharp = warp.sample(across, warp.positions((60, 60)) * torch.tensor([5.0, 1.0]) + 40.0)
    assert (sharp - 0.5).abs().min() > 0.49


def test_agrees_with_opencv_where_both_interpolate_smooth_pictures() -> None:
    image = waves(warp.positions((120, 140)))
    matrix = turned(0.3, 1.3, -20, -40)
    result = warp.warp(image, matrix, (90, 100))[0].numpy()
    # OpenCV counts from the center of the first pixel.
    half = numpy.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    shifted = (numpy.linalg.inv(half) @ matrix.numpy() @ half)[:2]
    theirs = cv2.warpAffine(
        image[0].numpy(), shifted, (100, 90), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    valid = warp.inside(warp.transform(warp.positions((90, 100)).double(), matrix.inverse()), (120, 140))
    inner = cv2.erode(valid[0].float().numpy(), numpy.ones((9, 9))) > 0.99
    assert inner.sum() > 3000
    assert numpy.abs(result - theirs)[inner].max() < 0.02


def test_perspective() -> None:
    matrix = torch.tensor([[1.0, 0.1, 3], [0.05, 0.9, 4], [0.001, 0.0005, 1]], dtype=torch.float64)
    result = warp.warp(waves(warp.positions((150, 150))), matrix, (80, 80))
    back = warp.transform(warp.positions((80, 80)).double(), torch.linalg.inv(matrix))
    assert (result - waves(back).float())[:, 10:-10, 10:-10].abs().max() < 0.02


def test_values_are_not_clipped_and_constants_stay() -> None:
    image = torch.full((3, 64, 64), 12345.5)
    for scale in (0.13, 0.6, 1.9):
        assert torch.allclose(warp.warp(image, turned(0.3, scale), (40, 40)), image[:, :40, :40], rtol=1e-5)
    assert warp.warp(-image, turned(0.3, 0.6), (40, 40)).max() < -12345


def test_bad_pixels_stay_within_the_kernel() -> None:
    image = noise(3, 60, 60)
    image[:, 30, 30] = math.nan
    spoiled = ~warp.warp(image, turned(0.1, 1.5), (90, 90)).isfinite()
    assert 0 < spoiled.sum() <= 3 * 7 * 7
    spoiled = ~warp.warp(image, turned(0.1, 0.4), (24, 24)).isfinite()
    assert 0 < spoiled.sum() <= 3 * 9 * 9


def test_positions_that_are_nothing_give_nothing() -> None:
    there = warp.positions((10, 10)) + 0.3
    there[2, 2] = math.nan
    result = warp.sample(noise(3, 12, 12), there)
    assert result[:, 2, 2].isnan().all()
    result[:, 2, 2] = 0
    assert result.isfinite().all()


def test_far_positions_repeat_the_edge() -> None:
    image = noise(1, 8, 8)
    there = torch.tensor([[[[-500.25, 3.5]]], [[[700.75, 3.5]]]])
    result = warp.sample(image, there)
    assert torch.allclose(result.flatten(), image[0, 3, [0, -1]], atol=1e-5)


def test_inside_is_the_share_of_a_pixel() -> None:
    there = warp.positions((4, 4), (-2, 0)) + torch.tensor([0.25, 0.0])
    share = warp.inside(there, (4, 9))
    assert share.shape == (1, 4, 4)
    assert torch.allclose(share[0, 0], torch.tensor([0.0, 0.25, 1.0, 1.0]))


def test_round_trip_keeps_detail() -> None:
    image = noise(3, 80, 80)
    soft = warp.warp(image, turned(0.0, 0.25), (20, 20))
    smooth = warp.warp(soft, turned(0.0, 4.0), (80, 80))
    there = turned(0.3, 1.1, 10, -5)
    back = warp.warp(warp.warp(smooth, there, (120, 120)), torch.linalg.inv(there), (80, 80))
    difference = (back - smooth)[:, 20:60, 25:60]
    assert difference.abs().max() < 0.01


def test_footprint_holds_the_crop() -> None:
    matrix = turned(0.4, 0.5, -30, 10)
    corner, (height, width) = warp.footprint(matrix, (64, 64))
    corners = torch.tensor([[0.0, 0], [64, 0], [0, 64], [64, 64]], dtype=torch.float64)
    there = warp.transform(corners, torch.linalg.inv(matrix))
    low, high = torch.tensor(corner), torch.tensor(corner) + torch.tensor([width, height])
    assert (there >= low).all() and (there <= high).all()
    assert (there.amin(0) - low < 1).all() and (high - there.amax(0) < 1).all()


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(3, 0, 5\)"):
        warp.warp(torch.zeros(3, 0, 5), torch.eye(3), (4, 4))
    with pytest.raises(ValueError, match="coordinates"):
        warp.sample(torch.zeros(3, 4, 4), torch.zeros(4, 4, 3))
