"""The First Order Motion Model: a photograph follows a performance (Siarohin et al., 2019, arXiv 2003.00196).

A detector, which nobody told what a face is, finds keypoints and how what is around each of them lies. Between two
pictures each keypoint then tells an affine motion; a second network says which of these motions holds where, and what
the source does not show; a generator moves the source's features along and paints. Layers bear the names of the
published checkpoints. Pictures are (B, 3, H, W), display-like 0 to 1.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from mien.models.motion_fields import Keypoints, bells, expected, resized, sampled, sparse_motions
from mien.models.motion_layers import Down, Hourglass, Residual, Same, Shrink, Up
from mien.models.motion_shape import MotionShape


@dataclass(frozen=True)
class Motion:
    """How a source moves.

    Attributes:
        flow: (B, h, w, 2) where in the source each pixel comes from, -1 to 1.
        seen: (B, 1, h, w) 1 where the source shows what is needed, 0 where it must be painted; None if not told.
        shares: (B, K + 1, h, w) how much each motion counts; the first is that of what stands still.
    """

    flow: Tensor
    seen: Tensor | None
    shares: Tensor


def in_full(value: Tensor) -> torch.autocast:
    """Positions need all their digits: only what encodes and paints may be rough."""
    return torch.autocast(value.device.type, enabled=False)


class KeypointDetector(nn.Module):
    """Finds keypoints in pictures."""

    def __init__(self, shape: MotionShape) -> None:
        super().__init__()
        self.predictor = Hourglass(3, shape.detector_width, shape.detector_most, shape.detector_blocks)
        self.kp = nn.Conv2d(self.predictor.outputs, shape.keypoints, 7, padding=shape.pad)
        self.jacobian: nn.Conv2d | None = None
        if shape.jacobian != "none":
            maps = shape.keypoints if shape.jacobian == "each" else 1
            self.jacobian = nn.Conv2d(self.predictor.outputs, 4 * maps, 7, padding=shape.pad)
            nn.init.zeros_(self.jacobian.weight)
            with torch.no_grad():
                assert self.jacobian.bias is not None
                self.jacobian.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(maps))
        if shape.detector_shrink > 1:
            self.down = Shrink(3, shape.detector_shrink)
        self.temperature = shape.temperature

    def forward(self, pictures: Tensor) -> Keypoints:
        """Keypoints of (B, 3, H, W) pictures: means under sharpened heatmaps."""
        with in_full(pictures):
            return self._found(pictures.float())

    def _found(self, pictures: Tensor) -> Keypoints:
        small = self.down(pictures) if hasattr(self, "down") else pictures
        features = self.predictor(small)
        heat = self.kp(features)
        heat = torch.softmax(heat.flatten(2) / self.temperature, 2).view(heat.shape)
        local = None
        if self.jacobian is not None:
            maps = self.jacobian(features).unflatten(1, (-1, 4)).expand(-1, heat.shape[1], -1, -1, -1)
            local = torch.einsum("bkhw,bkchw->bkc", heat, maps).unflatten(-1, (2, 2))
        return Keypoints(expected(heat), local)


class DenseMotion(nn.Module):
    """Says which keypoint's motion holds where."""

    def __init__(self, shape: MotionShape) -> None:
        super().__init__()
        self.hourglass = Hourglass(
            4 * (shape.keypoints + 1), shape.motion_width, shape.motion_most, shape.motion_blocks
        )
        self.mask = nn.Conv2d(self.hourglass.outputs, shape.keypoints + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.outputs, 1, 7, padding=3) if shape.occlusion else None
        if shape.motion_shrink > 1:
            self.down = Shrink(3, shape.motion_shrink)
        self.variance, self.corners = shape.variance, shape.corners

    def shrunk(self, source: Tensor) -> Tensor:
        """The source at the size at which motion is told."""
        small: Tensor = self.down(source) if hasattr(self, "down") else source
        return small

    def forward(self, small: Tensor, driving: Keypoints, source: Keypoints) -> Motion:
        """The motion from a source (B or 1, 3, h, w), shrunk, to the driving pictures' keypoints."""
        size = (small.shape[-2], small.shape[-1])
        motions = sparse_motions(driving, source, size)
        bell = bells(driving.place, size, self.variance) - bells(source.place, size, self.variance)
        heat = torch.cat([torch.zeros_like(bell[:, :1]), bell], 1)
        seen = torch.cat([heat[:, :, None], self._moved(small, motions)], 2)
        features = self.hourglass(seen.flatten(1, 2))
        shares = torch.softmax(self.mask(features), 1)
        flow = torch.einsum("bkhw,bkhwc->bhwc", shares, motions)
        covered = None if self.occlusion is None else torch.sigmoid(self.occlusion(features))
        return Motion(flow, covered, shares)

    def _moved(self, small: Tensor, motions: Tensor) -> Tensor:
        """(B, K + 1, 3, h, w) the source under each of the motions: all of them in one look, stacked in a column."""
        count, kinds, height, width = motions.shape[:4]
        if len(small) == 1:
            column = motions.reshape(1, count * kinds * height, width, 2)
            moved = sampled(small, column, self.corners)
            return moved.view(3, count, kinds, height, width).permute(1, 2, 0, 3, 4)
        moved = sampled(small, motions.reshape(count, kinds * height, width, 2), self.corners)
        return moved.view(count, 3, kinds, height, width).transpose(1, 2)


class MotionGenerator(nn.Module):
    """Moves a source's features and paints what they cannot show."""

    def __init__(self, shape: MotionShape) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion(shape)
        self.first = Same(3, shape.width, 7)
        wide = [shape.channels(level) for level in range(shape.steps + 1)]
        self.down_blocks = nn.ModuleList(Down(a, b) for a, b in pairwise(wide))
        self.bottleneck = nn.Sequential()
        for number in range(shape.blocks):
            self.bottleneck.add_module(f"r{number}", Residual(wide[-1]))
        self.up_blocks = nn.ModuleList(Up(b, a) for a, b in reversed(list(pairwise(wide))))
        self.final: nn.Module = nn.Conv2d(shape.width, 3, 7, padding=3)
        self.corners = shape.corners

    def encode(self, source: Tensor) -> Tensor:
        """Features of (B, 3, H, W) sources."""
        value: Tensor = self.first(source)
        for block in self.down_blocks:
            value = block(value)
        return value

    def paint(self, features: Tensor, motion: Motion) -> Tensor:
        """(B, 3, H, W) the source whose features these are, (B or 1, C, h, w), moved."""
        size = (features.shape[-2], features.shape[-1])
        flow = resized(motion.flow.movedim(-1, 1), size).movedim(1, -1)
        value = sampled(features.float().expand(len(flow), -1, -1, -1), flow, self.corners)
        if motion.seen is not None:
            value = value * resized(motion.seen, size)
        value = self.bottleneck(value)
        for block in self.up_blocks:
            value = block(value)
        return torch.sigmoid(self.final(value).float())

    def forward(self, source: Tensor, driving: Keypoints, found: Keypoints) -> tuple[Tensor, Motion]:
        """Pictures (B, 3, H, W) of the source, whose keypoints were ``found``, moved to the driving keypoints."""
        with in_full(source):
            small = self.dense_motion_network.shrunk(source)
            motion: Motion = self.dense_motion_network(small, driving, found)
        return self.paint(self.encode(source), motion), motion


class MotionNetwork(nn.Module):
    """All that an identity of this kind holds."""

    def __init__(self, shape: MotionShape) -> None:
        super().__init__()
        self.kp_detector = KeypointDetector(shape)
        self.generator = MotionGenerator(shape)

    def forward(self, source: Tensor, driving: Tensor) -> tuple[Tensor, Motion]:
        """(B, 3, H, W) sources posed as the driving pictures are."""
        drawn: tuple[Tensor, Motion] = self.generator(source, self.kp_detector(driving), self.kp_detector(source))
        return drawn
