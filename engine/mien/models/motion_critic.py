"""The critic of first-order motion: says of every patch whether it was filmed, at several sizes of the picture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.motion_fields import Keypoints, bells
from mien.models.motion_layers import Shrink


class CriticBlock(nn.Module):
    """Convolution, instance norm, leaky ReLU, half the size; the first has no norm, the last keeps its size."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool, pool: bool, spectral: bool) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 4)
        self.conv: nn.Module = nn.utils.spectral_norm(conv) if spectral else conv
        self.norm = nn.InstanceNorm2d(outputs, affine=True) if norm else None
        self.pool = pool

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', h, w)."""
        value = self.conv(value)
        value = functional.leaky_relu(value if self.norm is None else self.norm(value), 0.2)
        return functional.avg_pool2d(value, 2) if self.pool else value


class PictureCritic(nn.Module):
    """(B, 3, H, W), and where they are wanted the Gaussians of keypoints beside it, to features and scores."""

    def __init__(self, keypoints: int, width: int, most: int, blocks: int, spectral: bool, variance: float) -> None:
        super().__init__()
        wide = [3 + keypoints, *(min(most, width << (level + 1)) for level in range(blocks))]
        self.down_blocks = nn.ModuleList(
            CriticBlock(wide[row], wide[row + 1], norm=row > 0, pool=row < blocks - 1, spectral=spectral)
            for row in range(blocks)
        )
        last = nn.Conv2d(wide[-1], 1, 1)
        self.conv: nn.Module = nn.utils.spectral_norm(last) if spectral else last
        self.keypoints, self.variance = keypoints, variance

    def forward(self, picture: Tensor, seen: Keypoints) -> tuple[list[Tensor], Tensor]:
        """Features of every block, and the score of every patch."""
        value = picture
        if self.keypoints:
            size = (picture.shape[-2], picture.shape[-1])
            value = torch.cat([value, bells(seen.place, size, self.variance)], 1)
        features = []
        for block in self.down_blocks:
            value = block(value)
            features.append(value)
        return features, self.conv(value)


class MotionCritic(nn.Module):
    """One critic for each size.

    Args:
        scales: Sizes over the picture's, each a whole fraction.
        keypoints: How many keypoints it is shown; 0 for none (``vox-256``), all for ``vox-adv-256``.
        width, most, blocks: Channels before the first block, at most so many, in so many blocks.
        spectral: Keep weights from growing by spectral norm.
        variance: Of the Gaussians that stand for keypoints.
    """

    def __init__(
        self,
        scales: Sequence[float] = (1,),
        keypoints: int = 0,
        width: int = 32,
        most: int = 512,
        blocks: int = 4,
        spectral: bool = False,
        variance: float = 0.01,
    ) -> None:
        super().__init__()
        self.discs = nn.ModuleDict(
            {
                f"{scale:g}".replace(".", "-"): PictureCritic(keypoints, width, most, blocks, spectral, variance)
                for scale in scales
            }
        )
        self.shrinks = {name: _shrink(float(name.replace("-", "."))) for name in self.discs}

    def forward(self, picture: Tensor, seen: Keypoints) -> list[tuple[list[Tensor], Tensor]]:
        """Features and scores at every size."""
        return [critic(self._at(picture, name), seen) for name, critic in self.discs.items()]

    def _at(self, picture: Tensor, name: str) -> Tensor:
        shrink = self.shrinks[name]
        return picture if shrink is None else shrink.to(picture.device)(picture)


def _shrink(scale: float) -> Shrink | None:
    return None if scale == 1 else Shrink(3, round(1 / scale))
