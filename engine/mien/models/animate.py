"""First-order motion as it is run: norms folded into convolutions, what a source gives computed once, batches drawn.

The networks are those of ``motion``, and so is what they draw, but for rounding.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.models.fewer import Doubled, Thin, Tiled
from mien.models.motion import Motion, MotionNetwork
from mien.models.motion_fields import Keypoints
from mien.models.motion_layers import Residual, Same, Up


@dataclass(frozen=True)
class Source:
    """A photograph with all of it that does not change from frame to frame.

    Attributes:
        picture: (1, 3, H, W), 0 to 1.
        keypoints: Its keypoints.
        small: It at the size at which motion is told.
        features: What the generator moves.
    """

    picture: Tensor
    keypoints: Keypoints
    small: Tensor
    features: Tensor


class Animator:
    """A network that poses photographs as performances are posed; pictures are (B, 3, H, W), 0 to 1."""

    def __init__(self, network: MotionNetwork, device: torch.device, corners: bool) -> None:
        self.device, self.corners = device, corners
        ready = folded(network) if device.type != "cpu" else fewer(folded(network))
        self._network = ready.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def find(self, pictures: Tensor) -> Keypoints:
        """Keypoints of pictures, all at once."""
        found: Keypoints = self._network.kp_detector(self._laid(pictures))
        return found

    @torch.inference_mode()
    def source(self, picture: Tensor) -> Source:
        """What is computed once of a (1, 3, H, W) photograph."""
        laid = self._laid(picture)
        generator = self._network.generator
        with self._half():
            features = generator.encode(laid)
        small = generator.dense_motion_network.shrunk(laid)
        return Source(laid, self._network.kp_detector(laid), small, features)

    @torch.inference_mode()
    def move(self, source: Source, driving: Keypoints) -> Motion:
        """How the source moves to the driving keypoints."""
        motion: Motion = self._network.generator.dense_motion_network(source.small, driving, source.keypoints)
        return motion

    @torch.inference_mode()
    def paint(self, source: Source, motion: Motion) -> Tensor:
        """The source, moved."""
        with self._half():
            painted: Tensor = self._network.generator.paint(source.features, motion)
        return painted

    def _laid(self, pictures: Tensor) -> Tensor:
        return pictures.to(self.device).float().contiguous(memory_format=torch.channels_last)

    def _half(self) -> torch.autocast:
        # Positions need all their digits: only what paints may be rough.
        return torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda")


def folded(network: MotionNetwork) -> MotionNetwork:
    """A copy of a network that draws the same with fewer steps."""
    made = copy.deepcopy(network).eval().requires_grad_(False)
    for module in made.modules():
        if isinstance(module, Same):
            assert isinstance(module.norm, nn.BatchNorm2d)
            module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()
        elif isinstance(module, Residual):
            assert isinstance(module.norm2, nn.BatchNorm2d)
            assert isinstance(module.conv1, nn.Conv2d)
            module.conv1, module.norm2 = fuse_conv_bn_eval(module.conv1, module.norm2), nn.Identity()
    return made


def fewer(network: MotionNetwork) -> MotionNetwork:
    """A folded network with convolutions that cost a processor less, in place."""
    for module in network.modules():
        if isinstance(module, nn.ModuleList):
            for row, inner in enumerate(module):
                if isinstance(inner, Up):
                    module[row] = Doubled(inner.conv)
        elif isinstance(module, Residual):
            assert isinstance(module.conv1, nn.Conv2d) and isinstance(module.conv2, nn.Conv2d)
            module.conv1, module.conv2 = Tiled(module.conv1), Tiled(module.conv2)
    assert isinstance(network.generator.final, nn.Conv2d)
    network.generator.final = Thin(network.generator.final)
    return network
