"""Any color move as one lattice of values, for hosts that replay look-up tables."""

import torch
from torch import Tensor

from mien.ops.grade import apply
from mien.types import Grade

SLOPE, FOOT, KNEE = 10.5402377416545, 0.0729055341958355, 0.0078125
"""The straight part of the ACEScct curve, and the level up to which it is straight."""
STOPS, SHIFT = 17.52, 9.72


def cube(grade: Grade, size: int) -> Tensor:
    """(size³, 3) float32 values of a move between ACEScct curves, red fastest, as .cube files have them.

    The curve alone: apply it to the working space's own channels, look up, and undo it. Its 0 to 1 hold scene-linear
    -0.007 to 223; what the move makes of that is not held to 0 to 1.
    """
    steps = torch.linspace(0, 1, size, dtype=torch.float64)
    blue, green, red = torch.meshgrid(steps, steps, steps, indexing="ij")
    colors = from_curve(torch.stack([red, green, blue]).flatten(1))
    return to_curve(apply(colors[..., None], grade)[..., 0]).T.float()


def to_curve(light: Tensor) -> Tensor:
    """Scene-linear values on the ACEScct curve (S-2016-001)."""
    straight = light * SLOPE + FOOT
    return torch.where(light <= KNEE, straight, (light.clamp_min(KNEE).log2() + SHIFT) / STOPS)


def from_curve(values: Tensor) -> Tensor:
    """Undo ``to_curve``."""
    straight = (values - FOOT) / SLOPE
    return torch.where(values <= KNEE * SLOPE + FOOT, straight, torch.exp2(values * STOPS - SHIFT))
