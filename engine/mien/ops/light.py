"""The light on one picture as a slow field over another, and putting it there.

Light multiplies what it falls on. Fields of light hold the logarithm of the ratio of two pictures' averages; near
black, where a ratio says nothing, it runs gradually to 0 (an inverse hyperbolic sine stands for the logarithm).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from mien.ops import lattice as knots
from mien.ops.lattice import Lattice
from mien.types import Image, Matte

TOE = 0.01
"""Light, as a share of the white above which highlights begin, below which ratios fade."""
ODD = 0.35
"""Departure from its surroundings, as a logarithm, at which a knot's light counts for little: a beard, the rim of
spectacles, what lies behind the face."""
OFTEN = 2
"""How many times what stands out is found anew."""
MOST = math.log(8)
"""Largest light that is ever put on or taken away."""
NOTHING = 1e-30
CACHED = 1 << 15
"""Pixels that are summed or lit at once."""


@dataclass(frozen=True)
class Sums:
    """What lies around each knot, summed under the same weights.

    Attributes:
        front, back: (..., 3, n, m) light of each picture.
        weight: (..., 1, n, m) how much counted.
        cover: (..., 1, n, m) share of the pixels there that the matte covers.
    """

    front: Tensor
    back: Tensor
    weight: Tensor
    cover: Tensor


def measure(front: Image, back: Image, matte: Matte, white: float, over: Lattice) -> Sums:
    """Sum two pictures under a matte at the knots of ``over``.

    Where either is infinite, undefined or near ``white``, neither counts: highlights lie on the skin, they are not the
    light that falls on it everywhere.
    """
    height, width = matte.shape[-2:]
    step = max(height, 1) if matte.is_cuda else max(16, CACHED // max(width, 1))
    total: Tensor | float = 0.0
    for top in range(0, max(height, 1), step):
        band = replace(over, rows=over.rows[:, top : top + step])
        ours, theirs, shown = (part[..., top : top + step, :] for part in (front, back, matte))
        total = total + _summed(ours, theirs, shown, white, band)
    assert isinstance(total, Tensor)
    area = over.rows.sum(-1)[:, None] * over.columns.sum(-1)
    fronts, backs, weight, cover = total.split((3, 3, 1, 1), -3)
    return Sums(fronts, backs, weight, cover / area.clamp(min=NOTHING))


def _summed(front: Image, back: Image, matte: Matte, white: float, over: Lattice) -> Tensor:
    """(..., 8, n, m) sums of front, back, weight and matte at the knots."""
    # Fading out over an octave keeps grain from switching pixels on and off.
    dim = (2 - torch.maximum(front, back).amax(-3, keepdim=True) * (2 / max(white, NOTHING))).clamp(0, 1)
    matte = torch.where(matte > 0, matte, 0.0)
    sound = torch.isfinite((front + back).sum(-3, keepdim=True))
    weight = torch.where(sound, matte * dim, 0.0)
    pictures = [picture.nan_to_num(0.0, 0.0, 0.0) * weight for picture in (front, back)]
    return knots.gather(torch.cat([*pictures, weight, matte], -3), over)


def ratio(sums: Sums, white: float, radius: float = 0.0, trust: Tensor | float = 1.0) -> Tensor:
    """(..., 3, n, m) light of the back over that of the front, averaged over a radius in knots; 0 where none is known.

    ``trust`` (..., 1, n, m) says how much each knot counts.
    """
    toe = TOE * max(white, NOTHING)
    front, back, weight = (knots.blur(part * trust, radius) for part in (sums.front, sums.back, sums.weight))
    over = 1 / (weight.clamp(min=NOTHING) * toe)
    return torch.where(weight > NOTHING, torch.asinh(back * over) - torch.asinh(front * over), 0.0)


def trusted(sums: Sums, white: float, expected: Tensor) -> Tensor:
    """(..., 1, n, m) how far knots are believed whose light is not what was expected (Welsch's weights).

    Knots share pixels: beside one that is not believed, none is.
    """
    far = ((ratio(sums, white) - expected) / ODD).square().mean(-3, keepdim=True) * (sums.weight > NOTHING)
    return torch.exp(-0.5 * max_pool2d(far.view(-1, 1, *far.shape[-2:]), 3, 1, 1).view(far.shape))


def broad(sums: Sums, white: float, radius: float) -> Tensor:
    """The light of the back over the front, averaged over a radius in knots, leaving out what stands out."""
    light = ratio(sums, white, radius)
    for _ in range(OFTEN):
        light = ratio(sums, white, radius, trusted(sums, white, light))
    return light


def shade(image: Image, light: Tensor, over: Lattice, amount: Tensor | None = None) -> Image:
    """Put a (..., 3, n, m) field of light on a picture: light of 0 leaves it bit for bit, and black stays black.

    ``amount`` (..., 1, H, W) says how much of it, pixel by pixel; none is all of it.
    """
    bounded = light.clamp(-MOST, MOST)
    height, width = image.shape[-2:]
    step = max(height, 1) if image.is_cuda else max(16, CACHED // max(width, 1))
    bands = []
    for top in range(0, max(height, 1), step):
        here = slice(top, top + step)
        field = knots.spread(bounded, replace(over, rows=over.rows[:, here]))
        field = field if amount is None else field * amount[..., here, :]
        bands.append(image[..., here, :] * torch.exp(field))
    return torch.cat(bands, -2)
