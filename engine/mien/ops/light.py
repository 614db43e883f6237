"""The light on one picture as a slow field over another, and putting it there.

Light multiplies what it falls on. Fields of light hold the logarithm of the ratio of two pictures' averages; near
black, where a ratio says nothing, it runs gradually to 0 (an inverse hyperbolic sine stands for the logarithm).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops import lattice as knots
from mien.ops.bands import shown
from mien.ops.lattice import Lattice
from mien.types import Image, Matte

TOE = 0.01
"""Light, as a share of the white above which highlights begin, below which ratios fade."""
ODD = 0.35
"""Departure from its surroundings, as a logarithm, at which a knot's light counts for little: a beard, the rim of
spectacles, what lies behind the face."""
OFTEN = 2
"""How many times what stands out is found anew."""
ROWS = 16
"""Rows from knot to knot that tell what stands out."""
APART = 4
"""Rows from one whose light is an exponential to the next, at most: between them it runs straight."""
SMOOTH = 8
"""Such rows from knot to knot, at least."""
MOST = math.log(8)
"""Largest light that is ever put on or taken away."""
NOTHING = 1e-30


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


def measure(front: Image, back: Image, matte: Matte, white: float, over: Lattice, most: int = ROWS) -> Sums:
    """Sum two pictures under a matte at the knots of ``over``.

    Where either is infinite, undefined or near ``white``, neither counts: highlights lie on the skin, they are not the
    light that falls on it everywhere. At ``most`` so many rows from knot to knot are summed, where there are more.
    """
    down = front.new_zeros(*matte.shape[:-3], 8, len(over.rows), matte.shape[-1])
    # Where many rows tell of a knot, some of them tell as much.
    every = max(1, matte.shape[-2] // (most * max(1, len(over.rows) - 3)))
    for rows, near, weights in knots.bands(over, matte.shape[-1], 1 / every):
        first = -rows.start % every
        some = slice(rows.start + first, rows.stop, every)
        layers = _weighted(front[..., some, :], back[..., some, :], matte[..., some, :], white)
        down[..., near, :] += weights[:, first::every] @ layers
    total = down @ over.columns.mT
    area = over.rows[:, ::every].sum(-1)[:, None] * over.columns.sum(-1)
    fronts, backs, weight, cover = total.split((3, 3, 1, 1), -3)
    return Sums(fronts, backs, weight, cover / area.clamp(min=NOTHING))


def _weighted(front: Image, back: Image, matte: Matte, white: float) -> Tensor:
    """(..., 8, H, W) front, back and 1 under the weights that count, and the matte itself."""
    layers = front.new_empty(*matte.shape[:-3], 8, *matte.shape[-2:])
    pictures, weight = layers[..., :6, :, :], layers[..., 6:7, :, :]
    pictures[..., :3, :, :], pictures[..., 3:, :, :] = front, back
    torch.clamp(matte, min=0, out=layers[..., 7:, :, :])
    # Fading out over an octave keeps grain from switching pixels on and off.
    dim = pictures.amax(-3, keepdim=True).mul_(-2 / max(white, NOTHING)).add_(2).clamp_(0, 1)
    torch.mul(layers[..., 7:, :, :], dim, out=weight)
    pictures.mul_(weight)
    if bool(torch.isfinite(layers.sum())):
        return layers
    matte = matte.clamp_min(0).nan_to_num(0.0)
    sound = torch.isfinite((front + back).sum(-3, keepdim=True))
    weight = torch.where(sound, matte * dim, 0.0)
    known = [picture.nan_to_num(0.0, 0.0, 0.0) * weight for picture in (front, back)]
    return torch.cat([*known, weight, matte], -3)


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
    return torch.exp(-0.5 * F.max_pool2d(far.view(-1, 1, *far.shape[-2:]), 3, 1, 1).view(far.shape))


def broad(sums: Sums, white: float, radius: float) -> Tensor:
    """The light of the back over the front, averaged over a radius in knots, leaving out what stands out."""
    light = ratio(sums, white, radius)
    for _ in range(OFTEN):
        light = ratio(sums, white, radius, trusted(sums, white, light))
    return light


def shade(
    image: Image,
    light: Tensor,
    over: Lattice,
    amount: float = 1.0,
    spared: Matte | None = None,
    out: Image | None = None,
) -> Image:
    """Put a (..., 3, n, m) field of light on a picture: light of 0 leaves it bit for bit, and black stays black.

    ``amount`` says how much of it, ``spared`` (..., 1, H, W) how much less, pixel by pixel: where that is 1 the picture
    stays. What comes back is written to ``out`` if that is given.
    """
    across = (amount * light.clamp(-MOST, MOST)) @ over.columns
    shape = torch.broadcast_shapes(image.shape[:-3], light.shape[:-3])
    lit = image.new_empty(*shape, *image.shape[-3:]) if out is None else out
    every = max(1, min(APART, over.rows.shape[-1] // (SMOOTH * max(1, len(over.rows) - 3))))
    parts = list(knots.bands(over, image.shape[-1], 1 / every))
    for (rows, near, weights), columns in zip(parts, _touched(spared, [rows for rows, *_ in parts])):
        height = rows.stop - rows.start
        gains = (weights[:, _told(height, every)].mT @ across[..., near, :]).exp_()
        gains = _between(gains, every, height)
        torch.mul(image[..., rows, :], gains, out=lit[..., rows, :])
        if spared is not None and columns.start < columns.stop:
            here = (..., rows, columns)
            field = (weights.mT @ across[..., near, columns]).mul_(1 - spared[here])
            torch.mul(image[here], field.exp_(), out=lit[here])
    return lit


def _touched(spared: Matte | None, rows: list[slice]) -> list[slice]:
    """For each of some bands of rows, the columns in which anything is spared."""
    if spared is None:
        return [slice(0, 0)] * len(rows)
    return [columns for columns, _ in shown(spared.reshape(-1, *spared.shape[-2:]).amax(0), rows)]


def _told(height: int, every: int) -> list[int]:
    """Every so many of some rows, and those that are left after them."""
    last = max(0, height - 1) // every * every
    return [*range(0, last, every), *range(last, height)]


def _between(gains: Tensor, every: int, height: int) -> Tensor:
    """(..., h, W) gains on straight lines between those of the rows that are told."""
    if gains.shape[-2] == height:
        return gains
    groups = (height - 1) // every
    between = gains.new_empty(*gains.shape[:-2], height, gains.shape[-1])
    between[..., groups * every :, :] = gains[..., groups:, :]
    steps = between[..., : groups * every, :].unflatten(-2, (groups, every))
    first, second = gains[..., :groups, :], gains[..., 1 : groups + 1, :]
    for step in range(every):
        torch.lerp(first, second, step / every, out=steps[..., step, :])
    return between
