"""Features in which pictures are compared: of a random network, or of a VGG-19 that the artist brings."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.motion_layers import Shrink

WIDTHS = (16, 32, 64, 64)
VGG = ((0,), (2, 5), (7, 10), (12, 14, 16, 19), (21, 23, 25, 28))
"""Convolutions of VGG-19 by the slice they belong to, as torchvision numbers its layers."""
TOLD, POOLED = (0, 5, 10, 19, 28), (5, 10, 19, 28)
"""Convolutions after which features are told, and before which pictures are halved."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RandomFeatures(nn.Module):
    """Nobody trained it: edges and textures at ever larger sizes, which differ where pictures do (He et al., 2016).

    Every level's filters are orthogonal, so that none says what another says; the picture itself is the first level.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        inputs = 3
        for level, width in enumerate(WIDTHS):
            weight = torch.randn(width, inputs * 9, generator=random)
            weight = torch.linalg.qr(weight.T)[0].T.reshape(width, inputs, 3, 3)
            # A filter that answers to flat color would drown what it says of edges.
            weight = weight - weight.mean((2, 3), keepdim=True) if level == 0 else weight
            self.register_buffer(f"level{level}", weight * (2.0**0.5))
            inputs = width

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the picture and the features of each level."""
        found, value = [picture], picture
        for level in range(len(WIDTHS)):
            if min(value.shape[-2:]) < 4:
                break
            value = functional.leaky_relu(functional.conv2d(value, getattr(self, f"level{level}"), padding=1), 0.2)
            found.append(value)
            value = functional.avg_pool2d(value, 2)
        return found


class VggFeatures(nn.Module):
    """VGG-19 up to the first convolution after each change of size (Simonyan and Zisserman, 2015)."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        inputs = 3
        self.slices = nn.ModuleList()
        numbers = [number for part in VGG for number in part]
        wide = [64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512]
        for number, width in zip(numbers, wide):
            weight, bias = (state.get(f"features.{number}.{name}") for name in ("weight", "bias"))
            if weight is None or bias is None or weight.shape != (width, inputs, 3, 3) or bias.shape != (width,):
                raise ValueError(f"features.{number} is not as VGG-19 has it")
            conv = nn.Conv2d(inputs, width, 3, padding=1).requires_grad_(False)
            conv.weight.copy_(weight)
            assert conv.bias is not None
            conv.bias.copy_(bias)
            self.slices.append(conv)
            inputs = width
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1))
        self.mean: Tensor
        self.spread: Tensor

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, 3, H, W), 0 to 1, to the features after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1."""
        value = (picture - self.mean) / self.spread
        found: list[Tensor] = []
        for number, conv in zip((n for part in VGG for n in part), self.slices):
            if number in POOLED:
                value = functional.max_pool2d(value, 2)
            value = functional.relu(conv(value))
            if number in TOLD:
                found.append(value)
                if min(value.shape[-2:]) < 2:
                    break
        return found


class Pyramid(nn.Module):
    """Mean absolute difference of features, summed over levels and over pictures at several sizes."""

    def __init__(self, features: nn.Module, scales: Sequence[int]) -> None:
        super().__init__()
        self.features = features.requires_grad_(False)
        self.shrinks = nn.ModuleList(nn.Identity() if scale == 1 else Shrink(3, scale) for scale in scales)

    def forward(self, drawn: Tensor, goal: Tensor) -> Tensor:
        """One number for (B, 3, H, W) pictures."""
        total = drawn.new_zeros(())
        for shrink in self.shrinks:
            with torch.no_grad():
                wanted = self.features(shrink(goal))
            for mine, its in zip(self.features(shrink(drawn)), wanted):
                total = total + (mine - its).abs().mean()
        return total
