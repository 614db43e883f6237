"""The built-in face detector: a small fully convolutional network without anchors.

It looks for faces between about 10 and 190 pixels; ``mien.models.backends.builtin`` shows it the picture at
several sizes, which covers everything from a distant face to one that fills the frame. Each cell of three
grids (8, 16 and 32 pixels apart) says how sure it is of a face around it, where the face's four sides are and
where its eyes, nose tip and mouth corners lie. After FCOS (arXiv 1904.01355), with the score trained to tell
how well the box fits (generalized focal loss, arXiv 2006.04388).
"""

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.types import MienError

STRIDES = (8, 16, 32)
WEIGHTS = Path(__file__).parent / "weights" / "detector.safetensors"

SMALLEST = 12.0
"""Width in working pixels that the narrowest face is to have."""
CERTAIN = 0.3
"""Scores below this are not reported."""
LARGEST = 100
"""Pictures with a longer side are looked at once more, smaller: for faces too large before."""
NESTED = 0.65
"""Share of a box inside another from which the two cannot both be faces."""
BORDER = 32
"""Width in pixels of the border around those smaller pictures."""


class Cells(NamedTuple):
    """What every cell of all grids says: (B, N) logits, (B, N, 4) boxes and (B, N, 5, 2) points, in pixels."""

    logits: Tensor
    boxes: Tensor
    five: Tensor


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, its normalization and a rectifier."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions around which the input passes by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        """Refine (B, C, H, W) features."""
        return functional.relu(features + self.second(self.first(features)))


class Detector(nn.Module):
    """The network; call it with (B, 3, H, W) display-like RGB 0..1, H and W multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 16, stride=2), convolution(16, 24, stride=2))
        self.fine = nn.Sequential(convolution(24, 48, stride=2), Residual(48))
        self.middle = nn.Sequential(convolution(48, 64, stride=2), Residual(64))
        self.coarse = nn.Sequential(convolution(64, 96, stride=2), Residual(96), Residual(96))
        self.lateral = nn.ModuleList(convolution(width, 48, 1) for width in (48, 64, 96))
        self.head = nn.ModuleList(convolution(48, 48) for _ in STRIDES)
        self.answer = nn.ModuleList(nn.Conv2d(48, 15, 1) for _ in STRIDES)
        for layer in self.answer:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
            # Faces are rare: begin by doubting every cell, or the first steps only unlearn false ones.
            nn.init.constant_(layer.bias[:1], -4.0)

    def forward(self, pictures: Tensor) -> Cells:
        """What every cell sees."""
        fine = self.fine(self.stem((pictures - 0.5) * 4))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        sides = [lateral(level) for lateral, level in zip(self.lateral, (fine, middle, coarse), strict=True)]
        sides[1] = sides[1] + functional.interpolate(sides[2], scale_factor=2.0)
        sides[0] = sides[0] + functional.interpolate(sides[1], scale_factor=2.0)
        parts = []
        for stride, side, head, answer in zip(STRIDES, sides, self.head, self.answer, strict=True):
            grid = answer(head(side)).permute(0, 2, 3, 1)
            parts.append(place(grid.float(), stride))
        return Cells(*(torch.cat(part, 1) for part in zip(*parts, strict=True)))


def centers(height: int, width: int, stride: int) -> Tensor:
    """Positions (height * width, 2) of the middles of a grid's cells, in pixels."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack((x, y), -1).reshape(-1, 2) + 0.5) * stride


def place(grid: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Read a grid's (B, H, W, 15) answers as logits, boxes and points in pixels."""
    batch, height, width, _ = grid.shape
    cells = grid.reshape(batch, height * width, 15)
    middle = centers(height, width, stride).to(grid)
    reach = torch.exp(cells[..., 1:5].clamp(-4, 4)) * (2 * stride)
    boxes = torch.cat((middle - reach[..., :2], middle + reach[..., 2:]), -1)
    five = middle[:, None] + cells[..., 5:].reshape(batch, -1, 5, 2) * (2 * stride)
    return cells[..., 0], boxes, five


def load(path: Path = WEIGHTS) -> Detector:
    """The trained detector, ready to look: normalizations folded into the convolutions."""
    detector = Detector()
    try:
        stored = {name: value.float() for name, value in load_file(path).items()}
        detector.load_state_dict(stored)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise MienError(f"Cannot read detector weights from {path}: {error}. Install mien again.") from error
    return fold(detector.eval())


def fold(detector: Detector) -> Detector:
    """Fold every normalization of a detector in evaluation mode into the convolution before it, in place."""
    for module in list(detector.modules()):
        if isinstance(module, nn.Sequential) and len(module) >= 2 and isinstance(module[1], nn.BatchNorm2d):
            assert isinstance(module[0], nn.Conv2d)
            module[0] = fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()
    return detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4)."""
    a, b = one[..., :, None, :], other[..., None, :, :]
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    common = sides.clamp(min=0).prod(-1)
    return common / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common)


def covered(one: Tensor, other: Tensor) -> Tensor:
    """Share (N, M) that boxes (N, 4) and (M, 4) have in common, of the smaller of the two."""
    sides = torch.minimum(one[:, None, 2:], other[None, :, 2:]) - torch.maximum(one[:, None, :2], other[None, :, :2])
    area = torch.minimum((one[:, 2:] - one[:, :2]).prod(-1)[:, None], (other[:, 2:] - other[:, :2]).prod(-1)[None])
    return sides.clamp(min=0).prod(-1) / area


def suppress(boxes: Tensor, scores: Tensor, most: float, nested: float = NESTED) -> Tensor:
    """Indices, best first, of the boxes (N, 4) left when each drops lesser ones that overlap it more than ``most``.

    Of two boxes of which one lies inside the other by more than the share ``nested``, the lesser goes too: it is
    part of a face, or takes one for part of a larger.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    ranked = boxes[order]
    clashes = (overlap(ranked, ranked) > most) | (covered(ranked, ranked) > nested)
    kept: list[int] = []
    for row in range(len(ranked)):
        if not bool(clashes[row, kept].any()):
            kept.append(row)
    return order[torch.tensor(kept, dtype=torch.long)]


def shrink_factor(height: int, width: int, smallest: float, found: float, working: int = 640) -> float:
    """How much to scale a picture so that its long side is ``working`` pixels, or as much more as it takes.

    Faces ``smallest`` pixels wide must come out at least ``found`` wide, as long as the picture need not grow
    for it. Small pictures grow to the working size, at most to double.
    """
    base = min(working / max(height, width), 2.0)
    return max(base, min(found / max(smallest, 1.0), 1.0))


def find(
    network: Detector, picture: NDArray[np.uint8], smallest: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Find faces at the working size, at a quarter of it, and at halves of that until one could fill the frame.

    Boxes inside others are left to the caller to settle.

    Boxes (N, 4), points (N, 5, 2) and scores (N,), best first, in pixels of the RGB picture (H, W, 3).
    """
    height, width = picture.shape[:2]
    factor = shrink_factor(height, width, smallest, SMALLEST)
    shown, border, looks = scaled(picture, width * factor, height * factor), 0, []
    while True:
        boxes, five, scores = look(network, shown, border, device)
        stretch = torch.tensor([width / shown.shape[1], height / shown.shape[0]])
        looks.append(((boxes.reshape(-1, 2, 2) * stretch).reshape(-1, 4), five * stretch, scores))
        if max(shown.shape) <= LARGEST:
            break
        step = 4 if border == 0 else 2
        shown, border = scaled(shown, shown.shape[1] / step, shown.shape[0] / step), BORDER
    boxes, five, scores = (torch.cat(parts) for parts in zip(*looks, strict=True))
    kept = suppress(boxes, scores, 0.4, nested=math.inf)
    return boxes[kept], five[kept], scores[kept]


def scaled(picture: NDArray[np.uint8], width: float, height: float) -> NDArray[np.uint8]:
    """The picture (H, W, 3) resized to about ``width`` by ``height``."""
    size = max(1, round(width)), max(1, round(height))
    shrinks = size[0] < picture.shape[1]
    return np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def look(
    network: Detector, picture: NDArray[np.uint8], border: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the detector once on a picture with its edges smeared outward by ``border`` pixels and to a multiple of 32.

    With the border, faces that fill the picture or are cut by its edge are seen whole, as in training.
    """
    right, bottom = (border + -(length + 2 * border) % 32 for length in picture.shape[1::-1])
    framed = cv2.copyMakeBorder(picture, border, bottom, border, right, cv2.BORDER_REPLICATE)
    batch = torch.from_numpy(framed).to(device).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        cells = network(batch.contiguous(memory_format=torch.channels_last))
    scores = cells.logits[0].sigmoid()
    sure = scores > CERTAIN
    return cells.boxes[0][sure].cpu() - border, cells.five[0][sure].cpu() - border, scores[sure].cpu()
