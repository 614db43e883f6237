"""Convolutions that give what PyTorch's give with fewer multiplications, for networks that run on a processor.

Each is made from a convolution with zeros around the picture and takes (B, C, H, W), channels last in memory.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

TILE = 4
"""Pixels that are computed at once along each axis."""
REACH = TILE + 2
# Cook-Toom matrices of a tile of 4 and a kernel of 3, at the points 0, 1, -1, 2, -2 and infinity.
LOOK = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)  # fmt: skip
WEIGH = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))
"""Times 24."""
GIVE = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


class Tiled(nn.Module):
    """A 3 x 3 convolution in tiles of 4 x 4, a quarter of the multiplications (Lavin and Gray, 2016)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.bias is not None
        look, weigh, give = (torch.tensor(one, dtype=torch.float64) for one in (LOOK, WEIGH, GIVE))
        weight = torch.einsum("ia,jb,ocab->ijco", weigh / 24, weigh / 24, conv.weight.detach().double())
        self.register_buffer("weight", weight.flatten(0, 1).float().contiguous())
        self.register_buffer("look", torch.kron(look, look).float())
        self.register_buffer("give", torch.kron(give, give).float())
        self.register_buffer("bias", conv.bias.detach().clone())
        self.weight: Tensor
        self.look: Tensor
        self.give: Tensor
        self.bias: Tensor

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        count, _, height, width = value.shape
        down, across = -(-height // TILE), -(-width // TILE)
        edge = (0, 0, 1, 1 + across * TILE - width, 1, 1 + down * TILE - height)
        tiles = functional.pad(value.movedim(1, -1), edge).unfold(1, REACH, TILE).unfold(2, REACH, TILE)
        spread = tiles.permute(4, 5, 0, 1, 2, 3).reshape(REACH * REACH, -1)
        seen = (self.look @ spread).view(REACH * REACH, count * down * across, -1)
        weighed = torch.bmm(seen, self.weight).view(REACH * REACH, -1)
        drawn = (self.give @ weighed).view(TILE, TILE, count, down, across, -1)
        whole = drawn.permute(2, 3, 0, 4, 1, 5).reshape(count, down * TILE, across * TILE, -1)
        return (whole[:, :height, :width] + self.bias).movedim(-1, 1)


class Doubled(nn.Module):
    """A picture doubled in size, then a 3 x 3 convolution and ReLU, computed at the size that comes in.

    A pixel of the doubled picture sees each pixel of the small one several times over: the weights that fall on the
    same one are added up beforehand, which leaves 2 x 2 of them for each of the four places within a pixel, four
    ninths of the multiplications.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.bias is not None
        self.outputs = conv.out_channels
        weight = conv.weight.detach()
        places = [place for down in _halves(weight, 2) for place in _halves(down, 3)]
        self.conv = nn.Conv2d(conv.in_channels, 4 * self.outputs, 2, padding=1).requires_grad_(False)
        self.conv.weight.copy_(torch.cat(places))
        assert self.conv.bias is not None
        self.conv.bias.copy_(conv.bias.detach().repeat(4))

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', 2 H, 2 W)."""
        count, _, height, width = value.shape
        found = functional.relu(self.conv(value), inplace=True).movedim(1, -1)
        drawn = found.new_empty(count, height, 2, width, 2, self.outputs)
        for place, part in enumerate(found.split(self.outputs, -1)):
            down, across = divmod(place, 2)
            drawn[:, :, down, :, across] = part[:, down : down + height, across : across + width]
        return drawn.view(count, 2 * height, 2 * width, self.outputs).movedim(-1, 1)


def _halves(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Three weights along an axis as the two that the first and the second half of a doubled pixel see."""
    first, middle, last = weight.split(1, axis)
    return torch.cat([first, middle + last], axis), torch.cat([first + middle, last], axis)


class Thin(nn.Module):
    """A convolution with few outputs and a wide kernel: row by row of the kernel, the rows as outputs of their own.

    So that processors, which compute some sixteen outputs at once, have as many to compute.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        outputs, inputs, self.rows, side = conv.weight.shape
        weight = conv.weight.detach().permute(2, 0, 1, 3).reshape(self.rows * outputs, inputs, 1, side)
        self.conv = nn.Conv2d(inputs, len(weight), (1, side), padding=(0, side // 2), bias=False).requires_grad_(False)
        self.conv.weight.copy_(weight)
        self.register_buffer("bias", conv.bias.detach().view(-1, 1, 1))
        self.bias: Tensor

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        height, around = value.shape[-2], self.rows // 2
        found = functional.pad(self.conv(value), (0, 0, around, around)).unflatten(1, (self.rows, -1))
        total: Tensor = found[:, 0, :, :height] + self.bias
        for row in range(1, self.rows):
            total += found[:, row, :, row : row + height]
        return total
