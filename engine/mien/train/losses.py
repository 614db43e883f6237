"""What a drawn face is measured by. Pictures are display-like 0..1, (B, C, H, W); every result is one number."""

import torch
from torch import Tensor
from torch.nn import functional


def weighted_l1(drawn: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference under weights (B, 1, H, W)."""
    return ((drawn - goal).abs() * weight).sum() / (weight.sum() * drawn.shape[1]).clamp(min=1e-6)


def cross_entropy(drawn: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
    """Mean cross entropy of mattes under weights, (B, 1, H, W) each: what is drawn wrong with certainty still pulls.

    Of the absolute difference the least is an empty matte, from which the sigmoid does not come back.
    """
    wrong = goal * (drawn + 1e-6).log() + (1 - goal) * (1 - drawn + 1e-6).log()
    return -(wrong * weight).sum() / weight.sum().clamp(min=1e-6)


def dissimilarity(drawn: Tensor, goal: Tensor, weight: Tensor, scales: int = 2) -> Tensor:
    """(1 - SSIM) / 2, averaged under weights over windows of ever twice the size (Wang et al., 2004)."""
    total = drawn.new_zeros(())
    one, two = drawn * weight, goal * weight
    side = min(11, (min(drawn.shape[-2:]) // 4) | 1)
    for scale in range(scales):
        total = total + _dissimilarity(one, two, weight, side)
        if scale + 1 < scales:
            one, two, weight = (functional.avg_pool2d(value, 2) for value in (one, two, weight))
    return total / scales


def _dissimilarity(one: Tensor, two: Tensor, weight: Tensor, side: int) -> Tensor:
    window = gaussian(side, 1.5 * side / 11, one)
    count = one.shape[1]
    mean_one, mean_two, square_one, square_two, both = blur(
        torch.cat([one, two, one * one, two * two, one * two], 1), window
    ).split(count, 1)
    spread_one, spread_two = square_one - mean_one**2, square_two - mean_two**2
    shared = both - mean_one * mean_two
    alike = (2 * mean_one * mean_two + 1e-4) * (2 * shared + 9e-4)
    alike = alike / ((mean_one**2 + mean_two**2 + 1e-4) * (spread_one + spread_two + 9e-4))
    inner = weight[..., side // 2 : weight.shape[-2] - side // 2, side // 2 : weight.shape[-1] - side // 2]
    apart: Tensor = ((1 - alike) / 2 * inner).sum() / (inner.sum() * count).clamp(min=1e-6)
    return apart


def gaussian(side: int, deviation: float, like: Tensor) -> Tensor:
    """(side,) weights of a Gaussian window that sum to 1."""
    place = torch.arange(side, device=like.device, dtype=like.dtype) - (side - 1) / 2
    values = torch.exp(-0.5 * (place / deviation) ** 2)
    return values / values.sum()


def blur(value: Tensor, window: Tensor) -> Tensor:
    """A picture under a separable window, without its border."""
    count, side = value.shape[1], len(window)
    down = window.view(1, 1, side, 1).expand(count, 1, side, 1)
    across = window.view(1, 1, 1, side).expand(count, 1, 1, side)
    return functional.conv2d(functional.conv2d(value, down, groups=count), across, groups=count)


def peak_signal(drawn: Tensor, goal: Tensor, weight: Tensor) -> float:
    """Signal over error in dB of display-like pictures under weights (B, 1, H, W)."""
    error = ((drawn - goal).square() * weight).sum() / (weight.sum() * drawn.shape[1]).clamp(min=1e-6)
    return float(-10 * torch.log10(error.clamp(min=1e-10)))
