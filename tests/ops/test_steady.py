"""Robust curves over a shot."""

import pytest
import torch

from mien.ops.steady import smooth


def test_straight_lines_stay() -> None:
    line = torch.stack([torch.linspace(1, 5, 60), torch.linspace(2, -3, 60)], 1)
    assert torch.allclose(smooth(line, torch.ones(60), 5.0), line, atol=0.02)


def test_noise_shrinks_and_outliers_do_not_count() -> None:
    line = torch.linspace(0, 1, 90)[:, None]
    noisy = line + 0.1 * torch.randn(90, 1, generator=torch.Generator().manual_seed(1))
    calm = smooth(noisy, torch.ones(90), 6.0)
    assert float((calm - line).std()) < 0.4 * float((noisy - line).std())
    broken = noisy.clone()
    broken[40:43] += 30
    assert float((smooth(broken, torch.ones(90), 6.0) - calm).abs().max()) < 0.1


def test_frames_without_trust_take_what_their_neighbors_have() -> None:
    line = torch.linspace(0, 1, 50)[:, None]
    weight = torch.ones(50)
    weight[20:30] = 0
    spoiled = torch.where(weight[:, None] > 0, line, torch.tensor(99.0))
    assert torch.allclose(smooth(spoiled, weight, 4.0), line, atol=0.05)
    weight[:] = 0
    weight[7] = 1
    assert torch.allclose(smooth(line, weight, 2.0), line[7].expand(50, 1), atol=1e-6)


def test_a_pull_of_focus_is_followed() -> None:
    step = torch.sigmoid((torch.arange(80.0) - 40) / 4)[:, None]
    assert float((smooth(step, torch.ones(80), 3.0) - step).abs().max()) < 0.08


@pytest.mark.parametrize("frames", [0.0, 4.0])
def test_what_cannot_be_smoothed_comes_back(frames: float) -> None:
    one = torch.tensor([[3.0]])
    assert torch.equal(smooth(one, torch.ones(1), frames), one)
    values = torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(smooth(values, torch.zeros(9), frames), values)
    if frames == 0:
        assert smooth(values, torch.ones(9), frames) is values
