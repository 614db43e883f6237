"""Making a face meet the plate at its rim: fields of light that are the plate's at the edge of the matte.

What is known of the plate's light comes from inside the matte, where plate and face both show skin, and from whole
knots of a lattice. So a bright background behind the cheek does not bleed in, and grain averages out instead of
flickering.
"""

import torch
from torch import Tensor

from mien.ops import lattice as knots
from mien.ops import poisson
from mien.ops.light import OFTEN, Sums, broad, ratio, trusted

FIRM = 4.0
"""How hard the rim draws the field to the light that was measured there; each neighboring knot draws with 1."""
WIDE = 8.0
"""Knots over which light is averaged that tells what to expect at the rim."""
BANDS = 4
ROWS = 8
"""Rows from knot to knot that are summed: at a rim, knots lie close and its light is that of many."""


def gradient(sums: Sums, white: float) -> Tensor:
    """The smoothest field of light that meets the plate's all along the rim: the face's gradients stay as they are.

    Poisson's equation with the rim as its boundary (Pérez, Gangnet and Blake 2003), in the logarithm of light, with a
    rim that is as soft as a few knots and does not follow what stands out (a background, hair, a hand).
    """
    light = ratio(sums, white)
    rim = 4 * sums.cover * (1 - sums.cover) * (sums.weight > 0)
    field = broad(sums, white, WIDE)
    for _ in range(OFTEN):
        field = poisson.settle(light, FIRM * rim * trusted(sums, white, field), field)
    return field


def multiband(sums: Sums, white: float, reach: float) -> Tensor:
    """Light that fades from the plate's at the rim to the face's inside, each octave over a depth like its own size.

    Burt and Adelson 1983, in the logarithm of light, on the inner side of the rim only.

    Args:
        sums: What was measured.
        white: Light above which highlights begin.
        reach: Knots over which the broadest band fades.
    """
    light = ratio(sums, white)
    trust = trusted(sums, white, broad(sums, white, WIDE))
    total = torch.zeros_like(light)
    # A Gaussian's weights have all but faded at twice its radius.
    radii = [reach / 2 ** (BANDS - band) for band in range(BANDS)]
    ones = torch.ones_like(sums.cover)
    finer = torch.lerp(ratio(sums, white, radii[0], trust), light, trust)
    for radius in radii:
        coarser = ratio(sums, white, radius, trust)
        depth = (2 * knots.blur(sums.cover, radius) / knots.blur(ones, radius) - 1).clamp(0, 1)
        total = total + (1 - depth) * ((finer - coarser) if radius < radii[-1] else finer)
        finer = coarser
    return total
