"""The generators of pix2pix and CycleGAN, so that what was trained with them can be put to use.

Layers lie where their checkpoints expect them; one quirk is part of it: a level's activation works in place, so that
what is handed across to the way up has been through it too (Isola et al., 2017; Zhu et al., 2017; the
reference code in PyTorch).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pix2PixShape:
    """A generator as its checkpoint tells it.

    Attributes:
        kind: ``unet`` or ``resnet``.
        inputs, outputs: Channels.
        width: Channels of the first layer.
        depth: Levels of a U-Net, blocks of a ResNet.
        norm: ``batch`` or ``instance``.
        dropout: A ResNet whose blocks were built with dropout, which moves their layers.
    """

    kind: Literal["unet", "resnet"]
    inputs: int
    outputs: int
    width: int
    depth: int
    norm: Literal["batch", "instance"]
    dropout: bool = False

    def check(self) -> "Pix2PixShape":
        """This shape, if a network can have it.

        Raises:
            ValueError: It cannot; the message says why.
        """
        if self.kind not in ("unet", "resnet") or self.norm not in ("batch", "instance"):
            raise ValueError(f"there is no {self.kind} with {self.norm} norm")
        limits = (("inputs", 1, 8), ("outputs", 1, 4), ("width", 4, 256), ("depth", 2, 16))
        for name, low, high in limits:
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} {getattr(self, name)} is out of bounds: {low} to {high}")
        return self

    @property
    def step(self) -> int:
        """Sizes that the network takes are multiples of this."""
        return 1 << self.depth if self.kind == "unet" else 4


def shape_of(tensors: Mapping[str, Tensor]) -> Pix2PixShape:
    """The generator that a state holds, from names and shapes.

    Raises:
        ValueError: It is none of those known.
    """
    if "model.model.0.weight" in tensors:
        first = tensors["model.model.0.weight"]
        last = tensors["model.model.3.weight"]
        norm: Literal["batch", "instance"] = "instance" if "model.model.1.model.1.bias" in tensors else "batch"
        depth = max(len(re.findall(r"model", name)) for name in tensors) - 1
        return Pix2PixShape("unet", first.shape[1], last.shape[1], first.shape[0], depth, norm)
    if "model.1.weight" in tensors and tensors["model.1.weight"].shape[-1] == 7:
        first = tensors["model.1.weight"]
        blocks = {int(match[1]) for name in tensors if (match := re.match(r"model\.(\d+)\.conv_block\.", name))}
        if not blocks:
            raise ValueError("it has no residual blocks")
        final = max(int(name.split(".")[1]) for name in tensors)
        batch = f"model.{min(blocks)}.conv_block.2.running_mean" in tensors and "model.1.bias" not in tensors
        dropout = any(".conv_block.6.weight" in name and value.ndim == 4 for name, value in tensors.items())
        outputs = tensors[f"model.{final}.weight"].shape[0]
        norm = "batch" if batch else "instance"
        return Pix2PixShape("resnet", first.shape[1], outputs, first.shape[0], len(blocks), norm, dropout)
    raise ValueError("it is neither a U-Net nor a ResNet generator of pix2pix")


def build(shape: Pix2PixShape) -> nn.Module:
    """The generator, with layers named as in its checkpoints."""
    return UnetGenerator(shape) if shape.kind == "unet" else ResnetGenerator(shape)


def known(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors that a network has; checkpoints of old hold statistics that instance norms no longer keep."""
    stale = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
    own = network.state_dict()
    kept = {name: value for name, value in tensors.items() if name in own or not stale.search(name)}
    counts = {name: value for name, value in own.items() if name.endswith("num_batches_tracked") and name not in kept}
    return {**counts, **kept}


def _norm(shape: Pix2PixShape, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if shape.norm == "batch" else nn.InstanceNorm2d(channels)


class UnetGenerator(nn.Module):
    """Levels inside levels."""

    def __init__(self, shape: Pix2PixShape) -> None:
        super().__init__()
        widths = [shape.width * min(8, 2**level) for level in range(shape.depth)]
        block: nn.Module | None = None
        for level in reversed(range(1, shape.depth)):
            block = Level(shape, widths[level - 1], widths[level], block)
        biased = shape.norm == "instance"
        down = nn.Conv2d(shape.inputs, shape.width, 4, 2, 1, bias=biased)
        up = nn.ConvTranspose2d(2 * shape.width, shape.outputs, 4, 2, 1)
        assert block is not None
        self.model = Outer(down, block, up)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, H, W) between -1 and 1 to the same."""
        drawn: Tensor = self.model(picture)
        return drawn


class Outer(nn.Module):
    """The outermost level."""

    def __init__(self, down: nn.Module, block: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(down, block, nn.ReLU(True), up, nn.Tanh())

    def forward(self, picture: Tensor) -> Tensor:
        """Down, all that lies inside, and up."""
        drawn: Tensor = self.model(picture)
        return drawn


class Level(nn.Module):
    """A level, with what went into it beside what comes out."""

    def __init__(self, shape: Pix2PixShape, outer: int, inner: int, block: nn.Module | None) -> None:
        super().__init__()
        biased = shape.norm == "instance"
        down = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer, inner, 4, 2, 1, bias=biased)]
        middle = [] if block is None else [_norm(shape, inner), block]
        wide = inner if block is None else 2 * inner
        up = [nn.ReLU(True), nn.ConvTranspose2d(wide, outer, 4, 2, 1, bias=biased), _norm(shape, outer)]
        self.model = nn.Sequential(*down, *middle, *up)

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) to twice the channels."""
        inner = self.model(value)
        # The first layer has worked in place: this is no longer what came in.
        return torch.cat([value, inner], 1)


class ResnetGenerator(nn.Module):
    """Two steps down, residual blocks, two steps up."""

    def __init__(self, shape: Pix2PixShape) -> None:
        super().__init__()
        w, biased = shape.width, shape.norm == "instance"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3), nn.Conv2d(shape.inputs, w, 7, bias=biased), _norm(shape, w), nn.ReLU(True)
        ]  # fmt: skip
        for wide in (w, 2 * w):
            down = nn.Conv2d(wide, 2 * wide, 3, 2, 1, bias=biased)
            layers += [down, _norm(shape, 2 * wide), nn.ReLU(True)]
        layers += [Residual(shape, 4 * w) for _ in range(shape.depth)]
        for wide in (4 * w, 2 * w):
            up = nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, output_padding=1, bias=biased)
            layers += [up, _norm(shape, wide // 2), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(w, shape.outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, H, W) between -1 and 1 to the same."""
        drawn: Tensor = self.model(picture)
        return drawn


class Residual(nn.Module):
    """A block of a ResNet."""

    def __init__(self, shape: Pix2PixShape, width: int) -> None:
        super().__init__()
        biased = shape.norm == "instance"

        def half(last: bool) -> list[nn.Module]:
            layers = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=biased), _norm(shape, width)]
            return layers if last else [*layers, nn.ReLU(True), *([nn.Dropout(0.5)] if shape.dropout else [])]

        self.conv_block = nn.Sequential(*half(False), *half(True))

    def forward(self, value: Tensor) -> Tensor:
        """Added to what came in."""
        added: Tensor = value + self.conv_block(value)
        return added


def use_own_statistics(network: nn.Module) -> None:
    """Let batch norms measure each picture, as the reference's test script did, and leave dropout out."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 0.0
