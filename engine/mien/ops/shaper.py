"""Light as networks can hold it without losing highlights: the ACEScct curve (S-2016-001), straight below its toe."""

import torch

from mien.types import Image

TOE = 0.0078125
SLOPE, OFFSET = 10.5402377416545, 0.0729055341958355


def to_log(light: Image) -> Image:
    """Scene-linear light of any brightness, negatives included, as numbers mostly between 0 and 1."""
    logarithm = (light.clamp_min(TOE).log2() + 9.72) / 17.52
    return torch.where(light > TOE, logarithm, light * SLOPE + OFFSET)


def from_log(encoded: Image) -> Image:
    """Back to light; beyond what half floats hold it goes on straight."""
    light = torch.exp2(encoded.clamp_max(1.468) * 17.52 - 9.72)
    light = torch.where(encoded > 1.468, 65504.0 * (1 + (encoded - 1.468)), light)
    return torch.where(encoded > TOE * SLOPE + OFFSET, light, (encoded - OFFSET) / SLOPE)
