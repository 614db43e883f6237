"""Where the plate's texture is stronger than the face's, and keeping it: mixed gradients."""

import torch
from torch import Tensor

from mien.ops import lattice as knots
from mien.ops import poisson
from mien.ops.lattice import Lattice
from mien.ops.light import TOE
from mien.types import Image, Matte

STRONGER = (1.5, 4.0)
"""Energy of the plate's gradients over the face's, and over what is usual on that plate, at which its texture begins
to show and shows in full."""
NOTHING = 1e-12


def keep(front: Image, back: Image, matte: Matte, white: float, over: Lattice, reach: float) -> Image:
    """``front`` with the gradients of ``back`` where those are stronger: spectacles, whiskers, a scar.

    Mixed gradients (Pérez, Gangnet and Blake 2003) of the logarithm of light, chosen knot by knot rather than pixel by
    pixel, and only where they stand out from the plate's usual texture, so that grain neither decides nor shows. Where
    the matte is 0 the result is ``front``.

    ``reach`` is how many pixels from its edge a dark or bright shape still darkens or brightens the face; so what the
    matte cuts off, such as a window behind the cheek, does not bleed through all of it.
    """
    inside = (matte > 0).to(matte)
    black = TOE * max(white, NOTHING)
    ours, theirs = (image.clamp(min=black).log() for image in (front, back))
    apart = theirs - ours
    apart = apart.nan_to_num(0.0, 0.0, 0.0)
    chosen = knots.spread(_stronger(ours, theirs, matte, over), over)
    across = _forward(apart, -1) * _least(chosen, -1)
    down = _forward(apart, -2) * _least(chosen, -2)
    source = across - across.roll(1, -1) + down - down.roll(1, -2)
    inside = inside.expand_as(source[..., :1, :, :])
    field = poisson.solve(torch.zeros_like(source), inside, source, inside / max(reach, 1.0) ** 2)
    return front * torch.exp(field * inside)


def _stronger(front: Image, back: Image, matte: Matte, over: Lattice) -> Tensor:
    """(..., 1, n, m) how clearly the back's gradients are stronger around each knot, 0 to 1."""
    weight = knots.gather(matte, over)
    ours, theirs = (_energy(image, matte, over) / weight.clamp(min=NOTHING) for image in (front, back))
    there = torch.where(weight > 0.5 * weight.amax((-2, -1), keepdim=True), theirs, torch.nan)
    usual = there.flatten(-2).nanmedian(-1).values[..., None, None].nan_to_num(0.0)
    share = theirs / torch.maximum(ours, usual).clamp(min=NOTHING)
    low, high = STRONGER
    return ((share - low) / (high - low)).clamp(0, 1) * (weight > NOTHING)


def _energy(image: Image, matte: Matte, over: Lattice) -> Tensor:
    slopes = _forward(image, -1).square() + _forward(image, -2).square()
    slopes = slopes.sum(-3, keepdim=True)
    return knots.gather(torch.where(torch.isfinite(slopes), slopes, 0.0) * matte, over)


def _forward(image: Tensor, axis: int) -> Tensor:
    """The next pixel less this one; 0 at the far edge."""
    return torch.diff(image, dim=axis, append=image.narrow(axis, image.shape[axis] - 1, 1))


def _least(chosen: Tensor, axis: int) -> Tensor:
    return torch.minimum(chosen, chosen.roll(-1, axis))
