"""The landmark network: 468 mesh points in three dimensions, and how far each may be trusted, from one face crop.

A small residual network looks at the whole crop and answers with a face as a blend of learned shapes; a second,
finer look around each point then moves it. Each point also gets a spread, learned as in "3D Face Reconstruction
with Dense Landmarks" (Wood et al., 2022), from which its confidence follows.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien import mesh
from mien.mesh import POINTS
from mien.types import MienError

SIZE = 128
"""Width and height of the crops in pixels."""
WEIGHTS = Path(__file__).parent / "weights" / "landmarks.safetensors"
SHAPES = 160
"""Learned shapes of which a face is blended."""
TRUSTED_SPREAD = 0.01
"""Spread, in sides of the crop, at which a point's confidence is one half."""


class Found(NamedTuple):
    """What is in B crops.

    Attributes:
        points: (B, 468, 3) crop pixels; z in the same scale, 0 at its mean, smaller toward the viewer.
        confidence: (B, 468) trust in each position, 0 to 1.
        visibility: (B, 468) 1 where the point is seen, 0 where something hides it.
        presence: (B,) 0 to 1, whether there is a face at all.
        matte: (B, 1, SIZE/4, SIZE/4) soft matte of the visible face.
    """

    points: Tensor
    confidence: Tensor
    visibility: Tensor
    presence: Tensor
    matte: Tensor


class Answers(NamedTuple):
    """What training compares with labels; positions in sides of the crop, from its center.

    Attributes:
        first: (B, 468, 3) points after the look at the whole crop.
        points: (B, 468, 3) points after the finer look.
        log_spread: (B, 468) logarithm of the scale of a point's Laplace distribution.
        visibility, presence, matte: Logits, (B, 468), (B,), (B, 1, SIZE/4, SIZE/4).
    """

    first: Tensor
    points: Tensor
    log_spread: Tensor
    visibility: Tensor
    presence: Tensor
    matte: Tensor


def convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, normalization, rectifier."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 3)
        self.second = convolution(channels, channels, 3)[:2]

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W), likewise out."""
        return functional.relu(features + self.second(self.first(features)))


class Landmarks(nn.Module):
    """The network; call it with crops."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter = nn.Sequential(convolution(3, 32, 7, 4), Residual(32))
        self.eighth = nn.Sequential(convolution(32, 64, 3, 2), Residual(64))
        self.sixteenth = nn.Sequential(convolution(64, 128, 3, 2), Residual(128), Residual(128))
        self.whole = nn.Sequential(convolution(128, 256, 3, 2), Residual(256))
        side = SIZE // 32
        self.summary = nn.Sequential(nn.Flatten(), nn.Linear(256 * side * side, 384), nn.ReLU(inplace=True))
        self.blend = nn.Linear(384, SHAPES)
        self.shapes = nn.Linear(SHAPES, POINTS * 3)
        self.trust = nn.Linear(384, POINTS * 2 + 1)
        self.fine_quarter = nn.Conv2d(32, 32, 1)
        self.fine_eighth = nn.Conv2d(64, 32, 1)
        self.fine_sixteenth = nn.Conv2d(128, 32, 1)
        self.fine = convolution(32, 32, 3)
        self.outline = nn.Conv2d(32, 1, 1)
        # Every point reads the features around it with weights of its own: move and spread.
        self.moves = nn.Parameter(torch.zeros(POINTS, 32, 4))

    def answers(self, crops: Tensor) -> Answers:
        """Look at crops (B, 3, SIZE, SIZE), RGB 0..1."""
        if crops.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"expected crops (B, 3, {SIZE}, {SIZE}), got {tuple(crops.shape)}")
        quarter = self.quarter((crops - 0.45) * 4)
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        summary = self.summary(self.whole(sixteenth))
        first = self.shapes(self.blend(summary)).float().reshape(-1, POINTS, 3)
        trust = self.trust(summary).float()
        coarse = self.fine_eighth(eighth) + functional.interpolate(self.fine_sixteenth(sixteenth), scale_factor=2.0)
        fine = self.fine(self.fine_quarter(quarter) + functional.interpolate(coarse, scale_factor=2.0))
        places = (first[..., :2] * 2).detach()[:, :, None]
        around = functional.grid_sample(fine.float(), places, padding_mode="border", align_corners=False)[..., 0]
        moved = torch.einsum("bcp,pcd->bpd", around, self.moves)
        return Answers(
            first=first,
            points=first + moved[..., :3] * 0.05,
            log_spread=(trust[:, :POINTS] - 4.5 + moved[..., 3]).clamp(-7.0, -1.0),
            visibility=trust[:, POINTS : 2 * POINTS],
            presence=trust[:, -1],
            matte=self.outline(fine).float(),
        )

    def forward(self, crops: Tensor) -> Found:
        """Find the face in crops (B, 3, SIZE, SIZE), RGB 0..1."""
        answers = self.answers(crops)
        center = torch.tensor([0.5, 0.5, 0.0], device=crops.device)
        spread = answers.log_spread.exp()
        return Found(
            points=(answers.points + center) * SIZE,
            confidence=1 / (1 + (spread / TRUSTED_SPREAD).square()),
            visibility=answers.visibility.sigmoid(),
            presence=answers.presence.sigmoid(),
            matte=answers.matte.sigmoid(),
        )


def both_ways(network: Landmarks, crops: Tensor) -> Found:
    """Find the face in crops (B, 3, SIZE, SIZE) as they are and mirrored, and take the mean: some errors cancel."""
    seen = network(torch.cat((crops, crops.flip(-1))))
    plain, other = (Found(*(part[half] for part in seen)) for half in (slice(len(crops)), slice(len(crops), None)))
    back = torch.tensor([-1.0, 1.0, 1.0], device=crops.device)
    edge = torch.tensor([float(SIZE), 0.0, 0.0], device=crops.device)
    return Found(
        points=(plain.points + other.points[:, mesh.MIRROR] * back + edge) / 2,
        confidence=(plain.confidence + other.confidence[:, mesh.MIRROR]) / 2,
        visibility=(plain.visibility + other.visibility[:, mesh.MIRROR]) / 2,
        presence=((plain.presence.logit(1e-6) + other.presence.logit(1e-6)) / 2).sigmoid(),
        matte=(plain.matte + other.matte.flip(-1)) / 2,
    )


def load(path: Path = WEIGHTS) -> Landmarks:
    """Open the network with the weights of the package, or others of the same shape."""
    network = Landmarks()
    try:
        stored = {
            name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()
        }
        network.load_state_dict(stored)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise MienError(f"Cannot read landmark weights from {path}: {error}. Install mien again.") from error
    return fold(network.eval())


def fold(network: Landmarks) -> Landmarks:
    """Fold normalizations into the convolutions before them, in place: the same answers, sooner."""
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) >= 2 and isinstance(module[1], nn.BatchNorm2d):
            assert isinstance(module[0], nn.Conv2d)
            module[0] = fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
