"""Spaces in which colors are compared: linear light, logarithm, and a perceptual opponent space.

All are defined for every finite value, negatives and highlights included, and can be undone exactly.
"""

import math

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
    values = responses(colors, space)
    return torch.matmul(values.new_tensor(OPPONENT), values) if space == "perceptual" else values


def decode(colors: Tensor, space: str) -> Tensor:
    """Undo ``encode``."""
    turned = torch.matmul(colors.new_tensor(OPPONENT).T, colors) if space == "perceptual" else colors
    return from_responses(turned, space)


def responses(colors: Tensor, space: str) -> Tensor:
    """``encode`` but for the turn of the perceptual space: what is affine in one is in the other."""
    if space == "linear":
        return colors
    if space == "log":
        return _asinh(colors * (1 / TOE))
    return _asinh(torch.matmul(colors.new_tensor(CONES) / TOE, colors))


def from_responses(values: Tensor, space: str) -> Tensor:
    """Undo ``responses``."""
    if space == "linear":
        return values
    if space == "log":
        return values.sinh() * TOE
    return torch.matmul(torch.linalg.inv(values.new_tensor(CONES)) * TOE, values.sinh())


def turn(space: str) -> Tensor | None:
    """(3, 3) what takes ``responses`` to ``encode``, or None where they are alike."""
    return torch.tensor(OPPONENT, dtype=torch.float64) if space == "perceptual" else None


def opponent(colors: Tensor, space: str) -> Tensor:
    """Turn (..., 3, n) encoded colors to axes of which the first is brightness; lengths are kept."""
    return colors if space == "perceptual" else torch.matmul(colors.new_tensor(OPPONENT), colors)


def from_opponent(colors: Tensor, space: str) -> Tensor:
    """Undo ``opponent``."""
    return colors if space == "perceptual" else torch.matmul(colors.new_tensor(OPPONENT).T, colors)


def _asinh(values: Tensor) -> Tensor:
    # torch.asinh is not vectorized on CPUs; beyond the limit the square would overflow. Next to zero the sum rounds
    # off what is below a ten-millionth of the toe.
    size = values.abs().clamp(max=1e18)
    return torch.copysign((size + torch.addcmul(torch.ones_like(size[..., :1]), size, size).sqrt()).log(), values)
