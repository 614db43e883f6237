"""The guided filter against its formula, written out window by window."""

import numpy as np
import pytest
import torch

from mien.ops import guided as filters
from mien.ops.guided import box_mean, guided, guided_fast, picture_guide


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def windows(size: tuple[int, int], radius: int, y: int, x: int) -> tuple[slice, slice]:
    return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)


def formula(guide: np.ndarray, matte: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """He, Sun, Tang 2010, equations 5, 6 and 8 for color, one window at a time in double precision."""
    channels, height, width = guide.shape
    slope, offset = np.zeros((height, width, channels)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rows, columns = windows((height, width), radius, y, x)
            colors = guide[:, rows, columns].reshape(channels, -1).astype(np.float64)
            values = matte[rows, columns].ravel().astype(np.float64)
            spread = np.cov(colors, bias=True).reshape(channels, channels) + epsilon * np.eye(channels)
            shared = (colors * values).mean(1) - colors.mean(1) * values.mean()
            slope[y, x] = np.linalg.solve(spread, shared)
            offset[y, x] = values.mean() - slope[y, x] @ colors.mean(1)
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rows, columns = windows((height, width), radius, y, x)
            mean = slope[rows, columns].reshape(-1, channels).mean(0)
            result[y, x] = mean @ guide[:, y, x] + offset[rows, columns].mean()
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("radius", [1, 3, 40])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_is_the_formula(channels: int, radius: int, epsilon: float) -> None:
    guide, matte = noise(channels, 24, 31), (noise(1, 24, 31, seed=1) > 0.5).float()
    truth = formula(guide.numpy(), matte[0].numpy(), radius, epsilon)
    assert np.abs(guided(guide, matte, radius, epsilon)[0].numpy() - truth).max() < 1e-5


def test_is_the_formula_on_bright_flat_pictures() -> None:
    """Sums of squares in single precision would lose the variance altogether."""
    guide = 40 + 0.01 * noise(3, 30, 40)
    matte = (guide.mean(0, keepdim=True) > 40.005).float()
    truth = formula(guide.numpy(), matte[0].numpy(), 4, 1e-6)
    assert np.abs(guided(guide, matte, 4, 1e-6)[0].numpy() - truth).max() < 1e-4


def test_box_means() -> None:
    values = noise(2, 3, 17, 23)
    for radius in (1, 5, 16, 22, 100):
        found = box_mean(values, radius)
        for y, x in ((0, 0), (8, 11), (16, 22), (3, 20)):
            rows, columns = windows((17, 23), radius, y, x)
            assert torch.allclose(found[..., y, x], values[..., rows, columns].mean((-1, -2)), atol=1e-6)
    assert torch.equal(box_mean(torch.zeros(1, 5, 5), 2), torch.zeros(1, 5, 5))


def test_a_matte_of_one_value_stays() -> None:
    for value in (0.0, 1.0):
        matte = torch.full((1, 20, 20), value)
        assert torch.allclose(guided(noise(3, 20, 20), matte, 3, 1e-4), matte, atol=1e-6)
    assert torch.equal(guided(noise(3, 20, 20), torch.zeros(1, 20, 20), 3, 1e-4), torch.zeros(1, 20, 20))


def test_no_radius_no_change() -> None:
    matte = noise(1, 9, 9)
    assert guided(noise(3, 9, 9), matte, 0, 1e-4) is matte


def test_pulls_a_rough_matte_to_the_edge_of_the_picture() -> None:
    x = torch.arange(80.0).expand(60, 80)
    picture = torch.where(x < 40, 0.2, 0.7).expand(3, 60, 80) + 0.01 * noise(3, 60, 80)
    rough = (x < 44).float()[None]
    pulled = guided(picture, rough, 10, 1e-4)[0, 30]
    assert pulled[:39].min() > 0.95 and pulled[44:].max() < 0.4
    # The rough edge lies 4 pixels off the picture's; the pulled one crosses one half right on it.
    assert int((pulled < 0.5).nonzero()[0]) == 40


def test_batches_equal_loops() -> None:
    guide, matte = noise(2, 3, 20, 30), noise(2, 1, 20, 30)
    together = guided(guide, matte, 3, 1e-3)
    for row in range(2):
        assert torch.equal(guided(guide[row], matte[row], 3, 1e-3), together[row])


@pytest.mark.parametrize("size", [(96, 128), (97, 131)])
def test_fewer_windows_say_nearly_the_same(size: tuple[int, int]) -> None:
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    matte = (30 - torch.hypot(x - 60.0, y - 48.0) + 0.5).clamp(0, 1)[None]
    picture = (0.2 + 0.5 * matte + 0.02 * noise(1, *size)).expand(3, *size)
    exact, fast = guided(picture, matte, 12, 1e-3), guided_fast(picture, matte, 12, 1e-3, 3)
    assert (exact - fast).abs().mean() < 0.01
    assert torch.equal(guided_fast(picture, matte, 12, 1e-3, 1), exact)


@pytest.mark.parametrize("radius", [1, 3, 9, 20])
def test_surrounded_means_all_around(radius: int) -> None:
    there = torch.ones(1, 70, 90, dtype=torch.bool)
    there[0, 31, 44] = there[0, 5, 80] = False
    found = filters.surrounded(there, radius)[0]
    away = [(abs(y - a), abs(x - b)) for a, b in ((31, 44), (5, 80)) for y in range(70) for x in range(90)]
    near = torch.tensor([max(pair) for pair in away]).view(2, 70, 90).amin(0)
    assert not found[near <= radius].any()
    assert found[near > 1.6 * radius + 2].all()
    assert filters.surrounded(torch.ones(1, 9, 7, dtype=torch.bool), radius).all()


def test_guides_take_any_light() -> None:
    light = torch.tensor([0.0, 0.18, 16.0, -3.0, float("inf"), float("nan"), -float("inf")]).expand(3, 1, 7)
    guide = picture_guide(light)[0, 0]
    assert guide[1] == 0.5 and (guide >= 0).all() and (guide <= 1).all()
    assert guide[0] == guide[3] == guide[5] == guide[6] == 0 and guide[4] > guide[2] > 0.98


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        guided(noise(3, 8, 8), noise(1, 8, 9), 2, 1e-3)
    assert filters.MIDDLE == 0.18
