import math

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mien.ops import pyramid
from mien.ops.warp import positions


def noise(height: int = 90, width: int = 120) -> torch.Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))


def levels_of(image: torch.Tensor, count: int) -> list[torch.Tensor]:
    levels = [image]
    while len(levels) < count and (smaller := pyramid.shrink(levels[-1])) is not None:
        levels.append(smaller)
    return levels


def test_nothing_done_gives_the_picture_back() -> None:
    image = noise()
    there = positions((90, 120))
    assert (pyramid.look_up([image], there, torch.zeros(90, 120)) - image).abs().max() < 1e-3


def test_a_shifted_look_up_is_opencvs_cubic() -> None:
    image = noise() + 8
    there = positions((60, 80), (10, 10)) + torch.tensor([0.37, -0.21])
    ours = pyramid.look_up([image], there, torch.zeros(60, 80))
    u, v = (there[..., k].numpy() - 0.5 for k in (0, 1))
    oracle = cv2.remap(image.permute(1, 2, 0).numpy(), u, v, cv2.INTER_CUBIC)
    # OpenCV keeps 1/32 pixel of a position.
    assert np.abs(ours.permute(1, 2, 0).numpy() - oracle).mean() < 0.02


def test_shrinking_does_not_alias() -> None:
    image = torch.zeros(3, 256, 256)
    image[:, :, ::2] = 1
    levels = levels_of(image, 8)
    there = positions((32, 32)) * 8
    level = pyramid.level_of(torch.full((32, 32), 8.0))
    smooth = pyramid.look_up(levels, there, level)[:, 4:-4, 4:-4]
    assert (smooth - 0.5).abs().max() < 0.02
    bare = pyramid.look_up(levels[:1], there + 0.5, torch.zeros(32, 32))[:, 4:-4, 4:-4]
    assert (bare - 0.5).abs().max() > 0.4


def test_levels_keep_light_and_place() -> None:
    y, x = torch.meshgrid(torch.arange(200.0) + 0.5, torch.arange(200.0) + 0.5, indexing="ij")
    spot = torch.exp(-((x - 83.3) ** 2 + (y - 121.7) ** 2) / 200).expand(3, -1, -1)
    levels = levels_of(spot, 5)
    there = positions((100, 100)) * 2
    for n in range(len(levels)):
        read = pyramid.look_up(levels, there, torch.full((100, 100), float(n)))[0]
        center = (read[..., None] * there).sum((0, 1)) / read.sum()
        assert torch.allclose(center, torch.tensor([83.3, 121.7]), atol=0.05)
        assert abs(float(read.sum() * 4 / spot[0].sum()) - 1) < 1e-3


def test_between_two_levels_both_are_mixed() -> None:
    levels = levels_of(noise(), 3)
    there = positions((40, 50)) * 1.3
    low, high = (pyramid.look_up(levels, there, torch.full((40, 50), float(n))) for n in (1, 2))
    level = torch.linspace(1, 2, 50).expand(40, 50)
    assert torch.allclose(pyramid.look_up(levels, there, level), torch.lerp(low, high, level - 1), atol=1e-5)


def test_keeping_size_reads_the_picture_itself() -> None:
    assert pyramid.level_of(torch.tensor([0.2, 1.0, 1.15])).max() == 0
    assert abs(float(pyramid.level_of(torch.tensor(4.0))) - 3.5) < 1e-6


def test_the_coarsest_level_ends_the_pyramid() -> None:
    levels = levels_of(noise(), 50)
    assert len(levels) < 8 and min(levels[-1].shape[-2:]) >= pyramid.SMALLEST
    far = pyramid.look_up(levels, positions((4, 4)) * 25, torch.full((4, 4), 40.0))
    assert torch.isfinite(far).all()


def test_beside_a_catchlight_a_dark_iris_stays_an_iris() -> None:
    image = torch.full((3, 90, 120), 0.02)
    image[:, 40:43, 50:53] = 8.0
    levels = levels_of(image, 4)
    for zoom in (0.31, 0.77, 1.0, 1.6, 2.4):
        there = positions((int(90 / zoom), int(120 / zoom))) * zoom
        read = pyramid.look_up(levels, there, pyramid.level_of(torch.full((1, 1), zoom)))
        # Half at most in each level that is made, and half where it is read.
        assert read.min() >= 0.0199 / 2 ** (1 + math.ceil(2 * math.log2(max(zoom, 1)))) and read.max() > 4
        rung = F.grid_sample(image[None], there[None] / 60 - 1, "bicubic", align_corners=False)
        assert rung.min() < -0.1


def test_lines_thinner_than_a_pixel_keep_what_a_cubic_gives_them() -> None:
    image = torch.full((3, 64, 64), 0.5)
    image[:, :, 30:32] = 0.2
    there = positions((64, 64)) + torch.tensor([0.5, 0.0])
    read = pyramid.look_up([image], there, torch.zeros(1, 1))
    assert abs(float(read[0, 20, 30]) - (0.2 * 1.1875 - 0.5 * 0.1875)) < 1e-4


def test_values_below_zero_stay() -> None:
    image = noise() - 5
    read = pyramid.look_up([image], positions((90, 120)), torch.zeros(1, 1))
    assert torch.allclose(read, image, atol=1e-3)


def test_what_is_read_changes_little_when_its_place_does() -> None:
    image = noise().abs()
    there = positions((88, 118)) + torch.rand(88, 118, 2, generator=torch.Generator().manual_seed(2))
    one, other = (pyramid.look_up([image], there + move, torch.zeros(1, 1)) for move in (0.0, 1e-3))
    assert (one - other).abs().max() < 0.02
