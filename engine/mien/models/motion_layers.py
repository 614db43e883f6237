"""The layers of first-order motion networks, named as their published checkpoints name them."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Same(nn.Module):
    """Convolution, batch norm, ReLU: (B, C, H, W) to (B, C', H, W)."""

    def __init__(self, inputs: int, outputs: int, side: int = 3) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(inputs, outputs, side, padding=side // 2)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, value: Tensor) -> Tensor:
        """At the same size."""
        return functional.relu(self.norm(self.conv(value)), inplace=True)


class Down(Same):
    """``Same``, then half the size."""

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / 2, W / 2)."""
        return functional.avg_pool2d(super().forward(value), 2)


class Up(Same):
    """Twice the size, then ``Same``."""

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', 2 H, 2 W)."""
        return super().forward(functional.interpolate(value, scale_factor=2.0))


class Residual(nn.Module):
    """Twice batch norm, ReLU and convolution, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1: nn.Module = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2: nn.Module = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1: nn.Module = nn.BatchNorm2d(channels)
        self.norm2: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        inner = self.conv1(functional.relu(self.norm1(value)))
        added: Tensor = self.conv2(functional.relu(self.norm2(inner))) + value
        return added


def channels(width: int, most: int, level: int) -> int:
    """Channels of an hourglass after so many halvings."""
    return min(most, width << level)


class Encoder(nn.Module):
    """The way down of an hourglass."""

    def __init__(self, inputs: int, width: int, most: int, blocks: int) -> None:
        super().__init__()
        wide = [inputs, *(channels(width, most, level + 1) for level in range(blocks))]
        self.down_blocks = nn.ModuleList(Down(a, b) for a, b in pairwise(wide))

    def forward(self, value: Tensor) -> list[Tensor]:
        """What went in, and what came out of every block."""
        found = [value]
        for block in self.down_blocks:
            found.append(block(found[-1]))
        return found


class Decoder(nn.Module):
    """The way up of an hourglass."""

    def __init__(self, width: int, most: int, blocks: int) -> None:
        super().__init__()
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(blocks)):
            twice = 1 if level == blocks - 1 else 2
            self.up_blocks.append(Up(twice * channels(width, most, level + 1), channels(width, most, level)))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """From the smallest level up, each joined by what had its size on the way down."""
        value = levels[-1]
        for block, beside in zip(self.up_blocks, reversed(levels[:-1])):
            value = torch.cat([block(value), beside], 1)
        return value


class Hourglass(nn.Module):
    """Down and up again: (B, C, H, W) to (B, ``outputs``, H, W)."""

    def __init__(self, inputs: int, width: int, most: int, blocks: int) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, width, most, blocks)
        self.decoder = Decoder(width, most, blocks)
        self.outputs = channels(width, most, 0) + inputs

    def forward(self, value: Tensor) -> Tensor:
        """All levels joined, at the size that came in."""
        joined: Tensor = self.decoder(self.encoder(value))
        return joined


class Shrink(nn.Module):
    """A picture made smaller by a whole factor, blurred first so that nothing aliases."""

    def __init__(self, count: int, factor: int) -> None:
        super().__init__()
        deviation = (factor - 1) / 2
        side = 2 * round(4 * deviation) + 1
        place = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        across = torch.exp(-(place**2) / (2 * deviation**2))
        kernel = torch.outer(across, across)
        self.register_buffer("weight", (kernel / kernel.sum()).expand(count, 1, side, side).clone())
        self.weight: Tensor
        self.factor = factor

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H / factor, W / factor); only the pixels that remain are computed."""
        around = self.weight.shape[-1] // 2
        return functional.conv2d(picture, self.weight, stride=self.factor, padding=around, groups=len(self.weight))
