"""Making much of few pictures, in whole batches on the training device.

All that is random comes from a generator on the CPU, a handful of numbers for each picture, so that a step is the
same on every device and after every resume.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """How far pictures are varied.

    Attributes:
        turn: Degrees, to either side.
        zoom: Share of the size, up and down.
        shift: Share of the side, each way.
        bend: Standard deviation of the warp's grid points, as a share of the side.
        flip: How often pictures are mirrored.
        tone: How far brightness, contrast and saturation move.
        recolor: How often a performer's picture takes on the colors of one of the plate's.
    """

    turn: float = 8.0
    zoom: float = 0.05
    shift: float = 0.04
    bend: float = 0.03
    flip: float = 0.0
    tone: float = 0.1
    recolor: float = 0.5


GRID = 5
"""Points along either side of the grid that bends a picture."""


def random_of(seed: int, step: int) -> torch.Generator:
    """The randomness of one step."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) % (1 << 63)
    return torch.Generator().manual_seed(mixed)


def choose(rows: Tensor, count: int, random: torch.Generator) -> Tensor:
    """``count`` of the rows."""
    return rows[torch.randint(len(rows), (count,), generator=random)]


def spread(count: int, reach: float, random: torch.Generator) -> Tensor:
    """(count,) numbers evenly between -reach and reach."""
    return (torch.rand(count, generator=random) * 2 - 1) * reach


def moved(pictures: Tensor, size: int, margin: float, how: Augment, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cut (B, C, P, P) pictures, whose sides are ``margin`` of the cut's, to ``size``, turned and shifted at random.

    Returns them twice: bent by a random grid, first three channels only, and plain.
    """
    count, device = len(pictures), pictures.device
    angle = spread(count, math.radians(how.turn), random)
    zoom = torch.exp(spread(count, how.zoom, random)) / margin
    flip = torch.where(torch.rand(count, generator=random) < how.flip, -1.0, 1.0)
    shift = torch.stack([spread(count, 2 * how.shift / margin, random) for _ in range(2)], 1)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    rows = torch.stack([cosine * flip, -sine, shift[:, 0], sine * flip, cosine, shift[:, 1]], 1).view(-1, 2, 3)
    place = functional.affine_grid(rows.to(device), [count, 1, size, size], align_corners=False)
    plain = functional.grid_sample(pictures, place, padding_mode="border", align_corners=False)
    offsets = torch.randn(count, 2, GRID, GRID, generator=random).clamp(-2.5, 2.5) * (2 * how.bend / margin)
    bend = functional.interpolate(offsets.to(device), (size, size), mode="bicubic", align_corners=True)
    bent = place + bend.movedim(1, -1)
    return functional.grid_sample(pictures[:, :3], bent, padding_mode="border", align_corners=False), plain


def plain_cut(pictures: Tensor, size: int, margin: float) -> Tensor:
    """Cut (B, C, P, P) pictures to ``size`` as a face to be converted is cut."""
    rows = torch.tensor([[1 / margin, 0, 0], [0, 1 / margin, 0]], device=pictures.device).expand(len(pictures), 2, 3)
    place = functional.affine_grid(rows, [len(pictures), 1, size, size], align_corners=False)
    return functional.grid_sample(pictures, place, padding_mode="border", align_corners=False)


def toned(pictures: tuple[Tensor, ...], how: Augment, random: torch.Generator) -> tuple[Tensor, ...]:
    """Several views of the same faces with brightness, contrast, saturation and tint moved alike."""
    count, device = len(pictures[0]), pictures[0].device
    gamma = torch.exp(spread(count, how.tone, random)).view(-1, 1, 1, 1).to(device)
    gain = torch.exp(spread(count, how.tone, random)).view(-1, 1, 1, 1).to(device)
    tint = torch.exp(torch.stack([spread(count, 0.3 * how.tone, random) for _ in range(3)], 1))
    color = 1 + spread(count, 2 * how.tone, random).view(-1, 1, 1, 1).to(device)
    gain = gain * tint.view(-1, 3, 1, 1).to(device)

    def move(picture: Tensor) -> Tensor:
        gray = picture.mean(1, keepdim=True)
        return ((gray + (picture - gray) * color).clamp(1e-4, 1) ** gamma * gain).clamp(0, 1)

    return tuple(move(picture) for picture in pictures)


def recolored(
    pictures: tuple[Tensor, ...],
    matte: Tensor,
    like: Tensor,
    like_matte: Tensor,
    how: Augment,
    random: torch.Generator,
) -> tuple[Tensor, ...]:
    """Several views of the same faces, some with the mean and spread of color that other faces have.

    Only what lies inside the mattes is looked at: backgrounds have no say in the color of a face.
    """
    count, device = len(matte), matte.device
    chosen = torch.rand(count, generator=random) < how.recolor
    share = (torch.rand(count, generator=random) * chosen).view(-1, 1, 1, 1).to(device)
    mean, deviation = moments(pictures[-1], matte)
    goal, wide = moments(like, like_matte)
    gain = (wide / deviation).clamp(0.5, 2)
    return tuple(torch.lerp(one, ((one - mean) * gain + goal).clamp(0, 1), share) for one in pictures)


def moments(pictures: Tensor, matte: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, 1, 1) mean and deviation of pictures under mattes."""
    total = matte.sum((-2, -1), keepdim=True).clamp(min=1)
    mean = (pictures * matte).sum((-2, -1), keepdim=True) / total
    square = ((pictures - mean).square() * matte).sum((-2, -1), keepdim=True) / total
    return mean, square.clamp(min=1e-4).sqrt()
