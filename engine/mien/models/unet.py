"""The ``paired`` network: from a picture to what it should have been.

A U-Net as in pix2pix (Isola et al., 2017) with three changes. It draws the difference from what it sees, so that
what is to stay stays from the first step. Channels are normalized in each pixel, not over the picture, so that a
tile of a large frame comes out as it would in the whole. It enlarges by interpolation, which leaves no grid.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDEST = 8
"""Times the first width that no level goes beyond."""


@dataclass(frozen=True)
class PairedShape:
    """What fixes the shapes of a paired network's tensors.

    Attributes:
        inputs, outputs: Channels; 3 is a picture, 4 a picture with its matte, 1 a matte.
        width: Channels of the first level; they double down to eight times.
        levels: Steps down.
    """

    inputs: int = 3
    outputs: int = 3
    width: int = 32
    levels: int = 5

    def check(self) -> "PairedShape":
        """This shape, if a network can have it.

        Raises:
            ValueError: It cannot; the message says why.
        """
        for name, low, high in (("inputs", 1, 8), ("outputs", 1, 4), ("width", 4, 512), ("levels", 1, 8)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} {getattr(self, name)} is out of bounds: {low} to {high}")
        return self

    @property
    def step(self) -> int:
        """Sizes that the network takes are multiples of this."""
        return 1 << self.levels

    @property
    def residual(self) -> bool:
        """Whether what is drawn is the difference from what is seen."""
        return self.outputs >= 3 and self.inputs == 3


class PairedNetwork(nn.Module):
    """(B, inputs, H, W) to (B, outputs, H, W), H and W multiples of ``shape.step``."""

    def __init__(self, shape: PairedShape) -> None:
        super().__init__()
        self.shape = shape.check()
        widths = [shape.width * min(WIDEST, 2**level) for level in range(shape.levels + 1)]
        self.first = nn.Conv2d(shape.inputs, widths[0], 3, 1, 1)
        self.downs = nn.ModuleList(Level(a, b, down=True) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(Level(b + a, a, down=False) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], shape.outputs, 3, 1, 1)
        self.apply(_begin)
        # Nothing is drawn at first: training starts from the picture as it is.
        nn.init.normal_(self.last.weight, 0.0, 1e-3)

    def forward(self, picture: Tensor) -> Tensor:
        """Draw. Mattes come between 0 and 1, colors as they come."""
        seen = [self.first(picture)]
        for down in self.downs:
            seen.append(down(seen[-1]))
        value = seen.pop()
        for up in reversed(self.ups):
            value = functional.interpolate(value, scale_factor=2.0, mode="nearest")
            value = up(torch.cat([value, seen.pop()], 1))
        drawn: Tensor = self.last(value)
        if not self.shape.residual:
            return torch.sigmoid(drawn)
        color = picture + drawn[:, :3]
        return torch.cat([color, torch.sigmoid(drawn[:, 3:])], 1) if self.shape.outputs == 4 else color


class Level(nn.Module):
    """A step down or the step back up, with a second look."""

    def __init__(self, before: int, after: int, *, down: bool) -> None:
        super().__init__()
        size, stride = (4, 2) if down else (3, 1)
        self.one = nn.Conv2d(before, after, size, stride, 1)
        self.two = nn.Conv2d(after, after, 3, 1, 1)
        self.gain = nn.Parameter(torch.ones(2, after, 1, 1))
        self.offset = nn.Parameter(torch.zeros(2, after, 1, 1))

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to its level."""
        once = functional.leaky_relu(even(self.one(value)) * self.gain[0] + self.offset[0], 0.2)
        twice = functional.leaky_relu(even(self.two(once)) * self.gain[1] + self.offset[1], 0.2)
        return once + twice


def even(value: Tensor) -> Tensor:
    """Channels brought to a mean square of 1 in each pixel (Karras et al., 2018)."""
    return value * torch.rsqrt(value.square().mean(1, keepdim=True) + 1e-6)


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, 0.2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
