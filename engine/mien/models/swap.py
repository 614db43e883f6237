"""The ``swap`` networks: one encoder that sees two people, and for each a decoder that draws that person.

Whatever face goes in, what comes out of a person's decoder is that person with the pose, expression and light
that went in. ``classic`` is the network this began with, 64 pixels wide (Keras code shared under the name
*deepfakes*, 2017), with a matte added. ``df`` narrows to a short code between them and scales to any size; ``liae``
has one decoder and two codes, one that both people share, so that light is carried over better (the two
arrangements of DeepFaceLab; Perov et al., 2020).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Person = Literal["a", "b"]
PRESETS = ("classic", "df", "liae")
SLOPE = 0.1


@dataclass(frozen=True)
class SwapShape:
    """What fixes the shapes of a swap network's tensors.

    Attributes:
        preset: ``classic``, ``df`` or ``liae``.
        size: Side of the crops, a multiple of 16; ``classic`` is 64.
        encoder: Channels after the first step down; they double with each.
        decoder: Channels of the picture's last step up; half as many as in the one before.
        matte: The same for the matte; ``classic`` draws it from the picture's own.
        code: Numbers that a face is squeezed through.
    """

    preset: str = "df"
    size: int = 128
    encoder: int = 64
    decoder: int = 32
    matte: int = 12
    code: int = 256

    def check(self) -> "SwapShape":
        """This shape, if a network can have it.

        Raises:
            ValueError: It cannot; the message says why.
        """
        if self.preset not in PRESETS:
            raise ValueError(f"there is no preset {self.preset!r}: choose {', '.join(PRESETS)}")
        if self.preset == "classic" and self.size != 64:
            raise ValueError(f"classic is 64 pixels wide, not {self.size}: choose df for larger faces")
        if not 32 <= self.size <= 1024 or self.size % 16:
            raise ValueError(f"a size of {self.size} will not do: take a multiple of 16 from 32 to 1024")
        for name in ("encoder", "decoder", "matte", "code"):
            if not 2 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name} {getattr(self, name)} is out of bounds: 2 to 4096")
        return self


CLASSIC = SwapShape("classic", 64, 128, 64, 64, 1024)


class Drawn(NamedTuple):
    """What a decoder draws: (B, 3, S, S) display-like picture and (B, 1, S, S) matte, both 0..1."""

    picture: Tensor
    matte: Tensor


class SwapNetwork(nn.Module):
    """Encoder, what lies between, and decoders; a network for use alone holds only what ``b`` needs."""

    def __init__(self, shape: SwapShape, *, both: bool = True) -> None:
        super().__init__()
        self.shape = shape.check()
        people = ("a", "b") if both else ("b",)
        if shape.preset == "classic":
            grid = 4
            self.encoder = Down(128)
            self.codes = nn.ModuleDict({"both": Squeeze(1024, grid, 1024, 1024, Up(1024, 512), normalized=False)})
            self.decoders = nn.ModuleDict({name: ClassicDecoder() for name in people})
        else:
            grid, wide = shape.size // 16, 8 * shape.encoder
            self.encoder = Down(shape.encoder)
            liae = shape.preset == "liae"
            # In liae person b is drawn from the shared code alone, twice, so that b's file needs no more than that.
            kinds = ("both", *(("a",) if both else ())) if liae else ("both",)
            self.codes = nn.ModuleDict(
                {kind: Squeeze(wide, grid, shape.code, shape.code, Up(shape.code, shape.code)) for kind in kinds}
            )
            inputs = shape.code * (2 if liae else 1)
            decoders = ("both",) if liae else people
            self.decoders = nn.ModuleDict({name: Decoder(inputs, shape.decoder, shape.matte) for name in decoders})
        self.frugal = False
        """Compute activations twice rather than keep them, which halves the memory of training."""
        self.apply(_begin)

    def encode(self, crops: Tensor) -> Tensor:
        """What a decoder wants to know of (B, 3, S, S) display-like crops: features before any code."""
        features: Tensor = self._run(self.encoder, crops)
        return features

    def numbers(self, features: Tensor) -> Tensor:
        """(B, code) numbers that faces are squeezed through, of their features."""
        squeeze = self.codes["both"]
        assert isinstance(squeeze, Squeeze)
        return squeeze.numbers(features)

    def draw(self, features: Tensor, person: Person) -> Drawn:
        """Draw one person as the faces whose features these are."""
        code = self.codes["both"](features)
        if self.shape.preset == "liae":
            own = self.codes["a"](features) if person == "a" else code
            code = torch.cat([code, own], 1)
        decoder = self.decoders["both" if "both" in self.decoders else person]
        return Drawn(*self._run(decoder, code))

    def forward(self, crops: Tensor, person: Person = "b") -> Drawn:
        """Draw one person as the faces in (B, 3, S, S) crops."""
        return self.draw(self.encode(crops), person)

    def _run(self, module: nn.Module, value: Tensor) -> Any:
        if self.frugal and self.training:
            return checkpoint(module, value, use_reentrant=False)
        return module(value)


class Down(nn.Sequential):
    """Four steps down, each twice as wide and half as large: (B, 3, S, S) to (B, 8 w, S / 16, S / 16)."""

    def __init__(self, width: int) -> None:
        steps: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
            steps += [nn.Conv2d(before, after, 5, 2, 2), nn.LeakyReLU(SLOPE, inplace=True)]
        super().__init__(*steps)


class Squeeze(nn.Module):
    """Through a short code and back to a grid: where a face loses whose it is."""

    def __init__(
        self, inputs: int, grid: int, code: int, outputs: int, up: nn.Module, *, normalized: bool = True
    ) -> None:
        super().__init__()
        self.into = nn.Linear(inputs * grid * grid, code)
        self.out = nn.Linear(code, outputs * grid * grid)
        self.up = up
        self.outputs, self.grid = outputs, grid
        self.normalized = normalized

    def numbers(self, features: Tensor) -> Tensor:
        """(B, C, G, G) features to (B, code) numbers."""
        flat = features.flatten(1)
        if self.normalized:
            flat = flat * torch.rsqrt(flat.square().mean(1, keepdim=True) + 1e-6)
        code: Tensor = self.into(flat)
        return code

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, G, G) features to a grid twice as large."""
        grid: Tensor = self.out(self.numbers(features)).reshape(-1, self.outputs, self.grid, self.grid)
        drawn: Tensor = self.up(grid)
        return drawn


class Up(nn.Sequential):
    """Twice as large: four times the channels, dealt out to the four new pixels (Shi et al., 2016)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(nn.Conv2d(before, 4 * after, 3, 1, 1), nn.LeakyReLU(SLOPE, inplace=True), nn.PixelShuffle(2))


class Refine(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, 1, 1)
        self.two = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W), refined."""
        inner = self.two(functional.leaky_relu(self.one(value), 0.2))
        return functional.leaky_relu(value + inner, 0.2)


class ClassicDecoder(nn.Module):
    """Three steps up from (B, 512, 8, 8) to 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Sequential(Up(512, 256), Up(256, 128), Up(128, 64))
        self.picture = nn.Conv2d(64, 3, 5, 1, 2)
        self.matte = nn.Conv2d(64, 1, 5, 1, 2)

    def forward(self, code: Tensor) -> Drawn:
        """(B, C, H, W) grid to a picture and its matte, eight times as large."""
        last = self.steps(code)
        return Drawn(torch.sigmoid(self.picture(last)), torch.sigmoid(self.matte(last)))


class Decoder(nn.Module):
    """Three refined steps up for the picture, three plain ones for the matte."""

    def __init__(self, inputs: int, width: int, matte: int) -> None:
        super().__init__()
        w, m = width, matte
        self.steps = nn.Sequential(
            Up(inputs, 4 * w), Refine(4 * w), Up(4 * w, 2 * w), Refine(2 * w), Up(2 * w, w), Refine(w)
        )
        self.picture = nn.Conv2d(w, 3, 3, 1, 1)
        self.outline = nn.Sequential(Up(inputs, 4 * m), Up(4 * m, 2 * m), Up(2 * m, m))
        self.matte = nn.Conv2d(m, 1, 3, 1, 1)

    def forward(self, code: Tensor) -> Drawn:
        """(B, C, H, W) grid to a picture and its matte, eight times as large."""
        return Drawn(torch.sigmoid(self.picture(self.steps(code))), torch.sigmoid(self.matte(self.outline(code))))


def _begin(module: nn.Module) -> None:
    """Weights under which signals neither die nor burst (He et al., 2015), the four of an ``Up`` alike."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, Up):
        convolution = module[0]
        assert isinstance(convolution, nn.Conv2d)
        with torch.no_grad():
            # New neighbors begin equal, or a checkerboard stays in the picture for long (Aitken et al., 2017).
            quarter = convolution.weight[::4].clone()
            convolution.weight.copy_(quarter.repeat_interleave(4, 0))
