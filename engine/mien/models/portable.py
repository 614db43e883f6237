"""Trained networks as other programs run them: one tensor of light in, one out.

Only what ages well is used: elementary operations, weights and constants that follow the input's type, so that old
versions of torch load what new ones traced, in half precision too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Light(nn.Module):
    """Light of a compositor's working space, (1, 3 or 4, H, W), to the same with a matte as fourth channel."""

    def __init__(self, network: nn.Module, to_display: tuple[tuple[float, ...], ...], kind: str) -> None:
        super().__init__()
        self.network, self.kind = network, kind
        matrix = torch.tensor(to_display, dtype=torch.float64)
        self.register_buffer("to_display", matrix.float()[:, :, None, None])
        self.register_buffer("from_display", torch.linalg.inv(matrix).float()[:, :, None, None])

    def forward(self, light: Tensor) -> Tensor:
        """Encode, draw, decode."""
        color = light[:, :3]
        seen = functional.conv2d(color, self._buffer("to_display")).clamp(0.0, 1.0)
        seen = torch.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen.clamp(min=1e-4) ** (1 / 2.4) - 0.055)
        drawn, matte = self._draw(seen)
        back = torch.where(
            drawn <= 0.04045, drawn / 12.92, ((drawn.clamp(min=0.0) + 0.055) / 1.055).clamp(min=1e-4) ** 2.4
        )
        picture = functional.conv2d(back, self._buffer("from_display"))
        return torch.cat([picture, matte], 1).contiguous()

    def _draw(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "swap":
            picture, matte = self.network(seen)
            return picture, matte
        drawn = self.network(seen)
        if drawn.shape[1] < 3:
            return seen, drawn[:, :1]
        return drawn[:, :3], drawn[:, 3:4] if drawn.shape[1] == 4 else torch.ones_like(drawn[:, :1])

    def _buffer(self, name: str) -> Tensor:
        found: Tensor = self.get_buffer(name)
        return found


class Knobs(nn.Module):
    """What a host's knobs drive, around a traced network; pads to sizes that the network takes.

    ``most`` is the largest side that it takes, 0 for any.

    Attributes:
        mix: 0 shows the input, 1 the network's picture.
        matte_gain: Multiplies the matte.
    """

    def __init__(self, traced: Any, step: int, most: int) -> None:
        super().__init__()
        self.net = traced
        self.step = step
        self.most = most
        self.told = f"Larger than {most} x {most}: reformat the face to that first."
        self.mix = 1.0
        self.matte_gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(1, 3 or 4, H, W) to (1, 4, H, W)."""
        h, w = x.size(2), x.size(3)
        assert self.most == 0 or (h <= self.most and w <= self.most), self.told
        rows = torch.arange((h + self.step - 1) // self.step * self.step, device=x.device).clamp(max=h - 1)
        columns = torch.arange((w + self.step - 1) // self.step * self.step, device=x.device).clamp(max=w - 1)
        padded = x.index_select(2, rows).index_select(3, columns)
        drawn = self.net(padded)[:, :, :h, :w]
        color = x[:, :3] + (drawn[:, :3] - x[:, :3]) * self.mix
        matte = (drawn[:, 3:4] * self.matte_gain).clamp(0.0, 1.0)
        return torch.cat([color, matte], 1).contiguous()


class Dfm(nn.Module):
    """A swap network with the signature of DeepFaceLive: (N, S, S, 3) blue, green, red in; matte, face, matte out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mattes are the same: the file holds only the network of the person who is put on."""
        picture, matte = self.network(face.permute(0, 3, 1, 2).flip(1))
        matte = matte.permute(0, 2, 3, 1)
        # Two outputs of one graph need two names.
        return matte * 1.0, picture.flip(1).permute(0, 2, 3, 1), matte
