"""Spaces in which colors are compared: linear light, logarithm, and a perceptual opponent space.

All are defined for every finite value, negatives and highlights included, and can be undone exactly.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

TOE = 0.002
"""Scene-linear level around which the logarithm becomes linear, so that zero and negatives have a place."""
LUMINANCE = (0.2722287, 0.6740818, 0.0536895)
"""Luminance of the default working space, ACEScg."""
OPPONENT = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(6), 1 / math.sqrt(6), -2 / math.sqrt(6)),
    (1 / math.sqrt(2), -1 / math.sqrt(2), 0.0),
)
"""Orthonormal axes: gray, yellow against blue, red against green."""
CONES = (
    (0.45487056, 0.52640952, 0.01871991),
    (0.16776341, 0.75853727, 0.07369932),
    (-0.00552588, 0.00402521, 1.00150068),
)
"""ACEScg to responses of the eye's cones (Hunt, Pointer and Estevez), gray kept gray."""
LARGEST = 1e18
"""Multiple of the toe beyond which the logarithm rises no more, so that its square does not overflow."""
STOPS = math.log2(math.e)
"""Stops of a step of 1 of the logarithm."""
CHUNK = 1 << 15
"""Pixels that are worked on at once, so that they stay in a processor's cache."""


def piece(colors: Tensor) -> int:
    """How many pixels to work on at once where the colors are."""
    return CHUNK if colors.device.type == "cpu" else max(1, colors.shape[-1])


def encode(colors: Tensor, space: str) -> Tensor:
    """Carry (..., 3, n) scene-linear colors into a space.

    ``log`` is asinh(v / TOE): above the toe one stop is ln 2 on every channel. ``perceptual`` is the same of cone
    responses, turned to the opponent axes of Ruderman et al. 1998, in which Reinhard et al. 2001 match.
    """
    values = responding(space, colors)(colors)
    return torch.matmul(values.new_tensor(OPPONENT), values) if space == "perceptual" else values


def decode(colors: Tensor, space: str) -> Tensor:
    """Undo ``encode``."""
    turned = torch.matmul(colors.new_tensor(OPPONENT).T, colors) if space == "perceptual" else colors
    return turned if space == "linear" else undoing(space, colors)(turned * STOPS)


def responding(space: str, like: Tensor) -> Callable[[Tensor], Tensor]:
    """``encode`` but for the turn of the perceptual space: what is affine in one is in the other.

    A function for the pieces of one picture: what is the same for all is made once.
    """
    if space == "linear":
        return lambda colors: colors
    one = like.new_ones(1)
    if space == "log":
        return lambda colors: _asinh(colors * (1 / TOE), one)
    cones = like.new_tensor(CONES) / TOE
    return lambda colors: _asinh(torch.matmul(cones, colors), one)


def undoing(space: str, like: Tensor) -> Callable[[Tensor], Tensor]:
    """Back to light from what ``responding`` gives, times ``STOPS``; not of the linear space."""
    if space == "log":
        return lambda stops: _twice_sinh(stops).mul_(TOE / 2)
    mix = torch.linalg.inv(like.new_tensor(CONES, dtype=torch.float64)).to(like) * (TOE / 2)
    return lambda stops: torch.matmul(mix, _twice_sinh(stops))


def turn(space: str) -> Tensor | None:
    """(3, 3) what takes ``responding`` to ``encode``, or None where they are alike."""
    return torch.tensor(OPPONENT, dtype=torch.float64) if space == "perceptual" else None


def opponent(colors: Tensor, space: str) -> Tensor:
    """Turn (..., 3, n) encoded colors to axes of which the first is brightness; lengths are kept."""
    return colors if space == "perceptual" else torch.matmul(colors.new_tensor(OPPONENT), colors)


def from_opponent(colors: Tensor, space: str) -> Tensor:
    """Undo ``opponent``."""
    return colors if space == "perceptual" else torch.matmul(colors.new_tensor(OPPONENT).T, colors)


def _asinh(values: Tensor, one: Tensor) -> Tensor:
    # torch.asinh is not vectorized on CPUs, and neither are its square root and logarithm as well as these. Next to
    # zero the sum rounds off what is below a ten-millionth of the toe.
    if values.device.type == "cpu" and values.numel():
        low, high = values.detach().aminmax()
        if float(low) >= 0 and float(high) <= LARGEST:
            return _rising(values, one)
    return torch.copysign(_rising(values.abs().clamp_(max=LARGEST), one), values)


def _rising(size: Tensor, one: Tensor) -> Tensor:
    square = torch.addcmul(one, size, size)
    return torch.addcmul(size, square, square.rsqrt()).sub_(1).log1p_()


def _twice_sinh(stops: Tensor) -> Tensor:
    # Powers of 2 cost a third of torch.sinh; next to zero they round off as much as the sum above.
    power = stops.exp2()
    return power - power.reciprocal()
