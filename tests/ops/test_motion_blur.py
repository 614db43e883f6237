"""Motion blur: the field of a track's motion, and smearing along it."""

import math

import pytest
import torch

from mien.ops import motion_blur
from mien.ops.blend import over
from shots import points_at

SIZE = (120, 140)
WIDTH = 70.0


def still(x: float, y: float) -> torch.Tensor:
    return torch.tensor([x, y]).view(2, 1, 1).expand(2, *SIZE)


def disc(radius: float = 30.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(120) + 0.5, torch.arange(140) + 0.5, indexing="ij")
    return (radius + 0.5 - torch.hypot(x - 70, y - 60)).clamp(0, 1)[None]


def picture() -> torch.Tensor:
    return torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)) + 0.2


def field(velocity: torch.Tensor) -> torch.Tensor:
    points = points_at(170.0, 260.0, WIDTH)
    return motion_blur.velocity_field(points, velocity, torch.ones(468), WIDTH, (100, 200), SIZE)


def test_a_face_that_moves_as_a_whole_moves_every_pixel_alike() -> None:
    moved = field(torch.tensor([3.0, -1.5, 0.0]).expand(468, 3))
    assert torch.allclose(moved, still(3.0, -1.5), atol=1e-3)


def test_a_turning_and_growing_face_moves_pixels_as_its_points_move() -> None:
    points = points_at(170.0, 260.0, WIDTH)
    matrix = torch.tensor([[0.05, -0.1], [0.1, 0.05]])
    away = points[:, :2] - torch.tensor([170.0, 260.0])
    velocity = torch.cat([away @ matrix.T, torch.zeros(468, 1)], 1)
    y, x = torch.meshgrid(torch.arange(120) + 200.5 - 260, torch.arange(140) + 100.5 - 170, indexing="ij")
    wanted = torch.stack([0.05 * x - 0.1 * y, 0.1 * x + 0.05 * y])
    assert torch.allclose(field(velocity), wanted, atol=0.02)


def test_a_jaw_that_drops_moves_itself_and_not_the_brow() -> None:
    points = points_at(170.0, 260.0, WIDTH)
    low = points[:, 1] > 280
    velocity = torch.zeros(468, 3)
    velocity[low, 1] = 6.0
    moved = field(velocity)
    chin = points[152, :2] - torch.tensor([100.0, 200.0])
    brow = points[9, :2] - torch.tensor([100.0, 200.0])
    assert float(moved[1, int(chin[1]) - 2, int(chin[0])]) > 4.5
    assert abs(float(moved[1, int(brow[1]), int(brow[0])])) < 1.0


def test_lost_points_do_not_count() -> None:
    velocity = torch.tensor([2.0, 1.0, 0.0]).repeat(468, 1)
    velocity[:40] = torch.nan
    assert torch.allclose(field(velocity), still(2.0, 1.0), atol=1e-3)


def test_no_motion_is_the_picture_itself() -> None:
    image, matte = picture(), disc()
    same, kept = motion_blur.streak(image, matte, still(0.3, 0.2))
    assert same is image and kept is matte
    same, kept = motion_blur.streak(image, matte * 0, still(9, 0))
    assert same is image


@pytest.mark.parametrize(("x", "y"), [(5.0, 0.0), (0.0, 12.0), (9.0, -6.0)])
def test_a_smear_is_a_line_as_long_as_the_motion_and_centered(x: float, y: float) -> None:
    point = torch.zeros(3, *SIZE)
    point[:, 60, 70] = 1.0
    smeared, _ = motion_blur.streak(point, torch.ones(1, *SIZE), still(x, y))
    light = smeared[0].double()
    assert float(light.sum()) == pytest.approx(1.0, abs=0.02)
    down, across = torch.meshgrid(torch.arange(120.0) - 60, torch.arange(140.0) - 70, indexing="ij")
    length = math.hypot(x, y)
    along, aside = (across * x + down * y) / length, (across * -y + down * x) / length
    assert abs(float((light * along).sum())) < 0.05 and abs(float((light * aside).sum())) < 0.05
    assert float((light * along.square()).sum()) == pytest.approx(length**2 / 12, rel=0.08, abs=0.2)
    assert abs(float((light * aside.square()).sum())) < 0.3


def test_the_matte_is_smeared_with_the_face_and_nothing_around_creeps_in() -> None:
    matte = disc()
    image = torch.where(matte > 0, torch.full((3, *SIZE), 0.5), torch.tensor(1000.0))
    smeared, soft = motion_blur.streak(image, matte, still(16.0, 0.0))
    assert float(soft.sum()) == pytest.approx(float(matte.sum()), rel=0.01)
    assert float(soft.min()) >= 0.0 and float(soft.max()) <= 1.0
    laid = over(smeared, torch.full((3, *SIZE), 0.5), soft)
    assert torch.allclose(laid, torch.full((3, *SIZE), 0.5), atol=1e-3)
    assert float(soft[0, 60, 36]) > 0.2 and float(matte[0, 60, 36]) == 0
    back = picture()
    laid = over(smeared, back, soft)
    assert torch.equal(laid[:, :20], back[:, :20])


def test_odd_light_does_not_spread() -> None:
    image = picture()
    image[0, 60, 70], image[1, 50, 60] = torch.inf, torch.nan
    smeared, _ = motion_blur.streak(image, disc(), still(8.0, 3.0))
    assert int((~torch.isfinite(smeared)).sum()) == 2
    high = torch.full((3, *SIZE), 16.0)
    smeared, _ = motion_blur.streak(high, disc(), still(8.0, 3.0))
    assert torch.allclose(smeared, high, rtol=1e-3)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="same region"):
        motion_blur.streak(picture(), disc(), torch.zeros(2, 5, 5))


@pytest.mark.parametrize("motion", [(6.3, -2.1), (30.0, 17.0), (0.4, -9.0)])
def test_weighing_neighbors_is_reading_them(motion: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    image, matte, path = picture(), disc(), still(*motion)
    path = path + torch.linspace(-0.5, 0.5, SIZE[1]) * torch.tensor([0.6, -0.4])[:, None, None]
    weighed = motion_blur.streak(image, matte, path)
    monkeypatch.setattr(motion_blur, "UNEVEN", 0.0)
    for one, other in zip(weighed, motion_blur.streak(image, matte, path)):
        assert torch.allclose(one, other, atol=0.01)
        assert (one - other).square().mean().sqrt() < 1e-3
    assert not torch.allclose(weighed[0], image, atol=0.1)


@pytest.mark.parametrize("place", [(60, 70), (20, 8)])
def test_what_is_wholly_shown_is_smeared_like_its_edge(place: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of the picture and past its corner, side by side and all of it under its matte."""
    y, x = torch.meshgrid(torch.arange(240.0), torch.arange(280.0), indexing="ij")
    matte = (120.5 - torch.hypot(x - 2 * place[1], y - 2 * place[0])).div(8).clamp(0, 1)[None]
    image = torch.rand(3, 240, 280, generator=torch.Generator().manual_seed(3)) * 4 - 0.2
    # So uneven that some neighbors count on one side of the face alone.
    path = torch.tensor([4.3, 2.1]).view(2, 1, 1) + torch.linspace(-1.25, 1.25, 280) * torch.ones(2, 240, 1)
    monkeypatch.setattr(motion_blur, "TALLEST", 48)
    apart = motion_blur.streak(image, matte, path)
    monkeypatch.setattr(motion_blur, "NARROWEST", 10_000)
    whole = motion_blur.streak(image, matte, path)
    for one, other in zip(apart, whole):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    assert not torch.equal(apart[0], whole[0]), "something was wholly shown"


@pytest.mark.parametrize("height", [240, 243])
def test_motion_told_for_squares_is_that_of_their_pixels(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (height, 281)
    points = points_at(240.0, 320.0, 200.0)
    away = points[:, :2] - torch.tensor([240.0, 320.0])
    turning = away @ torch.tensor([[0.01, -0.02], [0.02, 0.01]]).T + torch.tensor([5.0, -3.0])
    velocity = torch.cat([turning, torch.zeros(468, 1)], 1)
    at = points, velocity, torch.ones(468), 200.0, (100, 200), size
    every = motion_blur.squares(400.0)
    assert every == 4 and motion_blur.squares(90.0) == 1
    fine, coarse = motion_blur.velocity_field(*at), motion_blur.velocity_field(*at, every=every)
    assert coarse.shape == (2, -(-height // 4), 71)
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(281.0), indexing="ij")
    matte = (100 - torch.hypot(x - 140, y - 120)).div(9).clamp(0, 1)[None]
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(5))
    for uneven in (motion_blur.UNEVEN, 0.0):
        monkeypatch.setattr(motion_blur, "UNEVEN", uneven)
        for one, other in zip(motion_blur.streak(image, matte, fine), motion_blur.streak(image, matte, coarse, every)):
            assert (one - other).square().mean().sqrt() < 2e-3
