"""The patch critic: says of every patch of a picture whether it is real (Isola et al., 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PatchCritic(nn.Sequential):
    """(B, C, H, W) to (B, 1, h, w) scores; with three steps down a patch is 70 pixels wide."""

    def __init__(self, channels: int, width: int = 64, down: int = 3) -> None:
        steps: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        wide = width
        for place in range(1, down + 1):
            before, wide = wide, min(8 * width, width * 2**place)
            stride = 2 if place < down else 1
            steps += [nn.Conv2d(before, wide, 4, stride, 1, bias=False), Scale(wide), nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*steps, nn.Conv2d(wide, 1, 4, 1, 1))
        self.apply(_begin)


class CodeCritic(nn.Sequential):
    """(B, N) codes of faces to (B, 1) scores of whose they are (the *true face* of DeepFaceLab)."""

    def __init__(self, code: int, width: int = 128) -> None:
        super().__init__(
            nn.LayerNorm(code), nn.Linear(code, width), nn.LeakyReLU(0.2, inplace=True), nn.Linear(width, 1)
        )


class Scale(nn.InstanceNorm2d):
    """Each channel of each picture to mean 0 and spread 1: patches of one picture, whatever else is in the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def fooled(scores: Tensor) -> Tensor:
    """What a painter is to make small: cross entropy of taking its patches for real."""
    return functional.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))


def told_apart(real: Tensor, drawn: Tensor) -> Tensor:
    """What a critic is to make small: cross entropy of telling real patches from drawn ones."""
    right = functional.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    wrong = functional.binary_cross_entropy_with_logits(drawn, torch.zeros_like(drawn))
    return (right + wrong) / 2
